"""What a container is told through its environment, in each engine's words."""

from __future__ import annotations

from collections.abc import Iterator

from llm_deploy.catalog.containers import Image, engine_facts
from llm_deploy.spec import DeploymentSpec, HubModel

LIMITS = ("max_input_tokens", "max_total_tokens", "max_batch_prefill_tokens", "max_batch_total_tokens")


def environment(spec: DeploymentSpec, image: Image | None = None) -> dict[str, str]:
    """The container's whole environment: what follows from the spec, then the user's own variables, which win.

    `image` adds what its family needs beside the engine's variables.
    """
    facts = engine_facts(spec.engine)
    fixed = {**facts["fixed"], **(facts.get("fixed_for", {}).get(image.family, {}) if image else {})}
    return {**dict(_of_spec(spec)), **fixed, **spec.environment}


def unused_fields(spec: DeploymentSpec) -> tuple[str, ...]:
    """Fields that are set and that the engine has no word for."""
    variables = engine_facts(spec.engine)["variables"]
    found = [f"limits.{limit}" for limit in LIMITS if getattr(spec.limits, limit) is not None and not variables[limit]]
    if isinstance(spec.model, HubModel) and spec.model.revision and not variables["revision"]:
        found.append("model.revision")
    if spec.quantize and not variables["quantize"]:
        found.append("quantize")
    return tuple(found)


def _of_spec(spec: DeploymentSpec) -> Iterator[tuple[str, str]]:
    facts = engine_facts(spec.engine)
    variables = facts["variables"]
    if isinstance(spec.model, HubModel):
        values: dict[str, object] = {"model": spec.model.id, "revision": spec.model.revision}
    else:
        values = {}
        yield from facts["fixed_s3"].items()
    values |= {"tensor_parallel": spec.resources.num_accelerators, "quantize": spec.quantize}
    values |= {limit: getattr(spec.limits, limit) for limit in LIMITS}
    for key, value in values.items():
        if value is not None and variables[key]:
            yield variables[key], str(value)
