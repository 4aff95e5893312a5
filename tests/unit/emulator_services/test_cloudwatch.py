"""CloudWatch keeps alarms and counts what it is given, over both of its protocols."""

from __future__ import annotations

import random
import statistics as reference
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, strategies as st

from llm_deploy.emulator.cloudwatch.query import parse
from llm_deploy.emulator.cloudwatch.series import KIND, MAX_SAMPLES, MAX_SERIES, RETENTION_S, Metrics, metric_key
from llm_deploy.emulator.cloudwatch.statistics import statistic
from llm_deploy.emulator.protocol.model import load
from llm_deploy.emulator.service import ServiceError
from llm_deploy.emulator.store import Store
from tests.unit.emulator_services.wire import RefusedError, Wire, new_wire

ALARM = {
    "AlarmName": "slow",
    "MetricName": "ModelLatency",
    "Namespace": "AWS/SageMaker",
    "Dimensions": [{"Name": "EndpointName", "Value": "twin"}, {"Name": "VariantName", "Value": "AllTraffic"}],
    "Statistic": "Average",
    "Period": 60,
    "EvaluationPeriods": 3,
    "Threshold": 1e6,
    "ComparisonOperator": "GreaterThanThreshold",
}
TWIN = {"EndpointName": "twin", "VariantName": "AllTraffic"}
DIMENSIONS = [{"Name": name, "Value": value} for name, value in TWIN.items()]


def new_metrics() -> Metrics:
    return Metrics(random.Random(1))  # noqa: S311 - which samples are kept, nothing secret


def query(wire: Wire, stat: str, period_s: int = 60, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    metric = {"Namespace": "AWS/SageMaker", "MetricName": "ModelLatency", "Dimensions": DIMENSIONS}
    asked = {"Id": "q", "MetricStat": {"Metric": metric, "Period": period_s, "Stat": stat}}
    now = wire.clock.now()
    answer = wire.call(
        "cloudwatch", "GetMetricData", MetricDataQueries=[asked], StartTime=now - 3600, EndTime=now + 60, **more
    )
    result: dict[str, Any] = answer["MetricDataResults"][0]
    return result


def test_an_alarm_is_described_as_it_was_put(wire: Wire) -> None:
    """Every member comes back, and the state says that nobody has looked."""
    wire.call("cloudwatch", "PutMetricAlarm", **ALARM)
    (alarm,) = wire.call("cloudwatch", "DescribeAlarms")["MetricAlarms"]
    assert alarm.items() >= ALARM.items()
    assert (alarm["StateValue"], alarm["ActionsEnabled"]) == ("INSUFFICIENT_DATA", True)


def test_an_update_overwrites_all_but_state_and_tags(wire: Wire) -> None:
    """PutMetricAlarm replaces the configuration and leaves the state."""
    wire.call("cloudwatch", "PutMetricAlarm", **ALARM, AlarmDescription="old", Tags=[{"Key": "k", "Value": "v"}])
    wire.call("cloudwatch", "SetAlarmState", AlarmName="slow", StateValue="ALARM", StateReason="told")
    wire.call("cloudwatch", "PutMetricAlarm", **(ALARM | {"Threshold": 2.0}))
    (alarm,) = wire.call("cloudwatch", "DescribeAlarms")["MetricAlarms"]
    assert (alarm["Threshold"], alarm["StateValue"], "AlarmDescription" in alarm) == (2.0, "ALARM", False)
    tags = wire.call("cloudwatch", "ListTagsForResource", ResourceARN=alarm["AlarmArn"])["Tags"]
    assert tags == [{"Key": "k", "Value": "v"}]


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"Metrics": [{"Id": "m"}]}, "InvalidParameterCombination"),
        ({"ExtendedStatistic": "p99"}, "InvalidParameterCombination"),
        ({"Period": 45}, "ValidationError"),
        ({"Period": None}, "MissingParameter"),
        ({"ComparisonOperator": "Above"}, "ValidationException"),
    ],
)
def test_alarms_that_aws_refuses(wire: Wire, changed: dict[str, Any], code: str) -> None:
    """Rules that the service model does not hold, and one that it does."""
    fields = {name: value for name, value in (ALARM | changed).items() if value is not None}
    with pytest.raises(RefusedError) as refused:
        wire.call("cloudwatch", "PutMetricAlarm", **fields)
    assert refused.value.code == code


def test_deleting_passes_over_what_is_not_there(wire: Wire) -> None:
    """Ledger cloudwatch.delete-absent-alarm."""
    wire.call("cloudwatch", "PutMetricAlarm", **ALARM)
    wire.call("cloudwatch", "DeleteAlarms", AlarmNames=["never", "slow"])
    assert wire.call("cloudwatch", "DescribeAlarms")["MetricAlarms"] == []


def test_alarms_are_found_by_prefix_state_and_metric(wire: Wire) -> None:
    """The filters of DescribeAlarms, and DescribeAlarmsForMetric whatever the order of dimensions."""
    for name in ("a-1", "a-2", "b-1"):
        wire.call("cloudwatch", "PutMetricAlarm", **(ALARM | {"AlarmName": name}))
    wire.call("cloudwatch", "SetAlarmState", AlarmName="a-2", StateValue="OK", StateReason="fine")

    def names(**filters: Any) -> list[str]:  # noqa: ANN401 - JSON
        found = wire.call("cloudwatch", "DescribeAlarms", **filters)["MetricAlarms"]
        return [alarm["AlarmName"] for alarm in found]

    assert names(AlarmNamePrefix="a-") == ["a-1", "a-2"]
    assert names(StateValue="OK") == ["a-2"]
    assert names(AlarmTypes=["CompositeAlarm"]) == []
    metric = {"MetricName": "ModelLatency", "Namespace": "AWS/SageMaker", "Dimensions": DIMENSIONS[::-1]}
    assert len(wire.call("cloudwatch", "DescribeAlarmsForMetric", **metric)["MetricAlarms"]) == 3


def test_a_missing_alarm_is_a_404(wire: Wire) -> None:
    """AWS's code and status."""
    with pytest.raises(RefusedError) as refused:
        wire.call("cloudwatch", "SetAlarmState", AlarmName="x", StateValue="OK", StateReason="r")
    assert (refused.value.code, refused.value.status) == ("ResourceNotFound", 404)


def test_what_sagemaker_records_is_what_clients_read(wire: Wire) -> None:
    """The hook that the runtime calls ends in GetMetricData, with the unit and the usual statistics."""
    for latency_us in (100.0, 200.0, 600.0):
        wire.cloud.hooks.metric("ModelLatency", TWIN, latency_us, "Microseconds")
    assert query(wire, "Sum")["Values"] == [900.0]
    assert query(wire, "SampleCount")["Values"] == [3.0]
    assert query(wire, "p50")["Values"] == [200.0]
    (metric,) = wire.call("cloudwatch", "ListMetrics", Namespace="AWS/SageMaker")["Metrics"]
    assert metric == {"Namespace": "AWS/SageMaker", "MetricName": "ModelLatency", "Dimensions": DIMENSIONS}


def test_periods_and_order(wire: Wire) -> None:
    """Points fall into periods that begin at multiples of the period; newest first unless asked otherwise."""
    begin = wire.clock.now() - wire.clock.now() % 60
    for second, value in ((0, 1.0), (59, 2.0), (60, 4.0)):
        datum = {"MetricName": "m", "Timestamp": begin + second, "Value": value}
        wire.call("cloudwatch", "PutMetricData", Namespace="mine", MetricData=[datum])
    asked = {"Metric": {"Namespace": "mine", "MetricName": "m"}, "Period": 60, "Stat": "Sum"}
    answer = wire.call(
        "cloudwatch",
        "GetMetricData",
        MetricDataQueries=[{"Id": "q", "MetricStat": asked}],
        StartTime=begin,
        EndTime=begin + 120,
    )
    (result,) = answer["MetricDataResults"]
    assert (result["Timestamps"], result["Values"]) == ([begin + 60, begin], [4.0, 3.0])


def test_statistic_sets_and_counts_are_added_up(wire: Wire) -> None:
    """Three ways to say the same observations."""
    data = [
        {"MetricName": "m", "Value": 2.0},
        {"MetricName": "m", "Values": [3.0, 5.0], "Counts": [2.0, 1.0]},
        {"MetricName": "m", "StatisticValues": {"SampleCount": 2, "Sum": 10, "Minimum": 4, "Maximum": 6}},
    ]
    wire.call("cloudwatch", "PutMetricData", Namespace="mine", MetricData=data)
    now = wire.clock.now()
    answer = wire.call(
        "cloudwatch",
        "GetMetricStatistics",
        Namespace="mine",
        MetricName="m",
        StartTime=now - 60,
        EndTime=now + 60,
        Period=60,
        Statistics=["Sum", "SampleCount", "Minimum", "Maximum", "Average"],
    )
    (point,) = answer["Datapoints"]
    assert (point["Sum"], point["SampleCount"], point["Minimum"], point["Maximum"]) == (23.0, 6.0, 2.0, 6.0)
    assert point["Average"] == pytest.approx(23 / 6)


@pytest.mark.parametrize(
    ("namespace", "datum", "code"),
    [
        ("AWS/SageMaker", {"Value": 1.0}, "InvalidParameterValue"),
        ("mine", {}, "InvalidParameterCombination"),
        ("mine", {"Value": 1.0, "Values": [1.0]}, "InvalidParameterCombination"),
        ("mine", {"Values": [1.0], "Counts": [1.0, 2.0]}, "InvalidParameterValue"),
        ("mine", {"Value": 1e200}, "InvalidParameterValue"),
    ],
)
def test_data_that_aws_refuses(wire: Wire, namespace: str, datum: dict[str, Any], code: str) -> None:
    """And nothing of a refused call is kept, not even its good data."""
    good = {"MetricName": "good", "Value": 1.0}
    with pytest.raises(RefusedError) as refused:
        wire.call("cloudwatch", "PutMetricData", Namespace=namespace, MetricData=[good, {"MetricName": "m"} | datum])
    assert refused.value.code == code
    assert wire.call("cloudwatch", "ListMetrics")["Metrics"] == []


def test_metric_math_is_refused_loudly(wire: Wire) -> None:
    """An empty answer would look like an idle endpoint."""
    now = wire.clock.now()
    with pytest.raises(RefusedError, match="LocalCloudNotImplemented"):
        wire.call(
            "cloudwatch",
            "GetMetricData",
            MetricDataQueries=[{"Id": "e", "Expression": "a * 2"}],
            StartTime=now - 60,
            EndTime=now,
        )
    assert sum(wire.cloud.unknown.values()) == 1


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=MAX_SAMPLES))
def test_percentiles_agree_with_the_standard_library(values: list[float]) -> None:
    """While every value fits the bucket, percentiles are exact."""
    metrics = new_metrics()
    key = metric_key("n", "m", {})
    for value in values:
        metrics.record(key, value, 5.0)
    (bucket,) = metrics.periods(key, 0, 10, 60).values()
    expected = reference.quantiles(values, n=100, method="inclusive")
    for percent in (1, 50, 90, 99):
        assert statistic(bucket, f"p{percent}") == pytest.approx(expected[percent - 1], abs=1e-6)
    assert statistic(bucket, "p0") == min(values)
    assert statistic(bucket, "p100") == max(values)


def test_storage_is_bounded(wire: Wire) -> None:
    """Neither many values, nor many metrics, nor time fill the memory or the store."""
    metrics, store = new_metrics(), wire.cloud.store
    for index in range(MAX_SERIES + 50):
        metrics.record(metric_key("n", f"m{index}", {}), 1.0, 0.0)
    for _ in range(10 * MAX_SAMPLES):
        metrics.record(metric_key("n", "busy", {}), 1.0, 0.0)
    metrics.save(store)
    metrics.forget_before(-1, store)
    assert len(list(metrics.keys())) == MAX_SERIES == store.count(KIND)
    (bucket,) = metrics.periods(metric_key("n", "busy", {}), 0, 10, 60).values()
    assert (bucket.count, len(bucket.samples)) == (10 * MAX_SAMPLES, MAX_SAMPLES)
    metrics.forget_before(RETENTION_S, store)
    assert store.count(KIND) == 0


def test_datapoints_survive_a_restart(tmp_path: Path) -> None:
    """What was saved is read by the next cloud."""
    store = Store(None)
    before = new_metrics()
    key = metric_key("AWS/SageMaker", "Invocations", TWIN)
    before.record(key, 3.0, 100.0, unit="Count")
    before.save(store)
    after = new_metrics()
    after.load(store)
    assert after.periods(key, 0, 200, 60) == before.periods(key, 0, 200, 60)
    assert after.unit(key) == "Count"
    assert new_wire(tmp_path, store).cloud.store is store


class TestQueryProtocol:
    """Older clients send forms and read XML."""

    def test_a_form_is_the_same_call(self, wire: Wire) -> None:
        """Nested lists of structures, numbers and times come through."""
        fields = {
            "Action": "PutMetricData",
            "Namespace": "mine",
            "MetricData.member.1.MetricName": "m",
            "MetricData.member.1.Value": "2.5",
            "MetricData.member.1.Timestamp": "2023-11-14T22:13:20Z",
            "MetricData.member.1.Dimensions.member.1.Name": "d",
            "MetricData.member.1.Dimensions.member.1.Value": "v & w",
        }
        assert wire.form("monitoring", **fields)[0] == 200
        status, body = wire.form("monitoring", Action="ListMetrics", Namespace="mine")
        document = ET.fromstring(body)  # noqa: S314 - our own answer
        values = {element.tag.rpartition("}")[2]: element.text for element in document.iter() if element.text}
        assert (status, values["MetricName"], values["Value"]) == (200, "m", "v & w")

    @pytest.mark.parametrize(
        ("fields", "code"),
        [
            ({"Action": "Nothing"}, "InvalidAction"),
            ({"Action": "DescribeAlarms", "MaxRecords": "many"}, "MalformedInput"),
            ({"Action": "DescribeAlarms", "AlarmNames": "x"}, "MalformedInput"),
            ({"Action": "DescribeAlarms", "AlarmNames.member.x": "x"}, "MalformedInput"),
            ({"Action": "PutMetricAlarm"}, "ValidationError"),
            ({"Action": "DescribeAnomalyDetectors"}, "LocalCloudNotImplemented"),
        ],
    )
    def test_a_bad_form_is_one_clear_error(self, wire: Wire, fields: dict[str, str], code: str) -> None:
        """In the shape that the protocol's clients read."""
        status, body = wire.form("monitoring", **fields)
        found = ET.fromstring(body).find("Error/Code")  # noqa: S314 - our own answer
        assert status >= 400
        assert found is not None
        assert found.text == code

    @given(st.dictionaries(st.text(max_size=30), st.text(max_size=10), max_size=8))
    def test_any_form_is_answered(self, fields: dict[str, str]) -> None:
        """Noise is refused, never a crash."""
        try:
            document = parse(load("cloudwatch"), "PutMetricDataInput", fields)
        except ServiceError:
            return
        assert isinstance(document, dict)


def test_numbers_that_are_none_are_refused(wire: Wire) -> None:
    """A form can spell NaN; JSON should not."""
    status, _ = wire.form(
        "monitoring",
        Action="PutMetricData",
        Namespace="mine",
        **{"MetricData.member.1.MetricName": "m", "MetricData.member.1.Value": "nan"},
    )
    assert status == 400
