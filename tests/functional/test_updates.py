"""Changes of a running deployment as a person makes them: rolled out, undone by alarms, rolled back, listed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from tests.conftest import ROOT, Terminal
from tests.functional.test_main_job import everything

TWIN = str(ROOT / "configs" / "twin.yaml")
TYPES = ["inference-component", "model"]
SHORTER = ("--set", "limits.max_input_tokens=1024")
CANARY = (
    "--endpoint-type=model",
    "--set=update.strategy=canary",
    "--set=update.size_percent=50",
    "--set=instance.initial_count=2",
    "--set=autoscaling.max_copies=4",
    "--set=update.alarms.errors_above=3",
)
WATCHED = {"model": CANARY, "inference-component": ("--set=update.alarms.errors_above=3",)}

pytestmark = pytest.mark.xdist_group("local-cloud")


@pytest.fixture
def deployed(local_cloud: Terminal) -> Iterator[Terminal]:
    """The local cloud, with nothing of the Twin left on it afterwards."""
    yield local_cloud
    local_cloud.run("delete-endpoint", "twin", "--yes")


def client(pointed_at_it: dict[str, str], service: str) -> Any:  # noqa: ANN401 - boto3 makes its client classes at run time
    """A client of the local cloud."""
    return boto3.client(
        service,
        endpoint_url=pointed_at_it["AWS_ENDPOINT_URL"],
        region_name=pointed_at_it["AWS_REGION"],
        aws_access_key_id=pointed_at_it["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=pointed_at_it["AWS_SECRET_ACCESS_KEY"],
    )


def set_alarm(pointed_at_it: dict[str, str], state: str) -> None:
    """As CloudWatch would, had it seen errors."""
    client(pointed_at_it, "cloudwatch").set_alarm_state(
        AlarmName="twin-rollback-errors", StateValue=state, StateReason="seven errors in a minute"
    )


@pytest.mark.parametrize("endpoint_type", TYPES)
def test_what_served_before_comes_back_without_a_spec(
    deployed: Terminal, pointed_at_it: dict[str, str], endpoint_type: str
) -> None:
    """Deploy, change model and sampling, roll back; the first spec then has nothing to do, and --to leads forward."""
    deploy = ("deploy-endpoint", TWIN, "--endpoint-type", endpoint_type, "--yes", "--json")
    changed = (*deploy, *SHORTER, "--set", "generation.temperature=0.5")
    deployed.run(*deploy)
    assert [entry["state"] for entry in deployed.run("history", "twin", "--json").json] == ["in use"]
    assert "no previous generation" in deployed.run("rollback", "twin", "--yes", code=6).err
    deployed.run(*changed)
    now, before = deployed.run("history", "twin", "--json").json
    assert {item["name"]: (item["here"], item["in_use"]) for item in before["differs"]} == {
        "MAX_INPUT_LENGTH": ("2048", "1024"),
        "sampling": (
            "temperature=0.01 top_p=0.9 max_new_tokens=150",
            "temperature=0.5 top_p=0.9 max_new_tokens=150",
        ),
    }

    shown = deployed.run("rollback", "twin", "--dry-run", "--json").json
    assert shown["generation"] == before["id"]
    assert {change["action"] for change in shown["changes"]} == {"keep", "update"}
    assert deployed.run("history", "twin", "--json").json == [now, before], "a dry run changes nothing"

    done = deployed.run("rollback", "twin", "--yes", "--json").json
    assert done["generation"] == before["id"]
    assert done["smoke"]["text"].startswith(" Paris")
    assert [entry["id"] for entry in deployed.run("history", "twin", "--json").json] == [before["id"], now["id"]]
    assert deployed.run(*deploy).json["done"] == [], "what the earlier spec says is what there is"

    again = deployed.run("rollback", "twin", "--yes", "--json")
    assert again.json["done"] == []
    assert "Nothing to change" in again.err
    assert deployed.run("rollback", "twin", "--to", now["id"], "--yes", "--json").json["generation"] == now["id"]
    assert deployed.run(*changed).json["done"] == []
    assert {len(everything(pointed_at_it)[kind]) for kind in ("models",)} == {2}


@pytest.mark.parametrize("endpoint_type", TYPES)
def test_an_alarm_that_goes_off_undoes_an_update_and_says_so(
    deployed: Terminal, pointed_at_it: dict[str, str], endpoint_type: str
) -> None:
    """Exit code 9, AWS's reason and the alarm; what served serves on; what was half made goes with the next deploy."""
    deploy = ("deploy-endpoint", TWIN, *WATCHED[endpoint_type], "--yes")
    deployed.run(*deploy)
    before = deployed.run("history", "twin", "--json").json
    set_alarm(pointed_at_it, "ALARM")
    failed = deployed.run(*deploy, *SHORTER, code=9)
    assert "was rolled back: it is InService" in failed.err
    assert "The cloud says: The deployment was rolled back: alarm(s) in state ALARM: twin-rollback-errors" in failed.err
    assert "alarm 'twin-rollback-errors' is in ALARM: seven errors in a minute" in failed.err
    assert "What served before serves on" in failed.err
    entries = deployed.run("history", "twin", "--json").json
    assert entries[0] == before[0]
    assert {entry["state"] for entry in entries[1:]} == {"unused"}
    assert "Paris" in deployed.run("invoke", "twin", "The capital of France is").out
    assert deployed.run("rollback", "twin", "--yes", "--json").json["done"] == [], "there is nothing to undo"

    set_alarm(pointed_at_it, "OK")
    done = deployed.run(*deploy, "--json").json["done"]
    assert {item["action"] for item in done} == {"-"}
    assert deployed.run("history", "twin", "--json").json == before


def test_a_plan_says_how_it_is_rolled_out_and_the_wait_where_it_is(deployed: Terminal) -> None:
    """Strategy, room and alarms before; the stage and the share of machines meanwhile."""
    deployed.run("deploy-endpoint", TWIN, *CANARY, "--yes")
    changed = deployed.run("deploy-endpoint", TWIN, *CANARY, *SHORTER, "--set=update.wait_s=3600", "--yes")
    assert "canary: 50 % of the machines first, the rest after 3600 s; 1 alarm rolls it back" in changed.err
    assert "needs 1 to 4 more ml.g5.2xlarge during the update" in changed.err
    assert "Baking, 1 of 2 new machines take traffic" in changed.err


def test_alarms_follow_the_spec_and_go_with_the_deployment(deployed: Terminal, pointed_at_it: dict[str, str]) -> None:
    """Made before what names them, changed in place, removed when no longer wanted; ours by their tags."""
    cloudwatch = client(pointed_at_it, "cloudwatch")

    def alarms() -> dict[str, float]:
        found = cloudwatch.describe_alarms(AlarmNamePrefix="twin-")["MetricAlarms"]
        return {alarm["AlarmName"]: alarm["Threshold"] for alarm in found}

    deploy = ("deploy-endpoint", TWIN, "--yes", "--json")
    deployed.run(*deploy, "--set=update.alarms.errors_above=3", "--set=update.alarms.latency_p99_above_ms=2000")
    assert alarms() == {"twin-rollback-errors": 3.0, "twin-rollback-latency": 2_000_000.0}
    done = deployed.run(*deploy, "--set=update.alarms.errors_above=5").json["done"]
    assert [(item["action"], item["kind"]) for item in done] == [("~", "Alarm"), ("-", "Alarm")]
    assert alarms() == {"twin-rollback-errors": 5.0}
    cloudwatch.put_metric_alarm(
        AlarmName="twin-rollback-latency",
        MetricName="m",
        Namespace="n",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )
    taken = deployed.run(*deploy, "--set=update.alarms.latency_p99_above_ms=2000", code=7)
    assert "Alarm 'twin-rollback-latency' exists already and is not ours" in taken.err
    deployed.run("delete-endpoint", "twin", "--yes")
    assert alarms() == {"twin-rollback-latency": 1.0}, "what others made is theirs to remove"
    cloudwatch.delete_alarms(AlarmNames=["twin-rollback-latency"])


def test_the_machine_of_an_autoscaled_variant_goes_back_as_well(deployed: Terminal) -> None:
    """AWS, and so the local cloud, refuses that while the variant may scale: deregister, update, register."""
    deploy = ("deploy-endpoint", TWIN, "--endpoint-type", "model", "--yes", "--json")
    deployed.run(*deploy)
    deployed.run(*deploy, "--set", "instance.type=ml.g5.4xlarge")
    done = deployed.run("rollback", "twin", "--yes", "--json").json["done"]
    kinds = [(item["action"], item["kind"]) for item in done]
    assert kinds.index(("-", "ScalableTarget")) < kinds.index(("~", "Endpoint")) < kinds.index(("±", "ScalableTarget"))
    assert deployed.run("status", "twin", "--json").json["instances"][0]["type"] == "ml.g5.2xlarge"
    assert deployed.run(*deploy).json["done"] == []


def test_a_spec_that_aws_would_refuse_is_refused_with_its_line(terminal: Terminal) -> None:
    """Exit code 3 before any cloud is asked, naming what to write instead."""
    spec = terminal.folder / "bad.yaml"
    spec.write_text("name: twin\nmodel: org/model\nupdate:\n  strategy: canary\n  size_percent: 60\n")
    refused = terminal.run("config", "validate", str(spec), code=3)
    assert "update.strategy" in refused.err
    assert "inference components copy by copy (rolling)" in refused.err
