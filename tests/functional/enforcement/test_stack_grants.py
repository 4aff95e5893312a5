"""What the deploy role needs besides to go through CloudFormation: all of it is used, and nothing can be taken away."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from llm_deploy.render.cloudformation import stack_name
from llm_deploy.spec import DeploymentSpec
from llm_deploy.targets.sagemaker import iam
from llm_deploy.targets.stack.stacks import Stacks
from llm_deploy.targets.stacked import StackDeployer
from tests.conftest import Terminal
from tests.functional.enforcement.conftest import (
    DEPLOYER,
    PREFIX,
    TWIN,
    Account,
    acting_as,
    delete,
    deploy,
    spec_of,
)
from tests.functional.enforcement.grants import WISH, Case, Document, Role, check, sids, unused

pytestmark = pytest.mark.xdist_group("local-cloud")

STANDING, ANOTHER, MACHINES = f"{PREFIX}-stacked", f"{PREFIX}-second", f"{PREFIX}-machines"
TEMPLATES = (iam.STACK_POLICY,)
DEPLOY = ("deploy-endpoint", str(TWIN), "--yes")
VIA = ("--via", "cloudformation")


class Stacked(Role):
    """The deploy role, going through stacks."""

    @property
    def deployer(self) -> StackDeployer:
        """What plans and deploys."""
        return StackDeployer(self.connection)

    def plan(self, spec: DeploymentSpec) -> None:
        """As `deploy-endpoint --via cloudformation --dry-run`."""
        self.deployer.discard(self.deployer.plan(spec))

    def change(self, spec: DeploymentSpec, *, import_existing: bool = False) -> None:
        """As `deploy-endpoint --via cloudformation`."""
        for _ in self.deployer.apply(self.deployer.plan(spec, import_existing=import_existing)):
            pass

    def delete_another(self) -> None:
        """As `delete-endpoint`."""
        delete(ANOTHER, self.connection)

    def make_another_without_a_stack(self) -> None:
        """A deployment that a stack can take in."""
        self.delete_another()
        deploy(another(), self.connection)

    def ask_why_it_was_refused(self) -> None:
        """As after a change set that early validation refuses, which the local cloud has none of."""
        Stacks(self.connection.session).problems(stack_name(STANDING), "llmdeploy")


def standing(**overrides: str) -> DeploymentSpec:
    """A deployment that there is, with an alarm and scaling, or with other values."""
    return spec_of(
        STANDING, "inference-component", update__alarms__errors_above="5", **{"tags": "{team: x}", **overrides}
    )


def another() -> DeploymentSpec:
    """One that there is not."""
    return spec_of(ANOTHER, "inference-component")


def _change(sid: str, action: str, **overrides: str) -> Case[Stacked]:
    return Case(sid, lambda at: at.change(standing(**overrides)), action, lambda at: at.change(standing()))


def _look(sid: str, action: str, spec: Callable[[], DeploymentSpec] = standing) -> Case[Stacked]:
    return Case(sid, lambda at: at.plan(spec()), action)


CASES: tuple[Case[Stacked], ...] = (
    _look("ReadStacks", "cloudformation:DescribeStacks"),
    _look("ReadStacks", "cloudformation:ListStackResources"),
    _change("ReadStacks", "cloudformation:DescribeStackEvents", autoscaling__target="9"),
    Case("ReadStacks", Stacked.ask_why_it_was_refused, "cloudformation:DescribeEvents"),
    _look("ChangeStacks", "cloudformation:CreateChangeSet"),
    _look("ChangeStacks", "cloudformation:DescribeChangeSet"),
    _look("ChangeStacks", "cloudformation:DeleteChangeSet"),
    _look("ChangeStacks", "cloudformation:TagResource"),
    _look("ChangeStacks", "cloudformation:ListChangeSets", another),
    _change("ChangeStacks", "cloudformation:ExecuteChangeSet", autoscaling__target="9"),
    _look("DeleteStacks", "cloudformation:DeleteStack", another),
    _change("TagOwnModelsAndConfigs", "sagemaker:AddTags", tags="{team: x, a: b}"),
    _change("RemoveTags", "sagemaker:DeleteTags", tags="{}"),
    _change("UntagAlarms", "cloudwatch:UntagResource", tags="{}"),
    Case("FindSchedules", lambda at: at.change(another()), before=Stacked.delete_another),
    Case(
        "TagOwnTargets",
        lambda at: at.change(another(), import_existing=True),
        before=Stacked.make_another_without_a_stack,
    ),
)


@pytest.fixture(scope="module")
def at_work(narrow: Terminal, account: Account) -> Iterator[Stacked]:
    """A stack of the role's, and a record that begins with it."""
    account.forget()
    found = Stacked(account, acting_as(WISH.deploy_role_arn, narrow))
    found.change(standing())
    yield found
    for name in (STANDING, ANOTHER):
        delete(name, found.connection)


@pytest.fixture(scope="module")
def record(narrow: Terminal, account: Account, at_work: Stacked) -> list[Document]:
    """What the cloud recorded of the role in the life of both types, and of an import."""
    assert at_work.deployer.plan(standing()).empty
    at_work.change(standing(limits__max_input_tokens="1024", autoscaling__max_copies="3", tags="{a: b}"))
    model = (*DEPLOY, *VIA, "--endpoint-type", "model", "--set", f"name={MACHINES}", "--set", "tags.team=x")
    narrow.run(*model, "--dry-run")
    narrow.run(*model, "--set", "update.alarms.errors_above=5")
    changes = ("limits.max_input_tokens=1024", "autoscaling.target=7", "update.alarms.errors_above=6", "tags.a=b")
    narrow.run(*model, *(word for change in changes for word in ("--set", change)))
    narrow.run("delete-endpoint", MACHINES, "--yes")
    deploy(another(), at_work.connection)
    at_work.change(another(), import_existing=True)
    delete(ANOTHER, at_work.connection)
    at_work.ask_why_it_was_refused()
    return account.record(DEPLOYER)


@pytest.mark.row("T1")
def test_the_whole_life_works_through_stacks(record: list[Document]) -> None:
    """Deploying, looking, changing, taking in and deleting: nothing is refused, also of what CloudFormation does."""
    assert [entry for entry in record if not entry["allowed"]] == []
    assert record


@pytest.mark.row("T1")
def test_no_action_is_granted_that_no_stack_needs(record: list[Document]) -> None:
    """Each action of each statement was allowed on a resource that the statement covers."""
    assert unused(record, TEMPLATES) == []


@pytest.mark.row("T1")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_without_a_grant_what_it_is_for_is_refused(at_work: Stacked, case: Case[Stacked]) -> None:
    """By CloudFormation, or in a stack that then goes back; the denied action is the one that was taken away."""
    check(case, at_work)


def test_every_statement_has_its_case() -> None:
    """A statement that is added without a proof fails here."""
    assert {case.sid for case in CASES} == sids(TEMPLATES)


@pytest.mark.row("T1")
def test_without_stacks_nobody_misses_the_policy(narrow: Terminal, at_work: Stacked) -> None:
    """What is deployed without CloudFormation lives and goes; what a stack holds is seen, and its deletion refused."""
    plain = f"{PREFIX}-plain"
    looks = (("status", plain), ("status", STANDING), ("list", "--all"), ("gc", "--dry-run"))
    with at_work.instead(iam.STACK_POLICY, []):
        narrow.run(*DEPLOY, "--set", f"name={plain}")
        for command in (*looks, ("delete-endpoint", plain, "--yes")):
            assert "not authorized" not in narrow.run(*command).err
        refused = narrow.run("delete-endpoint", STANDING, "--yes", code=5)
    assert "cloudformation:DescribeStacks" in refused.err
