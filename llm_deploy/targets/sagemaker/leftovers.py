"""What is left of deployments that have no endpoint: models and endpoint configs, which bill nothing and lie about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from llm_deploy.aws import Session, aws_errors
from llm_deploy.errors import AccessDeniedError, NotFoundError
from llm_deploy.resource import owner
from llm_deploy.targets.sagemaker.tags import tags_of

NO_ENDPOINT = "NoEndpoint"
"""In place of an endpoint's status."""


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Names of the models and endpoint configs of one deployment that has no endpoint."""

    name: str
    models: tuple[str, ...]
    endpoint_configs: tuple[str, ...]
    status: str = NO_ENDPOINT


def leftovers(session: Session, standing: Iterable[str]) -> Iterator[Leftovers]:
    """Deployments of ours that have models or configs and are not among the `standing` ones, by name.

    Reads the tags of every model and endpoint config of the region: one call each.
    """
    models = _by_owner(session, "Model", "list_models")
    configs = _by_owner(session, "EndpointConfig", "list_endpoint_configs")
    for name in sorted((models.keys() | configs.keys()) - set(standing)):
        yield Leftovers(name, tuple(models.get(name, ())), tuple(configs.get(name, ())))


def _by_owner(session: Session, noun: str, operation: str) -> dict[str, list[str]]:
    with aws_errors(operation.replace("_", " ")):
        pages = session.client("sagemaker").get_paginator(operation).paginate(SortBy="Name", SortOrder="Ascending")
        items = [(item[f"{noun}Name"], item[f"{noun}Arn"]) for page in pages for item in page[f"{noun}s"]]
    found = defaultdict(list)
    for name, arn in items:
        deployment = _owner(session, arn)
        if deployment is not None:
            found[deployment].append(name)
    return found


def _owner(session: Session, arn: str) -> str | None:
    try:
        return owner(tags_of(session, arn))
    except (AccessDeniedError, NotFoundError):
        return None  # somebody else's, for a narrow identity may read the tags of its own alone; or gone by now
