"""What is left of deployments that have no endpoint: it may bill nothing, and lies about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from llm_deploy.aws import Session, aws_errors
from llm_deploy.errors import AccessDeniedError, NotFoundError
from llm_deploy.resource import owner
from llm_deploy.targets.sagemaker.autoscaling import ScalableTargetManager, scaled
from llm_deploy.targets.sagemaker.tags import tags_of

Target = Mapping[str, Any]

NO_ENDPOINT = "NoEndpoint"
"""In place of an endpoint's status."""


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Names of what is left of one deployment that has no endpoint.

    Attributes:
        scalable_targets: Resource ids that nothing stands behind any more.
    """

    name: str
    models: tuple[str, ...]
    endpoint_configs: tuple[str, ...]
    scalable_targets: tuple[str, ...] = ()
    status: str = NO_ENDPOINT

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.models, *self.endpoint_configs, *self.scalable_targets)


def leftovers(session: Session, standing: Iterable[str]) -> Iterator[Leftovers]:
    """Deployments of ours that left something and are not among the `standing` ones, by name.

    Reads the tags of every model, endpoint config and dangling scalable target of the region: one call each.
    """
    models = by_owner(session, listed(session, "Model"))
    configs = by_owner(session, listed(session, "EndpointConfig"))
    targets = dangling_targets(session)
    for name in sorted((models.keys() | configs.keys() | targets.keys()) - set(standing)):
        yield Leftovers(name, tuple(models[name]), tuple(configs[name]), tuple(targets[name]))


def listed(session: Session, noun: str) -> dict[str, str]:
    """ARNs by name of all objects of a kind (`Model`, `EndpointConfig`, `Endpoint`, `InferenceComponent`)."""
    verb = _VERBS[noun]
    with aws_errors(f"list {verb.replace('_', ' ')}s"):
        pages = (
            session.client("sagemaker").get_paginator(f"list_{verb}s").paginate(SortBy="Name", SortOrder="Ascending")
        )
        return {item[f"{noun}Name"]: item[f"{noun}Arn"] for page in pages for item in page[f"{noun}s"]}


def by_owner(session: Session, arns: dict[str, str]) -> defaultdict[str, list[str]]:
    """Names by the deployment that their tags claim them for; strangers are left out."""
    found = defaultdict(list)
    for name, arn in arns.items():
        deployment = _owner(session, arn)
        if deployment is not None:
            found[deployment].append(name)
    return found


def dangling_targets(session: Session) -> defaultdict[str, list[str]]:
    """Resource ids of scalable targets whose endpoint or component is gone, by the deployment in their tags."""
    manager = ScalableTargetManager(session)
    found = defaultdict(list)
    for target in on_nothing(session, manager.registered()):
        try:
            deployment = owner(manager.tags(target["ScalableTargetARN"]))
        except (AccessDeniedError, NotFoundError):
            continue  # somebody else's, or gone by now
        if deployment is not None:
            found[deployment].append(target["ResourceId"])
    return found


def on_nothing(session: Session, targets: list[Target]) -> list[Target]:
    """The scalable targets whose endpoint or component is not there; asks by lists, which any identity may read."""
    if not targets:
        return []
    names = {"endpoint": listed(session, "Endpoint"), "inference-component": listed(session, "InferenceComponent")}
    return [target for target in targets if not _stands(target, names)]


def _stands(target: Target, names: Mapping[str, Mapping[str, str]]) -> bool:
    what, name = scaled(target["ResourceId"])
    return name in names[what]


def _owner(session: Session, arn: str) -> str | None:
    try:
        return owner(tags_of(session, arn))
    except (AccessDeniedError, NotFoundError):
        return None  # somebody else's, for a narrow identity may read the tags of its own alone; or gone by now


_VERBS = {
    "Model": "model",
    "EndpointConfig": "endpoint_config",
    "Endpoint": "endpoint",
    "InferenceComponent": "inference_component",
}
