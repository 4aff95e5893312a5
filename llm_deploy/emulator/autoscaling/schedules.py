"""Scheduled actions: kept and described; none of them runs yet."""

from __future__ import annotations

import re
import uuid

from llm_deploy.emulator import ledger
from llm_deploy.emulator.autoscaling.scalables import ScalableId, check_namespace, scalable_id
from llm_deploy.emulator.autoscaling.targets import INVALID_TOKEN, PAGE, require_target
from llm_deploy.emulator.cloudwatch.paging import page
from llm_deploy.emulator.service import Call, Cloud, Operation, ServiceError
from llm_deploy.emulator.store import Document

KIND = "autoscaling:schedule"
MAX_SCHEDULES = 200
"""Source: Application Auto Scaling quotas, scheduled actions per scalable target."""

_AT = re.compile(r"at\(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\)")
_RATE = re.compile(r"rate\([1-9]\d* (?:minutes?|hours?|days?)\)")
_CRON = re.compile(r"cron\(\S+(?: \S+){5}\)")
_GIVEN = ("Schedule", "Timezone", "StartTime", "EndTime", "ScalableTargetAction")


class Schedules:
    """The scheduled actions of the account."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def operations(self) -> dict[str, Operation]:
        """Handlers by operation name."""
        return {
            "PutScheduledAction": self.put,
            "DescribeScheduledActions": self.describe,
            "DeleteScheduledAction": self.delete,
        }

    async def put(self, call: Call) -> Document:
        """PutScheduledAction: makes one, or changes the members that are given."""
        params = call.params
        scalable = scalable_id(params)
        require_target(self._cloud, scalable)
        name = params["ScheduledActionName"]
        old = self._cloud.store.get(KIND, _key(scalable, name))
        action = {**(old or self._new(scalable, name)), **{key: params[key] for key in _GIVEN if key in params}}
        _check(action)
        self._cloud.store.put(KIND, _key(scalable, name), action)
        return {}

    async def describe(self, call: Call) -> Document:
        """DescribeScheduledActions, filtered by names, resource and dimension."""
        params = call.params
        check_namespace(params)
        shown, token = page(
            [action for action in self._cloud.store.all(KIND) if _wanted(action, params)],
            lambda action: f"{action['ScalableDimension']}|{action['ResourceId']}|{action['ScheduledActionName']}",
            limit=params.get("MaxResults", PAGE),
            token=params.get("NextToken"),
            error_code=INVALID_TOKEN,
        )
        return {"ScheduledActions": shown} | ({"NextToken": token} if token else {})

    async def delete(self, call: Call) -> Document:
        """DeleteScheduledAction."""
        scalable = scalable_id(call.params)
        name = call.params["ScheduledActionName"]
        if not self._cloud.store.delete(KIND, _key(scalable, name)):
            words = ledger.text("autoscaling.no-schedule", name=name, resource=scalable.resource)
            raise ServiceError("ObjectNotFoundException", words)
        return {}

    def forget(self, scalable: ScalableId) -> None:
        """Remove all scheduled actions of a scalable."""
        for action in self._of(scalable):
            self._cloud.store.delete(KIND, _key(scalable, action["ScheduledActionName"]))

    def _of(self, scalable: ScalableId) -> list[Document]:
        return self._cloud.store.all(KIND, prefix=_key(scalable, ""))

    def _new(self, scalable: ScalableId, name: str) -> Document:
        if len(self._of(scalable)) >= MAX_SCHEDULES:
            words = ledger.text("autoscaling.schedule-limit", limit=MAX_SCHEDULES)
            raise ServiceError("LimitExceededException", words)
        middle = f"{uuid.uuid4()}:resource/sagemaker/{scalable.resource}"
        return {
            **scalable.fields,
            "ScheduledActionName": name,
            "ScheduledActionARN": self._cloud.arn(
                "autoscaling", f"scheduledAction:{middle}:scheduledActionName/{name}"
            ),
            "CreationTime": self._cloud.clock.now(),
        }


def _key(scalable: ScalableId, name: str) -> str:
    return f"{scalable.key}|{name}"


def _check(action: Document) -> None:
    schedule = action.get("Schedule", "")
    if not any(kind.fullmatch(schedule) for kind in (_AT, _RATE, _CRON)):
        raise ServiceError("ValidationException", ledger.text("autoscaling.schedule", schedule=schedule))
    change = action.get("ScalableTargetAction", {})
    if not change:
        raise ServiceError("ValidationException", ledger.text("autoscaling.schedule-action"))
    if change.get("MinCapacity", 0) > change.get("MaxCapacity", float("inf")):
        raise ServiceError("ValidationException", ledger.text("autoscaling.min-above-max"))


def _wanted(action: Document, params: Document) -> bool:
    return (
        action["ResourceId"] == params.get("ResourceId", action["ResourceId"])
        and action["ScalableDimension"] == params.get("ScalableDimension", action["ScalableDimension"])
        and ("ScheduledActionNames" not in params or action["ScheduledActionName"] in params["ScheduledActionNames"])
    )
