"""What SageMaker does with the execution role of a container: pull its image, write its log, read its model.

Ledger: `access.execution-role`.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from llm_deploy.emulator import ledger
from llm_deploy.emulator.sagemaker.hosting import Hosting
from llm_deploy.emulator.store import Document

ROLE = "ExecutionRoleArn"
"""Member of a container as an endpoint or a component keeps it."""

_IMAGE = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/(?P<repository>[^:@]+)"
)
_PULL = ("BatchGetImage", "GetDownloadUrlForLayer", "BatchCheckLayerAvailability")
_WRITE_LOG = ("CreateLogStream", "PutLogEvents")


def with_role(container: Document, role: str | None) -> Document:
    """A container with the role that it runs under; without one nothing is checked."""
    return container if role is None else {**container, ROLE: role}


def pull_problem(hosting: Hosting, container: Document, source: str) -> str | None:
    """Why the image cannot be pulled with the role; `None` when it can. Ledger: `sm.endpoint.pull`."""
    image, role = container.get("Image", ""), container.get(ROLE)
    found = _IMAGE.match(image)
    if role is None or found is None:
        return None
    repository = f"arn:aws:ecr:{found['region']}:{found['account']}:repository/{found['repository']}"
    needed = [(action, repository) for action in _PULL] + [("GetAuthorizationToken", "*")]
    for action, resource in needed:
        if not hosting.cloud.hooks.role_may(role, source, f"ecr:{action}", resource, {}):
            return ledger.text("sm.endpoint.pull", role=role, action=action, image=image)
    return None


def writable_group(hosting: Hosting, container: Document, source: str, group: str) -> str:
    """The log group, or nothing when the role may not write there. Ledger: `sm.logs.role`."""
    role = container.get(ROLE)
    if role is None:
        return group
    arn = hosting.cloud.arn("logs", f"log-group:{group}")
    stream = f"{arn}:log-stream:*"
    may = hosting.cloud.hooks.role_may
    allowed = may(role, source, "logs:CreateLogGroup", f"{arn}:log-stream:", {}) and all(
        may(role, source, f"logs:{action}", stream, {}) for action in _WRITE_LOG
    )
    return group if allowed else ""


def may_read(hosting: Hosting, role: str, source: str, uri: str) -> bool:
    """Whether a role may read an object, or everything below a prefix. Ledger: `sm.model.access`."""
    place = urlsplit(uri)
    bucket, key = place.netloc, place.path.lstrip("/")
    may = hosting.cloud.hooks.role_may
    if not key.endswith("/"):
        return may(role, source, "s3:GetObject", f"arn:aws:s3:::{bucket}/{key}", {})
    listed = may(role, source, "s3:ListBucket", f"arn:aws:s3:::{bucket}", {"s3:prefix": key})
    return listed and may(role, source, "s3:GetObject", f"arn:aws:s3:::{bucket}/{key}*", {})
