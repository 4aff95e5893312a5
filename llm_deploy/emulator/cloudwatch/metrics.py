"""CloudWatch metrics: PutMetricData, GetMetricData, GetMetricStatistics, ListMetrics."""

from __future__ import annotations

import math
from collections.abc import Iterator

from llm_deploy.emulator import ledger
from llm_deploy.emulator.cloudwatch.paging import page
from llm_deploy.emulator.cloudwatch.query import epoch
from llm_deploy.emulator.cloudwatch.series import Bucket, Key, Metrics, metric_key
from llm_deploy.emulator.cloudwatch.statistics import is_statistic, statistic
from llm_deploy.emulator.service import Call, Cloud, Operation, ServiceError, not_implemented
from llm_deploy.emulator.store import Document

LIST_PAGE = 500
MAX_VALUE = 2.0**360
"""Source: botocore's documentation of PutMetricData."""


class MetricOperations:
    """The operations on metrics."""

    def __init__(self, cloud: Cloud, metrics: Metrics) -> None:
        self._cloud = cloud
        self._metrics = metrics

    def operations(self) -> dict[str, Operation]:
        """Handlers by operation name."""
        return {
            "PutMetricData": self.put_metric_data,
            "GetMetricData": self.get_metric_data,
            "GetMetricStatistics": self.get_metric_statistics,
            "ListMetrics": self.list_metrics,
        }

    async def put_metric_data(self, call: Call) -> Document:
        """PutMetricData: single values, values with counts, or statistic sets. All or nothing."""
        namespace = call.params["Namespace"]
        if namespace.startswith("AWS/"):
            raise ServiceError("InvalidParameterValue", ledger.text("cloudwatch.reserved-namespace"))
        for datum in call.params.get("MetricData", []):
            _check_datum(datum)
        for datum in call.params.get("MetricData", []):
            self._record(metric_key(namespace, datum["MetricName"], _dimensions(datum)), datum)
        return {}

    async def get_metric_data(self, call: Call) -> Document:
        """GetMetricData: queries of one metric each; metric math is refused loudly."""
        params = call.params
        start, end = epoch(params["StartTime"]), epoch(params["EndTime"])
        if start >= end:
            raise ServiceError("ValidationError", ledger.text("cloudwatch.time-order"))
        newest_first = params.get("ScanBy", "TimestampDescending") == "TimestampDescending"
        results = []
        for query in params["MetricDataQueries"]:
            if "MetricStat" not in query:
                raise not_implemented(self._cloud, "cloudwatch:GetMetricData with an Expression")
            if query.get("ReturnData", True):
                results.append(self._query(query, start, end, newest_first=newest_first))
        return {"MetricDataResults": results, "Messages": []}

    async def get_metric_statistics(self, call: Call) -> Document:
        """GetMetricStatistics."""
        params = call.params
        names = [*params.get("Statistics", []), *params.get("ExtendedStatistics", [])]
        if not names:
            raise ServiceError("InvalidParameterCombination", ledger.text("cloudwatch.one-statistic"))
        key = metric_key(params["Namespace"], params["MetricName"], _dimensions(params))
        start, end = epoch(params["StartTime"]), epoch(params["EndTime"])
        periods = self._metrics.periods(key, start, end, params["Period"])
        unit = self._metrics.unit(key)
        points = [_datapoint(moment, bucket, names, unit) for moment, bucket in sorted(periods.items())]
        return {"Label": params["MetricName"], "Datapoints": points}

    async def list_metrics(self, call: Call) -> Document:
        """ListMetrics, filtered by namespace, name and dimensions (a name alone, or name and value)."""
        shown, token = page(
            [key for key in self._metrics.keys() if _matches(key, call.params)],  # noqa: SIM118 - no dictionary
            repr,
            limit=LIST_PAGE,
            token=call.params.get("NextToken"),
            error_code="InvalidParameterValue",
        )
        return {"Metrics": [_metric(key) for key in shown]} | ({"NextToken": token} if token else {})

    def _record(self, key: Key, datum: Document) -> None:
        moment = epoch(datum["Timestamp"]) if "Timestamp" in datum else self._cloud.clock.now()
        unit = datum.get("Unit", "None")
        if "StatisticValues" in datum:
            given = datum["StatisticValues"]
            known = Bucket(given["SampleCount"], given["Sum"], given["Minimum"], given["Maximum"])
            self._metrics.record_set(key, known, moment, unit=unit)
            return
        for value, times in _values(datum):
            self._metrics.record(key, value, moment, unit=unit, times=times)

    def _query(self, query: Document, start: float, end: float, *, newest_first: bool) -> Document:
        asked = query["MetricStat"]
        if not is_statistic(asked["Stat"]):
            raise not_implemented(self._cloud, f"cloudwatch:GetMetricData with Stat {asked['Stat']}")
        metric = asked["Metric"]
        key = metric_key(metric.get("Namespace", ""), metric.get("MetricName", ""), _dimensions(metric))
        periods = self._metrics.periods(key, start, end, asked["Period"])
        points = [(moment, statistic(periods[moment], asked["Stat"])) for moment in sorted(periods)]
        known = [(moment, value) for moment, value in points if value is not None]
        if newest_first:
            known.reverse()
        return {
            "Id": query["Id"],
            "Label": query.get("Label", metric.get("MetricName", "")),
            "Timestamps": [moment for moment, _ in known],
            "Values": [value for _, value in known],
            "StatusCode": "Complete",
        }


def _check_datum(datum: Document) -> None:
    given = [name for name in ("Value", "Values", "StatisticValues") if name in datum]
    if len(given) != 1:
        raise ServiceError("InvalidParameterCombination", ledger.text("cloudwatch.one-value"))
    if "Counts" in datum and len(datum["Counts"]) != len(datum.get("Values", [])):
        raise ServiceError("InvalidParameterValue", ledger.text("cloudwatch.counts"))
    numbers = [value for pair in _values(datum) for value in pair] + list(datum.get("StatisticValues", {}).values())
    if not all(math.isfinite(number) and abs(number) <= MAX_VALUE for number in numbers):
        raise ServiceError("InvalidParameterValue", ledger.text("cloudwatch.value-range"))


def _values(datum: Document) -> Iterator[tuple[float, float]]:
    if "Value" in datum:
        yield float(datum["Value"]), 1.0
    counts = datum.get("Counts") or [1.0] * len(datum.get("Values", []))
    yield from zip(datum.get("Values", []), counts, strict=True)


def _dimensions(fields: Document) -> dict[str, str]:
    return {each["Name"]: each["Value"] for each in fields.get("Dimensions", [])}


def _matches(key: Key, params: Document) -> bool:
    namespace, name, dimensions = key
    has = dict(dimensions)
    return (
        params.get("Namespace", namespace) == namespace
        and params.get("MetricName", name) == name
        and all(has.get(each["Name"]) == each.get("Value", has.get(each["Name"], "")) for each in _filters(params))
    )


def _filters(params: Document) -> list[Document]:
    filters: list[Document] = params.get("Dimensions", [])
    return filters


def _metric(key: Key) -> Document:
    namespace, name, dimensions = key
    pairs = [{"Name": each, "Value": value} for each, value in dimensions]
    return {"Namespace": namespace, "MetricName": name, "Dimensions": pairs}


def _datapoint(moment: int, bucket: Bucket, names: list[str], unit: str) -> Document:
    point: Document = {"Timestamp": moment, "Unit": unit}
    ranked = {}
    for name in names:
        value = statistic(bucket, name) if is_statistic(name) else None
        if value is not None and name.startswith(("p", "tm")):
            ranked[name] = value
        elif value is not None:
            point[name] = value
    return point | ({"ExtendedStatistics": ranked} if ranked else {})
