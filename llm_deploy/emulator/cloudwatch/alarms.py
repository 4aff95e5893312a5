"""CloudWatch alarms: kept and described. Nothing evaluates them yet, and their state says so."""

from __future__ import annotations

from llm_deploy.emulator import ledger
from llm_deploy.emulator.cloudwatch.paging import page
from llm_deploy.emulator.service import Call, Cloud, Operation, ServiceError
from llm_deploy.emulator.store import Document

KIND = "cloudwatch:alarm"
DEFAULT_PAGE = 100
INVALID_TOKEN = "InvalidNextToken"  # noqa: S105 - an error code
_SETTABLE_STATES = ("StateValue", "StateReason", "StateReasonData")


class Alarms:
    """The alarms of the account, and the operations on them."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def operations(self) -> dict[str, Operation]:
        """Handlers by operation name."""
        return {
            "PutMetricAlarm": self.put_metric_alarm,
            "DescribeAlarms": self.describe_alarms,
            "DescribeAlarmsForMetric": self.describe_alarms_for_metric,
            "DeleteAlarms": self.delete_alarms,
            "SetAlarmState": self.set_alarm_state,
            "EnableAlarmActions": self.enable_actions,
            "DisableAlarmActions": self.disable_actions,
            "TagResource": self.tag,
            "UntagResource": self.untag,
            "ListTagsForResource": self.list_tags,
        }

    def put(self, name: str, fields: Document, tags: Document | None = None) -> str:
        """Make or overwrite an alarm and return its ARN; an existing one keeps its state and its tags."""
        now = self._cloud.clock.now()
        old = self._cloud.store.get(KIND, name)
        arn = self._cloud.arn("cloudwatch", f"alarm:{name}")
        state = {key: old["alarm"][key] for key in _STATE if key in old["alarm"]} if old else _unchecked(now)
        alarm = {
            "AlarmName": name,
            "AlarmArn": arn,
            "ActionsEnabled": True,
            **_NO_ACTIONS,
            **fields,
            **state,
            "AlarmConfigurationUpdatedTimestamp": now,
        }
        self._cloud.store.put(KIND, name, {"alarm": alarm, "tags": old["tags"] if old else tags or {}})
        return arn

    def delete(self, names: list[str]) -> None:
        """Remove alarms; names that do not exist are passed over."""
        for name in names:
            self._cloud.store.delete(KIND, name)

    def tags_of(self, arn: str) -> dict[str, str]:
        """The tags of an alarm, as policies see them; of an absent one none."""
        document = self._cloud.store.get(KIND, arn.rpartition(":alarm:")[2])
        return {} if document is None else dict(document["tags"])

    async def put_metric_alarm(self, call: Call) -> Document:
        """PutMetricAlarm. Ledger: `cloudwatch.alarm-not-evaluated`."""
        fields = dict(call.params)
        name, tags = fields.pop("AlarmName"), {tag["Key"]: tag["Value"] for tag in fields.pop("Tags", [])}
        _check(fields)
        self.put(name, fields, tags)
        return {}

    async def describe_alarms(self, call: Call) -> Document:
        """DescribeAlarms: metric alarms only, since there are no others."""
        params = call.params
        shown, token = page(
            [alarm for alarm in self._all() if _wanted(alarm, params)],
            lambda alarm: str(alarm["AlarmName"]),
            limit=params.get("MaxRecords", DEFAULT_PAGE),
            token=params.get("NextToken"),
            error_code=INVALID_TOKEN,
        )
        return {"MetricAlarms": shown, "CompositeAlarms": []} | ({"NextToken": token} if token else {})

    async def describe_alarms_for_metric(self, call: Call) -> Document:
        """DescribeAlarmsForMetric: same metric, namespace and dimensions, whatever their order."""
        wanted = _metric_identity(call.params)
        return {"MetricAlarms": [alarm for alarm in self._all() if _metric_identity(alarm) == wanted]}

    async def delete_alarms(self, call: Call) -> Document:
        """DeleteAlarms. Ledger: `cloudwatch.delete-absent-alarm`."""
        self.delete(call.params["AlarmNames"])
        return {}

    async def set_alarm_state(self, call: Call) -> Document:
        """SetAlarmState: as told, until something sets it again. No action is taken."""
        document = self._stored(call.params["AlarmName"])
        moment = self._cloud.clock.now()
        document["alarm"] |= {key: call.params[key] for key in _SETTABLE_STATES if key in call.params}
        document["alarm"] |= {"StateUpdatedTimestamp": moment, "StateTransitionedTimestamp": moment}
        self._cloud.store.put(KIND, call.params["AlarmName"], document)
        return {}

    async def enable_actions(self, call: Call) -> Document:
        """EnableAlarmActions."""
        return self._set_actions(call.params["AlarmNames"], enabled=True)

    async def disable_actions(self, call: Call) -> Document:
        """DisableAlarmActions."""
        return self._set_actions(call.params["AlarmNames"], enabled=False)

    async def tag(self, call: Call) -> Document:
        """TagResource, for alarms."""
        document = self._tagged(call.params["ResourceARN"])
        document["tags"] |= {tag["Key"]: tag["Value"] for tag in call.params["Tags"]}
        self._cloud.store.put(KIND, document["alarm"]["AlarmName"], document)
        return {}

    async def untag(self, call: Call) -> Document:
        """UntagResource, for alarms."""
        document = self._tagged(call.params["ResourceARN"])
        for key in call.params["TagKeys"]:
            document["tags"].pop(key, None)
        self._cloud.store.put(KIND, document["alarm"]["AlarmName"], document)
        return {}

    async def list_tags(self, call: Call) -> Document:
        """ListTagsForResource, for alarms."""
        tags = self._tagged(call.params["ResourceARN"])["tags"]
        return {"Tags": [{"Key": key, "Value": value} for key, value in sorted(tags.items())]}

    def _all(self) -> list[Document]:
        return [document["alarm"] for document in self._cloud.store.all(KIND)]

    def _set_actions(self, names: list[str], *, enabled: bool) -> Document:
        for name in names:
            if (document := self._cloud.store.get(KIND, name)) is not None:
                document["alarm"]["ActionsEnabled"] = enabled
                self._cloud.store.put(KIND, name, document)
        return {}

    def _tagged(self, arn: str) -> Document:
        return self._stored(arn.partition(":alarm:")[2] or arn)

    def _stored(self, name: str) -> Document:
        document = self._cloud.store.get(KIND, name)
        if document is None:
            raise ServiceError("ResourceNotFound", ledger.text("cloudwatch.no-alarm", name=name), status=404)
        return document


_STATE = (
    "StateValue",
    "StateReason",
    "StateReasonData",
    "StateUpdatedTimestamp",
    "StateTransitionedTimestamp",
)
_NO_ACTIONS: Document = {"OKActions": [], "AlarmActions": [], "InsufficientDataActions": [], "Dimensions": []}


def _unchecked(now: float) -> Document:
    return {
        "StateValue": "INSUFFICIENT_DATA",
        "StateReason": ledger.text("cloudwatch.alarm-not-evaluated"),
        "StateUpdatedTimestamp": now,
        "StateTransitionedTimestamp": now,
    }


def _check(fields: Document) -> None:
    """What the model does not say: an alarm watches one metric or a list of queries, with a statistic and a period."""
    if "Metrics" in fields and "MetricName" in fields:
        raise ServiceError("InvalidParameterCombination", ledger.text("cloudwatch.metric-or-metrics"))
    if "Metrics" in fields:
        return
    for name in ("MetricName", "Namespace", "Period", "EvaluationPeriods", "ComparisonOperator"):
        if name not in fields:
            raise ServiceError("MissingParameter", ledger.text("cloudwatch.missing-parameter", name=name))
    if ("Statistic" in fields) == ("ExtendedStatistic" in fields):
        raise ServiceError("InvalidParameterCombination", ledger.text("cloudwatch.one-statistic"))
    period = fields["Period"]
    if period not in {10, 20, 30} and period % 60:
        raise ServiceError("ValidationError", ledger.text("cloudwatch.period"))


def _wanted(alarm: Document, params: Document) -> bool:
    return (
        ("AlarmNames" not in params or alarm["AlarmName"] in params["AlarmNames"])
        and alarm["AlarmName"].startswith(params.get("AlarmNamePrefix", ""))
        and alarm["StateValue"] == params.get("StateValue", alarm["StateValue"])
        and ("AlarmTypes" not in params or "MetricAlarm" in params["AlarmTypes"])
        and ("ActionPrefix" not in params or _has_action(alarm, params["ActionPrefix"]))
    )


def _has_action(alarm: Document, prefix: str) -> bool:
    actions = alarm["OKActions"] + alarm["AlarmActions"] + alarm["InsufficientDataActions"]
    return any(action.startswith(prefix) for action in actions)


def _metric_identity(fields: Document) -> tuple[object, ...]:
    dimensions = frozenset((each["Name"], each["Value"]) for each in fields.get("Dimensions", []))
    return fields.get("Namespace"), fields.get("MetricName"), dimensions
