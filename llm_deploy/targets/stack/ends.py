"""Whether what a complete stack holds is what was asked for. Pure."""

from __future__ import annotations

from llm_deploy.deploy.inventory import Found
from llm_deploy.deploy.plan import compare, short_kind
from llm_deploy.errors import DeployError
from llm_deploy.resource import ENDPOINT, INFERENCE_COMPONENT, Resource

SERVING = {ENDPOINT: "EndpointConfigName", INFERENCE_COMPONENT: "Specification"}
"""What answers callers, and the property that says with what."""


def refuse_what_went_back(stack: str, wanted: Resource, standing: Found | None) -> None:
    """Raise DeployError where an endpoint or component does not serve what a complete stack says.

    SageMaker takes an update back by itself and is in service again; CloudFormation need not notice.

    Args:
        stack: The stack's name.
        wanted: What was asked for, of a kind of `SERVING`.
        standing: What is there now.
    """
    hint = (
        f"`llmdeploy logs {wanted.name}` shows the containers' side. CloudFormation takes it for done and would not "
        "try again by itself: deploy what serves now, then this."
    )
    what = f"stack '{stack}' is complete, but {short_kind(wanted.kind)} '{wanted.name}'"
    if standing is None:
        raise DeployError(f"{what} is gone.", hint=hint)
    served = SERVING[wanted.kind]
    for difference in compare(wanted, standing):
        if difference.path == served or difference.path.startswith(f"{served}."):
            reason = f" The cloud says: {standing.reason}" if standing.reason else ""
            raise DeployError(
                f"{what} is {standing.status} with {difference.path} {difference.found!r}, wanted "
                f"{difference.wanted!r}.{reason}",
                hint=hint,
            )
