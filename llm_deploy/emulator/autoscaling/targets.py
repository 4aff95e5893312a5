"""Scalable targets: what may be scaled, between which bounds."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Protocol

from llm_deploy.emulator import ledger
from llm_deploy.emulator.autoscaling.scalables import DIMENSIONS, ScalableId, check_namespace, scalable_id
from llm_deploy.emulator.cloudwatch.paging import page
from llm_deploy.emulator.sagemaker.hosting import COMPONENT, CONFIG, ENDPOINT, SCALABLE_KIND as KIND
from llm_deploy.emulator.service import Call, Cloud, Operation, ServiceError
from llm_deploy.emulator.store import Document

MAX_TARGETS = 500
MAX_TAGS = 50
PAGE = 50
INVALID_TOKEN = "InvalidNextTokenException"  # noqa: S105 - an error code
ROLE = "sagemaker.application-autoscaling.amazonaws.com/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"


class Dependents(Protocol):
    """What belongs to a target and goes with it."""

    def forget(self, scalable: ScalableId) -> None:
        """Remove everything that belongs to a scalable."""


class Targets:
    """The scalable targets of the account."""

    def __init__(self, cloud: Cloud, dependents: Sequence[Dependents]) -> None:
        self._cloud = cloud
        self._dependents = dependents

    def operations(self) -> dict[str, Operation]:
        """Handlers by operation name."""
        return {
            "RegisterScalableTarget": self.register,
            "DescribeScalableTargets": self.describe,
            "DeregisterScalableTarget": self.deregister,
            "DescribeScalingActivities": self.activities,
            "TagResource": self.tag,
            "UntagResource": self.untag,
            "ListTagsForResource": self.list_tags,
        }

    async def register(self, call: Call) -> Document:
        """RegisterScalableTarget: makes one, or changes the members that are given."""
        params = call.params
        scalable = scalable_id(params)
        old = self._cloud.store.get(KIND, scalable.key)
        if old is None:
            self._check_new(scalable, params)
        target = {**(old["target"] if old else self._new(scalable)), **_changes(params)}
        _check_bounds(target, _least(self._cloud, scalable))
        tags = {**(old["tags"] if old else {}), **params.get("Tags", {})}
        self._cloud.store.put(KIND, scalable.key, {"target": target, "tags": tags})
        self._cloud.hooks.needs_service_role(ROLE.partition("/")[0])
        return {"ScalableTargetARN": target["ScalableTargetARN"]}

    def implied(self, operation: str, params: Document) -> Document:
        """The ARN's last part of the target that a request names by its resource, when there is one."""
        del operation
        key = f"{params.get('ScalableDimension')}|{params.get('ResourceId')}"
        document = self._cloud.store.get(KIND, key)
        if document is None:
            return {}
        return {"ScalableTarget": document["target"]["ScalableTargetARN"].rpartition("/")[2]}

    def tags_of(self, arn: str) -> Mapping[str, str]:
        """The tags of a target, as policies see them; of an absent one none."""
        for document in self._cloud.store.all(KIND):
            if document["target"]["ScalableTargetARN"] == arn:
                tags: dict[str, str] = document["tags"]
                return tags
        return {}

    async def describe(self, call: Call) -> Document:
        """DescribeScalableTargets, filtered by resources and dimension."""
        params = call.params
        check_namespace(params)
        wanted = params.get("ResourceIds")
        if wanted and "ScalableDimension" not in params:
            raise ServiceError("ValidationException", ledger.text("autoscaling.dimension-needed"))
        shown, token = page(
            [target for target in self._all() if _wanted(target, params, wanted)],
            lambda target: f"{target['ScalableDimension']}|{target['ResourceId']}",
            limit=params.get("MaxResults", PAGE),
            token=params.get("NextToken"),
            error_code=INVALID_TOKEN,
        )
        return {"ScalableTargets": shown} | ({"NextToken": token} if token else {})

    async def deregister(self, call: Call) -> Document:
        """DeregisterScalableTarget. Ledger: `autoscaling.deregister-deletes-policies`."""
        scalable = scalable_id(call.params)
        require_target(self._cloud, scalable)
        with self._cloud.store.transaction():
            for dependents in self._dependents:
                dependents.forget(scalable)
            self._cloud.store.delete(KIND, scalable.key)
        return {}

    async def activities(self, call: Call) -> Document:
        """DescribeScalingActivities: nothing acts yet, so nothing has happened."""
        check_namespace(call.params)
        return {"ScalingActivities": []}

    async def tag(self, call: Call) -> Document:
        """TagResource."""
        key, document = self._by_arn(call.params["ResourceARN"])
        document["tags"] |= call.params["Tags"]
        if len(document["tags"]) > MAX_TAGS:
            name = call.params["ResourceARN"]
            raise ServiceError("TooManyTagsException", ledger.text("autoscaling.tags"), fields={"ResourceName": name})
        self._cloud.store.put(KIND, key, document)
        return {}

    async def untag(self, call: Call) -> Document:
        """UntagResource."""
        key, document = self._by_arn(call.params["ResourceARN"])
        for name in call.params["TagKeys"]:
            document["tags"].pop(name, None)
        self._cloud.store.put(KIND, key, document)
        return {}

    async def list_tags(self, call: Call) -> Document:
        """ListTagsForResource."""
        return {"Tags": self._by_arn(call.params["ResourceARN"])[1]["tags"]}

    def _all(self) -> list[Document]:
        return [document["target"] for document in self._cloud.store.all(KIND)]

    def _by_arn(self, arn: str) -> tuple[str, Document]:
        for document in self._cloud.store.all(KIND):
            target = document["target"]
            if target["ScalableTargetARN"] == arn:
                scalable = ScalableId(target["ResourceId"], DIMENSIONS[target["ScalableDimension"]])
                return scalable.key, document
        words = ledger.text("autoscaling.no-resource", arn=arn)
        raise ServiceError("ResourceNotFoundException", words, fields={"ResourceName": arn})

    def _check_new(self, scalable: ScalableId, params: Document) -> None:
        if "MinCapacity" not in params or "MaxCapacity" not in params:
            raise ServiceError("ValidationException", ledger.text("autoscaling.capacity-needed"))
        if self._cloud.store.count(KIND) >= MAX_TARGETS:
            raise ServiceError("LimitExceededException", ledger.text("autoscaling.target-limit", limit=MAX_TARGETS))
        if not scaled_resource_exists(self._cloud, scalable):
            words = ledger.text("autoscaling.resource-missing", resource=scalable.resource)
            raise ServiceError("ValidationException", words)

    def _new(self, scalable: ScalableId) -> Document:
        account = self._cloud.settings.account
        return {
            **scalable.fields,
            "RoleARN": f"arn:aws:iam::{account}:role/aws-service-role/{ROLE}",
            "CreationTime": self._cloud.clock.now(),
            "SuspendedState": {
                "DynamicScalingInSuspended": False,
                "DynamicScalingOutSuspended": False,
                "ScheduledScalingSuspended": False,
            },
            "ScalableTargetARN": self._cloud.arn("application-autoscaling", f"scalable-target/{secrets.token_hex(18)}"),
        }


def require_target(cloud: Cloud, scalable: ScalableId) -> Document:
    """The registered target.

    Raises:
        ServiceError: There is none. Ledger: `autoscaling.no-target`.
    """
    document = cloud.store.get(KIND, scalable.key)
    if document is None:
        words = ledger.text(
            "autoscaling.no-target",
            namespace="sagemaker",
            resource=scalable.resource,
            dimension=scalable.dimension.name,
        )
        raise ServiceError("ObjectNotFoundException", words)
    target: Document = document["target"]
    return target


def scaled_resource_exists(cloud: Cloud, scalable: ScalableId) -> bool:
    """Whether SageMaker has the endpoint's variant or the inference component."""
    if scalable.resource.startswith("inference-component/"):
        return cloud.store.get(COMPONENT, scalable.names[0]) is not None
    endpoint, variant = scalable.names
    document = cloud.store.get(ENDPOINT, endpoint.lower())
    if document is None or document["EndpointName"] != endpoint:
        return False
    return any(each["VariantName"] == variant for each in document["variants"])


def _changes(params: Document) -> Document:
    names = ("MinCapacity", "MaxCapacity", "SuspendedState")
    return {name: params[name] for name in names if name in params}


def _least(cloud: Cloud, scalable: ScalableId) -> int:
    """The smallest capacity: variants of asynchronous endpoints may go to zero, others not."""
    endpoint = cloud.store.get(ENDPOINT, scalable.names[0].lower()) or {}
    config = cloud.store.get(CONFIG, endpoint.get("EndpointConfigName", "")) or {}
    return 0 if "AsyncInferenceConfig" in config else scalable.dimension.least


def _check_bounds(target: Document, least: int) -> None:
    if target["MinCapacity"] > target["MaxCapacity"]:
        raise ServiceError("ValidationException", ledger.text("autoscaling.min-above-max"))
    if target["MinCapacity"] < least:
        raise ServiceError("ValidationException", ledger.text("autoscaling.min-too-small", least=least))


def _wanted(target: Document, params: Document, resources: list[str] | None) -> bool:
    return (not resources or target["ResourceId"] in resources) and target["ScalableDimension"] == params.get(
        "ScalableDimension", target["ScalableDimension"]
    )
