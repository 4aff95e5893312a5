"""Specs for tests: one of each kind by hand, and a hypothesis strategy over what the documents allow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from llm_deploy import catalog
from llm_deploy.errors import SpecError
from llm_deploy.spec import DeploymentSpec, EndpointType, Place, ResolvedSpec

CONFIGS = Path(__file__).parent.parent / "configs"
OWN_FILES = [path for path in sorted(CONFIGS.glob("*.yaml")) if path.name != "gateway.yaml"]
"""The deployments that people copy."""

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

updates_of_components = st.fixed_dictionaries(
    {},
    optional={
        "size_percent": st.integers(5, 50),
        "wait_s": st.integers(0, 900),
        "max_execution_s": st.integers(20_000, 28_800),
        "rollback_percent": st.integers(1, 100),
        "alarms": st.fixed_dictionaries(
            {},
            optional={
                "existing": st.lists(st.sampled_from(["a", "b c", "d/e"]), unique=True, max_size=3),
                "errors_above": st.integers(0, 100),
                "latency_p99_above_ms": st.floats(0.5, 60_000),
                "periods": st.integers(1, 5),
            },
        ),
    },
)
updates_of_fleets: st.SearchStrategy[dict[str, Any]] = st.one_of(
    updates_of_components.map(lambda update: {**update, "strategy": "rolling"}),
    st.fixed_dictionaries(
        {"strategy": st.sampled_from(["canary", "linear"])},
        optional={"size_percent": st.integers(10, 50), "termination_wait_s": st.integers(0, 3600)},
    ),
    st.just({"strategy": "all-at-once", "wait_s": 60}),
    st.just({}),
)


@st.composite
def specs(draw: st.DrawFn) -> DeploymentSpec:
    """Specs that the documents, the rules and the catalogue accept."""
    from hypothesis import assume  # noqa: PLC0415 - only this strategy needs it

    endpoint_type = draw(st.sampled_from(list(EndpointType)))
    components = endpoint_type is EndpointType.INFERENCE_COMPONENT_BASED
    document = {
        "name": draw(names),
        "engine": draw(st.sampled_from(["tgi", "vllm", "sglang", "lmi", "llamacpp"])),
        "model": draw(st.sampled_from(["org/model", "org/model@main", "s3://bucket/models/m/"])),
        "endpoint_type": endpoint_type,
        "update": draw(updates_of_components if components else updates_of_fleets),
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
