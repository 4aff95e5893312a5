"""The deploy role is as narrow as it can be: the whole life works under it, and nothing of it can be taken away.

A local cloud that enforces IAM runs the life of both endpoint types as the role. Its record must then have a use of
every action that is granted; and without any one statement a real call of the product is refused, with an action that
the statement allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import pytest
from botocore.exceptions import ClientError

from llm_deploy.client.endpoint import LLMInferenceHttpEndpoint, LLMInferenceSagemakerEndpoint
from llm_deploy.dialects.types import GenerationRequest
from llm_deploy.resource import TAG_DEPLOYMENT
from llm_deploy.targets import deployment, teardown
from llm_deploy.targets.sagemaker import iam, logs
from tests.conftest import Terminal
from tests.functional.enforcement.conftest import (
    DEPLOYER,
    PREFIX,
    TWIN,
    Account,
    acting_as,
    delete,
    deploy,
    queue_over,
    spec_of,
)
from tests.functional.enforcement.grants import WISH, Case, Document, Role, check, sids, unused

pytestmark = pytest.mark.xdist_group("local-cloud")

TYPES = ("inference-component", "model")
COPIES, MACHINES, ANOTHER = f"{PREFIX}-copies", f"{PREFIX}-machines", f"{PREFIX}-another"
SPECS = {COPIES: spec_of(COPIES, "inference-component"), MACHINES: spec_of(MACHINES, "model")}
ALARM, OTHER_ALARM = {"update__alarms__errors_above": "5"}, {"update__alarms__errors_above": "6"}
NEW = spec_of(ANOTHER, "inference-component")
TEMPLATES = tuple(name for name in iam.DEPLOY_POLICIES if name != iam.STACK_POLICY)
"""Those of a deployment without CloudFormation."""


class Narrow(Role):
    """The deploy role at work."""

    def look(self, name: str) -> None:
        """As `deploy-endpoint --dry-run`."""
        deployment.plan_deployment(SPECS[name], self.connection)

    def make_another(self) -> None:
        """A deployment that is not there yet."""
        deploy(NEW, self.connection)

    def delete_another(self) -> None:
        """Take it away again, with its log."""
        delete(ANOTHER, self.connection)

    def plan_to_delete(self, name: str) -> None:
        """As `delete-endpoint --logs --dry-run`."""
        teardown.prepare(name, self.connection, logs=True)

    def change(self, name: str, **overrides: str) -> None:
        """Deploy a spec with other values."""
        deploy(spec_of(name, TYPES[name != COPIES], **overrides), self.connection)

    def ask(self, name: str) -> None:
        """As a client does."""
        endpoint = LLMInferenceSagemakerEndpoint(name, session=self.connection.session)
        endpoint.generate(GenerationRequest(prompt="The capital of France is", max_new_tokens=2))

    def ask_with_a_token(self, name: str) -> None:
        """As a program does that speaks OpenAI."""
        endpoint = LLMInferenceSagemakerEndpoint(name, session=self.connection.session, via="openai")
        endpoint.chat("Say hello.", max_new_tokens=2)

    def put_into_a_queue(self, name: str) -> None:
        """As a client of an asynchronous endpoint does."""
        endpoint = LLMInferenceSagemakerEndpoint(name, session=self.connection.session, via="queue")
        endpoint.submit(GenerationRequest(prompt="The capital of France is", max_new_tokens=2))

    def read_log(self, name: str) -> None:
        """As `logs`."""
        logs.read(self.connection.session, logs.log_groups(name, [name]))

    def no_target(self, name: str) -> None:
        """An administrator's work, before a case: the deployment scales no longer."""
        client = self.account.client("application-autoscaling")
        for target in client.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]:
            if target["ResourceId"].split("/")[1] == name:
                members = ("ServiceNamespace", "ResourceId", "ScalableDimension")
                client.deregister_scalable_target(**{member: target[member] for member in members})


def _scaled_anew(sid: str, name: str) -> Case[Narrow]:
    return Case(sid, lambda at: at.change(name), before=lambda at: at.no_target(name))


def _new(sid: str) -> Case[Narrow]:
    return Case(sid, Narrow.make_another, before=Narrow.delete_another)


CASES: tuple[Case[Narrow], ...] = (
    Case("ReadDeployments", lambda at: at.look(MACHINES)),
    Case("ListDeployments", lambda at: at.look(MACHINES)),
    Case("FindTargets", lambda at: at.look(MACHINES)),
    Case("FindAlarms", lambda at: at.plan_to_delete(MACHINES)),
    Case("FindLogGroups", lambda at: at.plan_to_delete(MACHINES)),
    Case("DeleteLogGroups", Narrow.delete_another, before=Narrow.make_another),
    Case("ReadLogs", lambda at: at.read_log(COPIES)),
    _new("MakeModelsAndConfigs"),
    _new("TagNewModelsAndConfigs"),
    _new("PassExecutionRole"),
    _new("MakeEndpoints"),
    _new("TagNewEndpoints"),
    _new("MakeComponents"),
    _new("TagNewComponents"),
    Case("DeleteModelsAndConfigs", Narrow.delete_another, before=Narrow.make_another),
    Case("ChangeEndpoints", Narrow.delete_another, "sagemaker:DeleteEndpoint", Narrow.make_another),
    Case("ChangeEndpoints", lambda at: at.change(MACHINES, tags__a="b"), "sagemaker:AddTags"),
    Case("UpdateEndpoints", lambda at: at.change(MACHINES, limits__max_input_tokens="1024")),
    Case("ChangeComponents", lambda at: at.change(COPIES, limits__max_input_tokens="1024")),
    Case("ChangeComponents", lambda at: at.change(COPIES, tags__a="b"), "sagemaker:AddTags"),
    _scaled_anew("RegisterTargets", COPIES),
    _scaled_anew("TagTargets", COPIES),
    _scaled_anew("ScaleCopies", COPIES),
    _scaled_anew("ScaleInstances", MACHINES),
    # First whole again: what changes a target that is not there makes one, which another statement grants.
    Case("ChangeTargets", lambda at: at.change(COPIES, autoscaling__target="7"), before=lambda at: at.change(COPIES)),
    Case(
        "ChangeTargets",
        lambda at: at.change(COPIES, autoscaling__max_copies="3"),
        "application-autoscaling:RegisterScalableTarget",
        lambda at: at.change(COPIES),
    ),
    Case("CopyAlarms", lambda at: at.change(COPIES, autoscaling__target="7")),
    Case("InstanceAlarms", lambda at: at.change(MACHINES, autoscaling__target="7")),
    Case("MakeAlarms", lambda at: at.change(MACHINES, **ALARM), before=lambda at: at.change(MACHINES)),
    Case(
        "MakeAlarms", lambda at: at.change(MACHINES, **ALARM), "cloudwatch:TagResource", lambda at: at.change(MACHINES)
    ),
    Case("ChangeAlarms", lambda at: at.change(MACHINES, **OTHER_ALARM), before=lambda at: at.change(MACHINES, **ALARM)),
    Case(
        "ChangeAlarms",
        lambda at: at.change(MACHINES, **ALARM, tags__c="d"),
        "cloudwatch:TagResource",
        lambda at: at.change(MACHINES, **ALARM),
    ),
    Case(
        "ChangeAlarms",
        lambda at: at.change(MACHINES),
        "cloudwatch:DeleteAlarms",
        lambda at: at.change(MACHINES, **ALARM),
    ),
    Case("ReadAlarmTags", lambda at: at.look(MACHINES), before=lambda at: at.change(MACHINES, **ALARM)),
    Case("ReadTargetTags", lambda at: at.look(MACHINES)),
    Case("FindPolicies", lambda at: at.look(MACHINES)),
    Case("Invoke", lambda at: at.ask(MACHINES)),
    Case("InvokeQueues", lambda at: at.put_into_a_queue(MACHINES)),
    Case("InvokeWithTokens", lambda at: at.ask_with_a_token(MACHINES)),
)


@pytest.fixture(scope="module")
def record(narrow: Terminal, account: Account) -> list[Document]:
    """What the cloud recorded of the role while commands ran the whole life of both types."""
    account.forget()
    for endpoint_type in TYPES:
        name = f"{PREFIX}-{endpoint_type}"
        made = ("deploy-endpoint", str(TWIN), "--endpoint-type", endpoint_type, "--set", f"name={name}", "--yes")
        narrow.run(*made, "--set", "update.alarms.errors_above=5")
        narrow.run("status", name)
        narrow.run("invoke", name, "The capital of France is", "--max-new-tokens", "2")
        narrow.run("invoke", name, "The capital of France is", "--max-new-tokens", "2", "--stream")
        by_token = narrow.run("token", name, "--json").json
        LLMInferenceHttpEndpoint(by_token["base_url"], api_key=by_token["api_key"]).chat("Hi", max_new_tokens=2)
        narrow.run("logs", name)
        changes = (
            "limits.max_input_tokens=1024",
            "autoscaling.target=7",
            "autoscaling.max_copies=3",
            "update.alarms.errors_above=6",
            "tags.team=x",
        )
        narrow.run(*made, *(word for change in changes for word in ("--set", change)))
        narrow.run("list", "--all")
        narrow.run("history", name)
        narrow.run("rollback", name, "--yes")
        narrow.run("gc")
        if endpoint_type == "model":
            with queue_over(name, account) as queue:
                Narrow(account, acting_as(WISH.deploy_role_arn, narrow)).put_into_a_queue(queue)
        narrow.run("delete-endpoint", name, "--logs", "--yes")
    return account.record(DEPLOYER)


@pytest.fixture(scope="module")
def at_work(narrow: Terminal, account: Account) -> Iterator[Narrow]:
    """Two deployments of the role's, one of each type, both scaling."""
    found = Narrow(account, acting_as(WISH.deploy_role_arn, narrow))
    for spec in SPECS.values():
        deploy(spec, found.connection)
    yield found
    for name in (*SPECS, ANOTHER):
        delete(name, found.connection)


@pytest.mark.row("T1")
def test_the_whole_life_works_as_the_role(record: list[Document]) -> None:
    """Nothing with the prefix is refused, from the first plan to the last search."""
    refused = [entry for entry in record if not entry["allowed"] and f"/{PREFIX}" in entry["resource"]]
    assert refused == []
    assert record


@pytest.mark.row("T1")
def test_no_action_is_granted_that_no_command_uses(record: list[Document]) -> None:
    """Each action of each statement was allowed on a resource that the statement covers."""
    assert unused(record, TEMPLATES) == []


@pytest.mark.row("T1")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_without_a_statement_what_it_is_for_is_refused(at_work: Narrow, case: Case[Narrow]) -> None:
    """A real call of the product is denied, and the denied action is one that was taken away."""
    check(case, at_work)


def test_every_statement_has_its_case() -> None:
    """A statement that is added without a proof fails here."""
    assert {case.sid for case in CASES} == sids(TEMPLATES)


@pytest.mark.row("T1")
def test_what_others_own_is_out_of_reach(at_work: Narrow, account: Account) -> None:
    """An object with the prefix and without our tag can be read, but neither claimed, nor changed, nor deleted."""
    admin, name = account.client("sagemaker"), f"{PREFIX}-foreign"
    made = admin.create_model(ModelName=name, ExecutionRoleArn=WISH.execution_role_arn, PrimaryContainer=_CONTAINER)
    sagemaker = at_work.connection.session.client("sagemaker")
    ours = [{"Key": "llmdeploy:deployment", "Value": PREFIX}]
    attempts: Mapping[str, Callable[[], object]] = {
        "sagemaker:AddTags": lambda: sagemaker.add_tags(ResourceArn=made["ModelArn"], Tags=ours),
        "sagemaker:DeleteModel": lambda: sagemaker.delete_model(ModelName=name),
        "sagemaker:CreateModel": lambda: sagemaker.create_model(
            ModelName=f"{name}-2", ExecutionRoleArn=WISH.execution_role_arn, PrimaryContainer=_CONTAINER
        ),
        "iam:PassRole": lambda: sagemaker.create_model(
            ModelName=f"{name}-2",
            ExecutionRoleArn="arn:aws:iam::000000000000:role/llmdeploy-local-execution",
            PrimaryContainer=_CONTAINER,
            Tags=ours,
        ),
    }
    try:
        for action, attempt in attempts.items():
            with pytest.raises(sagemaker.exceptions.ClientError, match=f"not authorized to perform: {action} "):
                attempt()
    finally:
        admin.delete_model(ModelName=name)


@pytest.mark.row("T1")
def test_the_machines_and_copies_of_others_are_not_scaled(at_work: Narrow, account: Account) -> None:
    """What has the prefix and no tag of ours keeps its numbers, whether by a call or by a scaling of one's own."""
    admin = account.client("sagemaker")
    arns = {
        MACHINES: admin.describe_endpoint(EndpointName=MACHINES)["EndpointArn"],
        COPIES: admin.describe_inference_component(InferenceComponentName=COPIES)["InferenceComponentArn"],
    }
    for name, arn in arns.items():
        at_work.no_target(name)
        admin.delete_tags(ResourceArn=arn, TagKeys=[TAG_DEPLOYMENT])
    try:
        for action, attempt in _scalings(at_work):
            with pytest.raises(ClientError, match=action):
                attempt()
    finally:
        for name, arn in arns.items():
            admin.add_tags(ResourceArn=arn, Tags=[{"Key": TAG_DEPLOYMENT, "Value": name}])


def _scalings(at_work: Narrow) -> Iterator[tuple[str, Callable[[], object]]]:
    """To no machine and to no copy, by a call and by scalable targets; with the action that each of them needs."""
    session = at_work.connection.session
    sagemaker, scaling = session.client("sagemaker"), session.client("application-autoscaling")
    no_machine = [{"VariantName": "AllTraffic", "DesiredInstanceCount": 0}]
    none: Document = {
        "ServiceNamespace": "sagemaker",
        "MinCapacity": 0,
        "MaxCapacity": 0,
        "Tags": {TAG_DEPLOYMENT: PREFIX},
    }
    machines, copies = "UpdateEndpointWeightsAndCapacities", "UpdateInferenceComponentRuntimeConfig"
    yield (
        machines,
        lambda: sagemaker.update_endpoint_weights_and_capacities(
            EndpointName=MACHINES, DesiredWeightsAndCapacities=no_machine
        ),
    )
    yield (
        copies,
        lambda: sagemaker.update_inference_component_runtime_config(
            InferenceComponentName=COPIES, DesiredRuntimeConfig={"CopyCount": 0}
        ),
    )
    dimensions = {
        f"endpoint/{MACHINES}/variant/AllTraffic": (machines, "sagemaker:variant:DesiredInstanceCount"),
        f"inference-component/{COPIES}": (copies, "sagemaker:inference-component:DesiredCopyCount"),
    }
    for target, (action, dimension) in dimensions.items():
        wanted = {"ResourceId": target, "ScalableDimension": dimension, **none}
        yield action, partial(scaling.register_scalable_target, **wanted)


_CONTAINER = {
    "Image": "763104351884.dkr.ecr.eu-central-1.amazonaws.com/huggingface-pytorch-tgi-inference:2.7.0-tgi3.3.6"
}
