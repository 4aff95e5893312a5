"""Specs for tests: one of each kind by hand, and a hypothesis strategy over what the documents allow."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from llm_deploy import catalog
from llm_deploy.errors import SpecError
from llm_deploy.spec import DeploymentSpec, EndpointType, Place, ResolvedSpec

PLACE = Place(partition="aws", region="eu-central-1", account="123456789012")
ROLE = "arn:aws:iam::123456789012:role/llmdeploy-twin-execution"


def twin(**changes: Any) -> DeploymentSpec:  # noqa: ANN401 - a spec's fields are of many types
    """The Twin, with other values where given."""
    document: dict[str, Any] = {
        "name": "twin",
        "model": "mlabonne/TwinLlama-3.1-8B-DPO",
        "limits": {"max_input_tokens": 2048, "max_total_tokens": 4096, "max_batch_total_tokens": 4096},
    }
    return DeploymentSpec.model_validate(document | changes)


def resolved(spec: DeploymentSpec) -> ResolvedSpec:
    """A spec resolved for one place."""
    return catalog.resolve(spec, PLACE, ROLE)


names = st.from_regex(r"[a-zA-Z0-9](-?[a-zA-Z0-9]){0,20}", fullmatch=True)
gpu_instances = st.sampled_from(["ml.g5.xlarge", "ml.g5.2xlarge", "ml.g6.12xlarge", "ml.p4d.24xlarge", "ml.g6e.xlarge"])
scaling = st.none() | st.builds(
    lambda least, more, target, cooldown: {
        "min_copies": least,
        "max_copies": least + more,
        "target": target,
        "scale_in_cooldown_s": cooldown,
    },
    least=st.integers(1, 2),
    more=st.integers(0, 3),
    target=st.floats(0.1, 1000, allow_nan=False),
    cooldown=st.integers(0, 3600),
)


@st.composite
def specs(draw: st.DrawFn) -> DeploymentSpec:
    """Specs that the documents, the rules and the catalogue accept."""
    from hypothesis import assume  # noqa: PLC0415 - only this strategy needs it

    document = {
        "name": draw(names),
        "engine": draw(st.sampled_from(["tgi", "vllm", "sglang", "lmi", "llamacpp"])),
        "model": draw(st.sampled_from(["org/model", "org/model@main", "s3://bucket/models/m/"])),
        "endpoint_type": draw(st.sampled_from(list(EndpointType))),
        "instance": {"type": draw(gpu_instances), "initial_count": draw(st.integers(1, 3))},
        "resources": {"num_cpus": draw(st.sampled_from([0.5, 1, 2, 3.5])), "memory_mib": draw(st.integers(128, 8192))},
        "autoscaling": draw(scaling),
        "environment": draw(st.dictionaries(st.from_regex(r"X_[A-Z0-9_]{1,12}", fullmatch=True), st.text(max_size=20))),
        "tags": draw(st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.just("value"), max_size=3)),
        "ttl": draw(st.sampled_from([None, "8h", "PT90M"])),
        "timeouts": {"container_startup_s": draw(st.none() | st.integers(60, 3600))},
    }
    try:
        spec = DeploymentSpec.model_validate(document)
        resolved(spec)
    except (SpecError, ValueError):
        assume(False)
    return spec
