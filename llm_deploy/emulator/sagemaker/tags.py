"""Tags of every SageMaker resource, by ARN."""

from __future__ import annotations

from collections.abc import Iterable

from llm_deploy.emulator.sagemaker.hosting import COMPONENT, CONFIG, ENDPOINT, MODEL, TAGS, Hosting
from llm_deploy.emulator.sagemaker.refusals import refusal
from llm_deploy.emulator.sagemaker.standin import stood_in
from llm_deploy.emulator.service import Call, Operation
from llm_deploy.emulator.store import Document

MAX_TAGS = 50
"""Source: service model of SageMaker, TagList."""
STAND_IN_TAG = "aws:local:stand-in"
_KINDS = {
    "model": (MODEL, "ModelArn"),
    "endpoint-config": (CONFIG, "EndpointConfigArn"),
    "endpoint": (ENDPOINT, "EndpointArn"),
    "inference-component": (COMPONENT, "InferenceComponentArn"),
}


class TagOperations:
    """AddTags, ListTags, DeleteTags, and the tags that a Create brings."""

    def __init__(self, hosting: Hosting) -> None:
        self._hosting = hosting
        self._store = hosting.cloud.store

    def operations(self) -> dict[str, Operation]:
        """Handlers by operation."""
        return {"AddTags": self.add_tags, "ListTags": self.list_tags, "DeleteTags": self.delete_tags}

    async def add_tags(self, call: Call) -> Document:
        """Add or replace tags."""
        arn = call.params["ResourceArn"]
        self._resource(arn)
        tags = self._tags(arn)
        tags.update(checked_tags(call))
        self._write(arn, tags)
        return {"Tags": _listed(tags)}

    async def list_tags(self, call: Call) -> Document:
        """All tags; the cloud's own first. One page: there are at most 51."""
        arn = call.params["ResourceArn"]
        resource = self._resource(arn)
        own = {STAND_IN_TAG: tag_text(note)} if (note := stood_in(self._hosting, resource)) else {}
        return {"Tags": _listed({**own, **self._tags(arn)})}

    async def delete_tags(self, call: Call) -> Document:
        """Remove tags by key; absent ones are no error."""
        arn = call.params["ResourceArn"]
        self._resource(arn)
        keys = call.params["TagKeys"]
        _refuse_reserved(keys, call)
        self._write(arn, {key: value for key, value in self._tags(arn).items() if key not in keys})
        return {}

    def of(self, arn: str) -> dict[str, str]:
        """The tags of a resource, as policies see them; of an absent one none."""
        return self._tags(arn)

    def set(self, arn: str, call: Call) -> None:
        """The tags that came with a Create; check them first, with `checked_tags`."""
        if call.params.get("Tags"):
            self._write(arn, checked_tags(call))

    def _tags(self, arn: str) -> dict[str, str]:
        return self._store.get(TAGS, arn) or {}

    def _write(self, arn: str, tags: dict[str, str]) -> None:
        if sum(not _is_reserved(key) for key in tags) > MAX_TAGS:
            raise refusal("sm.tags.too-many", limit=MAX_TAGS)
        self._store.put(TAGS, arn, tags)

    def _resource(self, arn: str) -> Document:
        kind_name = arn.rpartition(":")[2].partition("/")[0]
        kind, member = _KINDS.get(kind_name, ("", ""))
        for document in self._store.all(kind) if kind else ():
            if document[member] == arn.lower():
                return document
        raise refusal("sm.tags.no-resource", arn=arn)


def checked_tags(call: Call) -> dict[str, str]:
    """The tags of a request as a mapping.

    Raises:
        ServiceError: A key is the cloud's own, and no service of it asks. Ledger: `sm.tags.reserved`.
    """
    found = {tag["Key"]: tag["Value"] for tag in call.params.get("Tags") or ()}
    _refuse_reserved(found, call)
    return found


def tag_text(note: str) -> str:
    """A note as a tag's value: what a tag may not hold becomes a space."""
    return "".join(char if char.isalnum() or char in " _.:/=+-@" else " " for char in note)[:256]


def _refuse_reserved(keys: Iterable[str], call: Call) -> None:
    for key in keys:
        if _is_reserved(key) and not call.by_service:
            raise refusal("sm.tags.reserved", key=key)


def _is_reserved(key: str) -> bool:
    return key.lower().startswith("aws:")


def _listed(tags: dict[str, str]) -> list[Document]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
