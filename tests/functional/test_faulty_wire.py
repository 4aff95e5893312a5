"""A wire that breaks at every call, between the real botocore and the local cloud; boto3 says what stands then."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llm_deploy.deploy.service import DeploymentService
from llm_deploy.errors import CloudError, CredentialsError, LlmDeployError, UnavailableError
from llm_deploy.targets import deployment
from llm_deploy.targets.registry import Connection
from llm_deploy.targets.roles import Roles, wish_for
from llm_deploy.targets.sagemaker.iam import deployer_name
from llm_deploy.targets.sagemaker.identity_files import USER_FILE
from tests.conftest import Terminal
from tests.fakes.faulty_wire import AWAY, BROKEN, EXPIRED, THROTTLED, Call, Fault, FaultyWire, first_times, wire_to
from tests.functional.connections import TWIN, QuickClock, client_of, delete, deploy, over, specified, standing

TYPES = ["inference-component", "model"]
MOST_RUNS = 100
MINUTES = 100.0

pytestmark = pytest.mark.xdist_group("local-cloud")


@pytest.fixture
def wire(connection: Connection) -> Iterator[FaultyWire]:
    """A wire to the local cloud."""
    with wire_to(str(connection.session.endpoint_url)) as wire:
        yield wire


def until_it_ends_well(act: Callable[[], object]) -> list[LlmDeployError]:
    """Run the same command again and again; the errors on the way."""
    errors: list[LlmDeployError] = []
    for _ in range(MOST_RUNS):
        try:
            act()
        except (CloudError, CredentialsError) as error:
            errors.append(error)
        else:
            return errors
    raise AssertionError(f"it never ended well: {errors[-1]}")


@pytest.mark.row("T3")
@pytest.mark.row("T12")
@pytest.mark.parametrize("last", ["lose", pytest.param("cut", marks=pytest.mark.slow)])
@pytest.mark.parametrize("endpoint_type", TYPES)
def test_every_call_that_changes_something_breaks_in_every_way(
    connection: Connection, wire: FaultyWire, pointed_at_it: dict[str, str], endpoint_type: str, last: Fault
) -> None:
    """Deploy, another model and machine, delete: each run ends at the next fault, and the same command goes on."""
    broken = over(connection, wire.url, attempts=1)
    faults: tuple[Fault, ...] = ("refuse", BROKEN, AWAY, THROTTLED, EXPIRED, last)
    first = specified(endpoint_type, "wired")
    second = specified(endpoint_type, "wired", limits__max_input_tokens="1024", instance__type="ml.g5.12xlarge")
    for spec in (first, second):
        wire.fault = first_times(*faults)
        errors = until_it_ends_well(lambda spec=spec: deploy(spec, broken))  # type: ignore[misc]
        assert len(errors) >= len(faults) * 3
        assert deployment.plan_deployment(spec, connection).plan.empty
    found = standing(pointed_at_it, "wired")
    assert {kind: len(names) for kind, names in found.items()} == {
        "models": 2,
        "configs": 2,
        "endpoints": 1,
        "components": int(endpoint_type != "model"),
        "targets": 1,
        "policies": 1,
    }
    wire.fault = first_times(*faults)
    until_it_ends_well(lambda: delete("wired", broken))
    assert not any(standing(pointed_at_it, "wired").values())


@pytest.mark.row("T3")
@pytest.mark.parametrize("endpoint_type", TYPES)
def test_botocore_sends_again_what_took_effect_and_one_run_is_enough(
    connection: Connection, wire: FaultyWire, pointed_at_it: dict[str, str], endpoint_type: str
) -> None:
    """`Cannot create already existing` and `Cannot update in-progress` are known for the echo of our own calls."""
    retrying = over(connection, wire.url, attempts=3)
    for limit in ("2048", "1024"):
        wire.fault = first_times("lose")
        deploy(specified(endpoint_type, "echo", limits__max_input_tokens=limit), retrying)
    assert {kind: len(names) for kind, names in standing(pointed_at_it, "echo").items()} == {
        "models": 2,
        "configs": 2 if endpoint_type == "model" else 1,
        "endpoints": 1,
        "components": int(endpoint_type != "model"),
        "targets": 1,
        "policies": 1,
    }
    wire.fault = first_times("lose")
    delete("echo", retrying)
    assert not any(standing(pointed_at_it, "echo").values())


def after(calls: int, fault: Fault) -> Callable[[Call], Fault | None]:
    return lambda call: fault if call.number >= calls else None


@pytest.mark.parametrize("fault", [THROTTLED, AWAY, "refuse"])
def test_a_storm_ends_a_run_with_a_clear_error_and_the_next_one_goes_on(
    connection: Connection, wire: FaultyWire, pointed_at_it: dict[str, str], fault: Fault
) -> None:
    """Bounded attempts, then the cloud's own words, what was made and that it goes on; never a half made success."""
    spec = specified("model", "storm")
    retrying = over(connection, wire.url, attempts=2)
    wire.fault = after(0, fault)
    with pytest.raises(CloudError):
        deploy(spec, retrying)
    assert len(wire.calls) == 2, "each call is sent twice at most"
    wire.fault = lambda call: fault if call.operation == "CreateEndpoint" else None
    with pytest.raises(CloudError) as caught:
        deploy(spec, retrying)
    assert caught.value.exit_code == 12
    assert "made so far: EndpointConfig storm-" in (caught.value.hint or "")
    assert [call.operation for call in wire.calls][-2:] == ["CreateEndpoint", "CreateEndpoint"]
    wire.fault = lambda _: None
    deploy(spec, retrying)
    assert deployment.plan_deployment(spec, connection).plan.empty
    delete("storm", connection)
    assert not any(standing(pointed_at_it, "storm").values())


@pytest.mark.parametrize("fault", [THROTTLED, AWAY, "refuse", "cut"])
def test_a_long_wait_survives_an_outage(connection: Connection, wire: FaultyWire, fault: Fault) -> None:
    """A minute without one good Describe is said and survived."""
    spec = specified("model", "outage")
    service = DeploymentService(deployment.ResourceManager(over(connection, wire.url, attempts=1)), QuickClock(MINUTES))
    planned = deployment.plan_deployment(spec, connection, service=service)
    begun: list[int] = []

    def break_the_wait(call: Call) -> Fault | None:
        begun.extend([call.number] if call.operation == "CreateEndpoint" else [])
        return fault if begun and call.operation == "DescribeEndpoint" and call.number - begun[0] < 6 else None

    wire.fault = break_the_wait
    steps = list(deployment.apply_deployment(planned, connection, service=service))
    silent = [step for step in steps if step.status == "no answer, looking again"]
    assert len(silent) == 5
    assert all("cannot describe endpoint 'outage'" in step.detail for step in silent)
    assert deployment.plan_deployment(spec, connection).plan.empty
    delete("outage", connection)


def test_a_wait_without_an_end_to_the_outage_ends_by_itself(connection: Connection, wire: FaultyWire) -> None:
    """Five minutes on its clock, not the hour that a deploy may take."""
    clock = QuickClock(MINUTES)
    service = DeploymentService(deployment.ResourceManager(over(connection, wire.url, attempts=1)), clock)
    planned = deployment.plan_deployment(specified("model", "dark"), connection, service=service)
    wire.fault = lambda call: AWAY if call.operation == "DescribeEndpoint" else None
    began_s = clock.now_s()
    with pytest.raises(UnavailableError) as caught:
        list(deployment.apply_deployment(planned, connection, service=service))
    assert 300 <= clock.now_s() - began_s < 900
    assert "under way when it stopped: Endpoint dark" in (caught.value.hint or "")
    wire.fault = lambda _: None
    delete("dark", connection)


def key_ids(variables: dict[str, str], user: str) -> list[str]:
    keys = client_of(variables, "iam").list_access_keys(UserName=user)["AccessKeyMetadata"]
    return [key["AccessKeyId"] for key in keys]


def kept_id(folder: Path) -> str:
    return str(json.loads((folder / USER_FILE).read_text())["AccessKeyId"])


@pytest.mark.row("T1")
@pytest.mark.parametrize("storm", [(1, "refuse", "lose"), (1, "cut"), (3, "lose")])
def test_roles_at_every_call_and_never_two_keys(
    connection: Connection,
    wire: FaultyWire,
    pointed_at_it: dict[str, str],
    tmp_path: Path,
    storm: tuple[int, *tuple[Fault, ...]],
) -> None:
    """A key whose secret was lost with the answer is removed by the next run, which makes the one that is kept."""
    attempts, *faults = storm
    broken = over(connection, wire.url, attempts=attempts)
    wish = wish_for(broken, prefix="wired", spec=None, model_bucket=None, user=True)
    roles = Roles(broken, wish, tmp_path)
    user = deployer_name(wish.deployment)
    wire.fault = first_times(*faults)
    until_it_ends_well(lambda: list(roles.apply(roles.plan(), timeout_s=60)))
    made = [call for call in wire.calls if call.operation == "CreateAccessKey"]
    assert len(made) == len(faults) + 1
    assert key_ids(pointed_at_it, user) == [kept_id(tmp_path)]
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".note")] == []
    wire.fault = lambda _: None
    assert not roles.plan().changing
    wire.fault = first_times(*faults)
    until_it_ends_well(lambda: list(roles.delete(roles.plan_deletion(), timeout_s=60)))
    wire.fault = lambda _: None
    assert not roles.plan_deletion().changes


@pytest.mark.row("T3")
@pytest.mark.parametrize(("fault", "code"), [(EXPIRED, 4), ("refuse", 12)])
def test_the_command_says_what_was_made_and_goes_on(
    local_cloud: Terminal, wire: FaultyWire, pointed_at_it: dict[str, str], fault: Fault, code: int
) -> None:
    """Credentials that run out, and a network that goes away, in the middle of `llmdeploy deploy-endpoint`."""
    role = "arn:aws:iam::000000000000:role/llmdeploy-local-execution"
    wired = {"AWS_ENDPOINT_URL": wire.url, "AWS_ARN_ROLE": role, "LLMDEPLOY_TARGET": "sagemaker"}
    terminal = Terminal(local_cloud.folder, {**local_cloud.environment, **pointed_at_it, **wired})
    deploy = ("deploy-endpoint", str(TWIN), "--set", "name=cli", "--endpoint-type", "model", "--yes")
    wire.fault = lambda call: fault if call.operation == "CreateEndpoint" else None
    result = terminal.run(*deploy, code=code)
    assert "cannot create endpoint 'cli': " in result.err
    assert "made so far: EndpointConfig cli-" in result.err
    assert "Running the same command again goes on from there." in result.err
    assert "Traceback" not in result.err
    wire.fault = lambda _: None
    again = terminal.run(*deploy, "--json").json
    assert [item["kind"] for item in again["done"]] == ["Endpoint", "ScalableTarget", "ScalingPolicy"]
    terminal.run("delete-endpoint", "cli", "--yes")
    assert not any(standing(pointed_at_it, "cli").values())
