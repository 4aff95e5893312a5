"""Every rule between fields: one spec that holds it and one that breaks it, with the field that is named."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

from llm_deploy.spec import DeploymentSpec
from llm_deploy.spec.documents import RULES_LATER
from llm_deploy.spec.rules import check, check_environment, dotted, metric_name
from tests.specs import twin

TOKEN = "hf_" + "A1b2" * 9

VPC = {"subnets": ["subnet-1"], "security_group_ids": ["sg-1"]}
COMPONENT_METRIC = "SageMakerInferenceComponentInvocationsPerCopy"
VARIANT_METRIC = "SageMakerVariantInvocationsPerInstance"

CASES: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    (
        "a prompt leaves room for an answer",
        {"limits": {"max_input_tokens": 4095, "max_total_tokens": 4096}},
        {"limits": {"max_input_tokens": 4096, "max_total_tokens": 4096}},
        "limits.max_input_tokens",
    ),
    (
        "a request fits into a batch",
        {"limits": {"max_total_tokens": 4096, "max_batch_total_tokens": 4096}},
        {"limits": {"max_total_tokens": 4097, "max_batch_total_tokens": 4096}},
        "limits.max_total_tokens",
    ),
    (
        "a prompt fits into a batch",
        {"limits": {"max_input_tokens": 4095, "max_batch_total_tokens": 4096}},
        {"limits": {"max_input_tokens": 4096, "max_batch_total_tokens": 4096}},
        "limits.max_input_tokens",
    ),
    (
        "TGI takes one name of the input limit",
        {"environment": {"MAX_INPUT_LENGTH": "1"}},
        {"environment": {"MAX_INPUT_LENGTH": "1", "MAX_INPUT_TOKENS": "1"}},
        "environment.MAX_INPUT_TOKENS",
    ),
    (
        "the input limit is written once",
        {"limits": {"max_input_tokens": 5}},
        {"limits": {"max_input_tokens": 5}, "environment": {"MAX_INPUT_TOKENS": "5"}},
        "environment.MAX_INPUT_TOKENS",
    ),
    (
        "a VPC has security groups",
        {"network": VPC},
        {"network": {"subnets": ["subnet-1"]}},
        "network.security_group_ids",
    ),
    ("a VPC has subnets", {}, {"network": {"security_group_ids": ["sg-1"]}}, "network.subnets"),
    (
        "an isolated container cannot reach the Hub",
        {"network": {"isolation": True}, "model": "s3://bucket/a/"},
        {"network": {"isolation": True}},
        "network.isolation",
    ),
    (
        "capacities are in order",
        {"autoscaling": {"min_copies": 2, "max_copies": 2}, "resources": {"copies": 2}},
        {"autoscaling": {"min_copies": 3, "max_copies": 2}},
        "autoscaling.min_copies",
    ),
    (
        "a component's metric",
        {"autoscaling": {"metric": COMPONENT_METRIC}},
        {"autoscaling": {"metric": VARIANT_METRIC}},
        "autoscaling.metric",
    ),
    (
        "a variant's metric",
        {"autoscaling": {"metric": VARIANT_METRIC}, "endpoint_type": "model"},
        {"autoscaling": {"metric": COMPONENT_METRIC}, "endpoint_type": "model"},
        "autoscaling.metric",
    ),
    (
        "metrics exist",
        {"autoscaling": {"metric": "concurrency"}},
        {"autoscaling": {"metric": "GPUUtilization"}},
        "autoscaling.metric",
    ),
    (
        "scaling starts inside its bounds",
        {"resources": {"copies": 2}, "autoscaling": {"max_copies": 2}},
        {"resources": {"copies": 3}, "autoscaling": {"max_copies": 2}},
        "resources.copies",
    ),
    (
        "instances start inside the bounds of scaling",
        {"instance": {"initial_count": 2}, "autoscaling": {"max_copies": 2}, "endpoint_type": "model"},
        {"instance": {"initial_count": 3}, "autoscaling": {"max_copies": 2}, "endpoint_type": "model"},
        "instance.initial_count",
    ),
    (
        "only components have copies",
        {"resources": {"copies": 2}},
        {"resources": {"copies": 2}, "endpoint_type": "model"},
        "resources.copies",
    ),
    (
        "a cap is above its reservation",
        {"resources": {"memory_mib": 1024, "max_memory_mib": 1024}},
        {"resources": {"memory_mib": 1024, "max_memory_mib": 1023}},
        "resources.max_memory_mib",
    ),
    (
        "managed instances are the components' (min)",
        {"instance": {"min_count": 1}},
        {"instance": {"min_count": 1}, "endpoint_type": "model"},
        "instance.min_count",
    ),
    (
        "managed instances are the components' (max)",
        {"instance": {"max_count": 1}},
        {"instance": {"max_count": 1}, "endpoint_type": "model"},
        "instance.max_count",
    ),
    (
        "instances start above their minimum",
        {"instance": {"initial_count": 2, "min_count": 2}},
        {"instance": {"initial_count": 1, "min_count": 2}},
        "instance.min_count",
    ),
    (
        "instances start below their maximum",
        {"instance": {"initial_count": 2, "max_count": 2}},
        {"instance": {"initial_count": 2, "max_count": 1}},
        "instance.max_count",
    ),
    (
        "the tensor parallel degree is written once",
        {"environment": {"SM_NUM_GPUS": "1"}},
        {"environment": {"SM_NUM_GPUS": "2"}},
        "environment.SM_NUM_GPUS",
    ),
    (
        "variables have names",
        {"environment": {"_A1": ""}},
        {"environment": {"1A": ""}},
        "environment.1A",
    ),
    ("names of variables are bounded", {}, {"environment": {"A" * 1025: ""}}, f"environment.{'A' * 1025}"),
    (
        "values are bounded in bytes, not in characters",
        {"environment": {"A": "ä" * 512}},
        {"environment": {"A": "ä" * 513}},
        "environment.A",
    ),
    (
        "there are at most 100 variables",
        {"environment": {f"A{number}": "" for number in range(100)}},
        {"environment": {f"A{number}": "" for number in range(101)}},
        "environment",
    ),
    (
        "the variables are bounded together",
        {"environment": {f"A{number:02}": "x" * 1021 for number in range(32)}},
        {"environment": {f"A{number:02}": "x" * 1021 for number in range(33)}},
        "environment",
    ),
    (
        "AWS keys are never sent",
        {},
        {"environment": {"AWS_SECRET_ACCESS_KEY": "x"}},
        "environment.AWS_SECRET_ACCESS_KEY",
    ),
    (
        "there are at most 40 tags",
        {"tags": {str(n): "" for n in range(40)}},
        {"tags": {str(n): "" for n in range(41)}},
        "tags",
    ),
    ("tags of AWS are AWS's", {"tags": {"aws-x": "y"}}, {"tags": {"AWS:x": "y"}}, "tags.AWS:x"),
    ("tags of ours are ours", {}, {"tags": {"llmdeploy:deployment": "y"}}, "tags.llmdeploy:deployment"),
    ("tag keys are bounded", {"tags": {"k" * 128: ""}}, {"tags": {"k" * 129: ""}}, f"tags.{'k' * 129}"),
    ("tag values are bounded", {"tags": {"k": "v" * 256}}, {"tags": {"k": "v" * 257}}, "tags.k"),
    ("tags have AWS's letters", {"tags": {"k": "ä b_.:/=+-@1"}}, {"tags": {"k": "a#b"}}, "tags.k"),
]


def build(fields: dict[str, Any]) -> DeploymentSpec:
    raw = {"name": "twin", "model": "owner/name", **fields}
    return DeploymentSpec.model_validate(raw, context={RULES_LATER: True})


@pytest.mark.parametrize(("right", "wrong", "path"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_each_rule_takes_what_is_right_and_names_what_is_wrong(
    right: dict[str, Any], wrong: dict[str, Any], path: str
) -> None:
    """A rule finds exactly its own field, and nothing in a right spec."""
    assert check(build(right)) == ()
    assert [dotted(finding.path) for finding in check(build(wrong))] == [path]


@pytest.mark.parametrize("name", ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_API_TOKEN", "hf_token"])
def test_a_hub_token_is_refused_under_every_name_it_goes_by(name: str) -> None:
    """DescribeModel shows the environment to everyone who may look."""
    (finding,) = check(build({"environment": {name: "x"}}))
    assert "DescribeModel" in finding.message
    assert check(build({"environment": {name: "x"}, "allow_token_in_environment": True})) == ()


def test_a_value_that_looks_like_a_token_is_refused_and_not_repeated() -> None:
    """The shape gives a token away under any name, and the message does not spread it."""
    (finding,) = check(build({"environment": {"SOME_OTHER": TOKEN}}))
    assert dotted(finding.path) == "environment.SOME_OTHER"
    assert TOKEN not in finding.message


def test_words_that_begin_like_a_token_are_no_tokens() -> None:
    """hf_transfer is a library."""
    assert check(build({"environment": {"BACKEND": "hf_transfer"}})) == ()


def test_a_spec_made_in_python_holds_the_same_rules() -> None:
    """There is no way around the rules but `model_construct`."""
    with pytest.raises(ValidationError, match="max_input_tokens"):
        DeploymentSpec.model_validate(
            {"name": "a", "model": "a/b", "limits": {"max_input_tokens": 2, "max_total_tokens": 1}}
        )


@given(st.dictionaries(st.text(max_size=40), st.text(max_size=1200), max_size=110))
def test_an_environment_that_passes_is_one_that_sagemaker_takes(environment: dict[str, str]) -> None:
    """Entries, bytes and names are counted as SageMaker counts them."""
    import re  # noqa: PLC0415 - the oracle's own words

    right = (
        len(environment) <= 100
        and all(re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", key) for key in environment)
        and all(len(value.encode()) <= 1024 and "\x00" not in value for value in environment.values())
        and sum(len(key.encode()) + len(value.encode()) for key, value in environment.items()) <= 32768
    )
    assert (not list(check_environment(environment))) == right


@pytest.mark.row("T9")
def test_the_seeds_metric_is_the_default() -> None:
    """T9 scales by invocations for each copy."""
    assert metric_name(None, component_based=True) == COMPONENT_METRIC
    assert metric_name(None, component_based=False) == VARIANT_METRIC
    assert metric_name(COMPONENT_METRIC, component_based=True) == COMPONENT_METRIC


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"environment": {"X": "arn:${AWS::Partition}:x"}}, "environment.X"),
        ({"environment": {"Ref": "Model"}}, "environment.Ref"),
        ({"model": "s3://bucket/${AWS::AccountId}/"}, "model.s3_uri"),
        ({"instance": {"inference_ami_version": "${AWS::Region}"}}, "instance.inference_ami_version"),
    ],
)
def test_what_only_a_template_would_fill_in_is_refused(changes: dict[str, Any], field: str) -> None:
    """A text means the same in a call and in a template, or it is not taken."""
    with pytest.raises(ValidationError, match=re.escape(field)):
        twin(**changes)


def test_other_braces_and_the_description_are_taken() -> None:
    """Shells and chat templates have them; a description is not sent anywhere."""
    spec = twin(environment={"X": "${HOME}", "REF": "x"}, description="${AWS::AccountId}")
    assert spec.environment["X"] == "${HOME}"
