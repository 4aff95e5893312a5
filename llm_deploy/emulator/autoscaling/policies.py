"""Scaling policies, and the alarms that come and go with target-tracking ones."""

from __future__ import annotations

import uuid

from llm_deploy.emulator import ledger
from llm_deploy.emulator.autoscaling.rules import check_step_scaling, check_target_tracking
from llm_deploy.emulator.autoscaling.scalables import ScalableId, check_namespace, scalable_id
from llm_deploy.emulator.autoscaling.targets import INVALID_TOKEN, PAGE, require_target
from llm_deploy.emulator.autoscaling.tracking_alarms import tracking_alarms
from llm_deploy.emulator.cloudwatch.alarms import Alarms
from llm_deploy.emulator.cloudwatch.paging import page
from llm_deploy.emulator.service import Call, Cloud, Operation, ServiceError
from llm_deploy.emulator.store import Document

KIND = "autoscaling:policy"
MAX_POLICIES = 50
"""Source: Application Auto Scaling quotas, policies per scalable target."""

STEP, TRACKING = "StepScaling", "TargetTrackingScaling"
_CONFIGURATION = {STEP: "StepScalingPolicyConfiguration", TRACKING: "TargetTrackingScalingPolicyConfiguration"}


class Policies:
    """The scaling policies of the account."""

    def __init__(self, cloud: Cloud, alarms: Alarms) -> None:
        self._cloud = cloud
        self._alarms = alarms

    def operations(self) -> dict[str, Operation]:
        """Handlers by operation name."""
        return {
            "PutScalingPolicy": self.put,
            "DescribeScalingPolicies": self.describe,
            "DeleteScalingPolicy": self.delete,
        }

    async def put(self, call: Call) -> Document:
        """PutScalingPolicy: makes one or overwrites it; ARN and alarm names stay. Ledger: `autoscaling.alarms`."""
        params = call.params
        scalable = scalable_id(params)
        require_target(self._cloud, scalable)
        old = self._cloud.store.get(KIND, _key(scalable, params["PolicyName"]))
        kind = params.get("PolicyType") or (old["PolicyType"] if old else STEP)
        configuration = _configuration(kind, params, scalable)
        if old is None:
            self._check_count(scalable)
        policy = {
            **scalable.fields,
            "PolicyName": params["PolicyName"],
            "PolicyType": kind,
            "PolicyARN": old["PolicyARN"] if old else self._arn(scalable, params["PolicyName"]),
            "CreationTime": old["CreationTime"] if old else self._cloud.clock.now(),
            _CONFIGURATION[kind]: configuration,
        }
        with self._cloud.store.transaction():
            policy["Alarms"] = self._renew_alarms(scalable, policy, old)
            self._cloud.store.put(KIND, _key(scalable, params["PolicyName"]), policy)
        return {"PolicyARN": policy["PolicyARN"], "Alarms": policy["Alarms"]}

    async def describe(self, call: Call) -> Document:
        """DescribeScalingPolicies, filtered by names, resource and dimension."""
        params = call.params
        check_namespace(params)
        if "ResourceId" in params and "ScalableDimension" not in params:
            raise ServiceError("ValidationException", ledger.text("autoscaling.dimension-needed"))
        shown, token = page(
            [policy for policy in self._cloud.store.all(KIND) if _wanted(policy, params)],
            lambda policy: f"{policy['ScalableDimension']}|{policy['ResourceId']}|{policy['PolicyName']}",
            limit=params.get("MaxResults", PAGE),
            token=params.get("NextToken"),
            error_code=INVALID_TOKEN,
        )
        return {"ScalingPolicies": shown} | ({"NextToken": token} if token else {})

    def implied(self, operation: str, params: Document) -> Document:
        """The type of the policy that is deleted, when there is one."""
        if operation != "DeleteScalingPolicy":
            return {}
        key = f"{params.get('ScalableDimension')}|{params.get('ResourceId')}|{params.get('PolicyName')}"
        policy = self._cloud.store.get(KIND, key)
        return {} if policy is None else {"PolicyType": policy["PolicyType"]}

    async def delete(self, call: Call) -> Document:
        """DeleteScalingPolicy: its alarms go with it."""
        scalable = scalable_id(call.params)
        policy = self._cloud.store.get(KIND, _key(scalable, call.params["PolicyName"]))
        if policy is None:
            words = ledger.text(
                "autoscaling.no-policy",
                name=call.params["PolicyName"],
                namespace="sagemaker",
                resource=scalable.resource,
                dimension=scalable.dimension.name,
            )
            raise ServiceError("ObjectNotFoundException", words)
        self._delete(scalable, policy)
        return {}

    def forget(self, scalable: ScalableId) -> None:
        """Remove all policies of a scalable, with their alarms."""
        for policy in self._of(scalable):
            self._delete(scalable, policy)

    def _delete(self, scalable: ScalableId, policy: Document) -> None:
        with self._cloud.store.transaction():
            self._alarms.delete([alarm["AlarmName"] for alarm in policy["Alarms"]])
            self._cloud.store.delete(KIND, _key(scalable, policy["PolicyName"]))

    def _of(self, scalable: ScalableId) -> list[Document]:
        return self._cloud.store.all(KIND, prefix=_key(scalable, ""))

    def _check_count(self, scalable: ScalableId) -> None:
        if len(self._of(scalable)) >= MAX_POLICIES:
            raise ServiceError("LimitExceededException", ledger.text("autoscaling.policy-limit", limit=MAX_POLICIES))

    def _arn(self, scalable: ScalableId, name: str) -> str:
        middle = f"{uuid.uuid4()}:resource/sagemaker/{scalable.resource}"
        return self._cloud.arn("autoscaling", f"scalingPolicy:{middle}:policyName/{name}")

    def _renew_alarms(self, scalable: ScalableId, policy: Document, old: Document | None) -> list[Document]:
        """Make the alarms that the policy needs under the names that it had, and remove those it no longer needs."""
        names = [alarm["AlarmName"] for alarm in old["Alarms"]] if old else []
        wanted = tracking_alarms(scalable, policy, names) if policy["PolicyType"] == TRACKING else {}
        self._alarms.delete([name for name in names if name not in wanted])
        return [{"AlarmName": name, "AlarmARN": self._alarms.put(name, alarm)} for name, alarm in wanted.items()]


def _key(scalable: ScalableId, policy_name: str) -> str:
    return f"{scalable.key}|{policy_name}"


def _configuration(kind: str, params: Document, scalable: ScalableId) -> Document:
    if kind not in _CONFIGURATION:
        raise ServiceError("ValidationException", ledger.text("autoscaling.policy-type", kind=kind))
    others = [name for each, name in _CONFIGURATION.items() if each != kind and name in params]
    if others or _CONFIGURATION[kind] not in params:
        words = ledger.text("autoscaling.configuration", kind=kind, wanted=_CONFIGURATION[kind])
        raise ServiceError("ValidationException", words)
    configuration: Document = params[_CONFIGURATION[kind]]
    if kind == TRACKING:
        check_target_tracking(configuration, scalable)
    else:
        check_step_scaling(configuration)
    return configuration


def _wanted(policy: Document, params: Document) -> bool:
    return (
        policy["ResourceId"] == params.get("ResourceId", policy["ResourceId"])
        and policy["ScalableDimension"] == params.get("ScalableDimension", policy["ScalableDimension"])
        and ("PolicyNames" not in params or policy["PolicyName"] in params["PolicyNames"])
    )
