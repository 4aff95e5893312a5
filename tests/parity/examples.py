"""Deployments to hold against each other: written by hand, and one of each type that says all that a spec can say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llm_deploy.resource import ACCOUNT_OF_STACK, PARTITION_OF_STACK
from llm_deploy.settings import Settings
from llm_deploy.spec import DeploymentSpec, Place
from llm_deploy.targets.blueprint import Blueprint, of_spec, roles_wish
from llm_deploy.targets.sagemaker import iam
from tests.specs import twin

ACCOUNT = "123456789012"
NAMED_ROLE = f"arn:aws:iam::{ACCOUNT}:role/service/named"
REGION = "eu-central-1"
SYMBOLIC = Place(partition=PARTITION_OF_STACK, region=REGION, account=ACCOUNT_OF_STACK)
LITERAL = Place(partition="aws", region=REGION, account=ACCOUNT)

MAXIMAL: Mapping[str, Any] = {
    "name": "max",
    "engine": "vllm",
    "engine_version": "huggingface-vllm:0.29.0",
    "model": {"s3_uri": "s3://bucket/models/m/", "accept_eula": True},
    "endpoint_type": "inference-component",
    "inference_component_name": "max-a",
    "endpoint_config_name": "max-config",
    "instance": {
        "type": "ml.p3.8xlarge",
        "initial_count": 2,
        "min_count": 1,
        "max_count": 4,
        "volume_size_gib": 200,
    },
    "resources": {"copies": 2, "num_accelerators": 2, "num_cpus": 3.5, "memory_mib": 2048, "max_memory_mib": 4096},
    "limits": {"max_input_tokens": 1024, "max_total_tokens": 2048, "max_batch_prefill_tokens": 2048},
    "quantize": "awq",
    "environment": {"X_BRACES": "${HOME}", "X_NUMBER": "1", "X_EMPTY": "", "X_TRUTH": "yes", "X_DATE": "2012-10-17"},
    "autoscaling": {
        "min_copies": 1,
        "max_copies": 4,
        "metric": "concurrency",
        "target": 2.5,
        "scale_in_cooldown_s": 600,
        "scale_out_cooldown_s": 60,
        "disable_scale_in": True,
    },
    "generation": {"temperature": 0.7, "top_p": 0.95, "max_new_tokens": 512},
    "network": {
        "subnets": ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
        "security_group_ids": ["sg-0123456789abcdef0"],
        "isolation": True,
    },
    "kms_key_id": "1234abcd-12ab-34cd-56ef-1234567890ab",
    "timeouts": {"model_download_s": 900, "container_startup_s": 1200},
    "routing_strategy": "RANDOM",
    "variant_name": "Blue",
    "tags": {"team": "judges", "cost-centre": "42"},
    "description": "Everything that a spec can say.",
}
_ON_MACHINES = {
    "endpoint_type": "model",
    "inference_component_name": None,
    "instance": {"type": "ml.p3.8xlarge", "initial_count": 2, "volume_size_gib": 200},
    "resources": {"num_accelerators": 4},
    "autoscaling": {**MAXIMAL["autoscaling"], "metric": "concurrency"},
}

SPECS: Mapping[str, DeploymentSpec] = {
    "twin": twin(autoscaling={"max_copies": 2}),
    "twin on machines": twin(endpoint_type="model", autoscaling={"max_copies": 2}),
    "nothing optional": twin(),
    "nothing optional on machines": twin(endpoint_type="model"),
    "own image": twin(image=f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/mine:1"),
    "everything": DeploymentSpec.model_validate(MAXIMAL),
    "everything on machines": DeploymentSpec.model_validate({**MAXIMAL, **_ON_MACHINES}),
}


def blueprint(
    spec: DeploymentSpec, place: Place, *, with_roles: bool = True, role: str | None = NAMED_ROLE
) -> Blueprint:
    """The blueprint of a spec, with roles of its own, under one that is named, or under one that the stack asks for."""
    return of_spec(spec, place, Settings(_env_file=None, AWS_ARN_ROLE=role), with_roles=with_roles)


def with_a_user(found: Blueprint) -> Blueprint:
    """The blueprint with the user and the key of `create-roles` beside the roles."""
    wish = replace(roles_wish(found.resolved.spec, found.resolved.place), user=True)
    identities = iam.resources(wish)
    hosting = [each for each in found.resources if each.kind.partition("::IAM::")[1] == ""]
    return replace(found, resources=(*identities, *hosting))
