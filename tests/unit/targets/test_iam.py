"""The identities' policies: narrow, scoped, small enough, and free of what no command needs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from llm_deploy.render.cloudformation import stack_name
from llm_deploy.resource import ACCESS_KEY, MANAGED_POLICY, ROLE, SERVICE_LINKED_ROLE, USER, Resource
from llm_deploy.spec import Place
from llm_deploy.targets.sagemaker import iam
from llm_deploy.targets.sagemaker.iam import RolesWish
from llm_deploy.targets.sagemaker.statements import (
    INLINE_POLICY_CHARACTERS,
    MANAGED_POLICY_CHARACTERS,
    characters,
    needs,
    purpose,
    statements,
)

PLACE = Place(partition="aws", region="eu-central-1", account="123456789012")
WISH = RolesWish(PLACE, "twin")
WITH_BUCKET = RolesWish(PLACE, "twin", model_bucket="models", model_prefix="llm")
LONGEST = RolesWish(
    Place(partition="aws-us-gov", region="ap-southeast-7", account="123456789012"),
    "X" * 30,
    model_bucket="b" * 63,
    model_prefix="p" * 60,
    kms_key="arn:aws:kms:ap-southeast-7:123456789012:key/12345678-1234-1234-1234-123456789012",
)
TAGGED = "aws:ResourceTag/llmdeploy:deployment"
TAGGING = "aws:RequestTag/llmdeploy:deployment"
CHANGES = ("Create", "Update", "Delete", "Put", "Register", "Deregister")
BY_NAME = frozenset(
    {
        "cloudwatch:PutMetricAlarm",
        "cloudwatch:DeleteAlarms",
        "logs:DeleteLogGroup",
        "cloudformation:CreateChangeSet",
        "cloudformation:DeleteChangeSet",
        "cloudformation:DeleteStack",
    }
)
"""Changes of what carries no tag of ours: AWS makes these alarms and log groups, and names them after ours. A stack has
none while it is an import, and can do no more than its caller."""


def pairs(found: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Every action with every resource that it is allowed on."""
    for statement in found:
        listed = statement["Resource"]
        for resource in [listed] if isinstance(listed, str) else listed:
            for action in statement["Action"]:
                yield action, resource


def deploying(wish: RolesWish = WISH) -> list[dict[str, Any]]:
    """Everything that the deploy role may do."""
    return [statement for name in iam.DEPLOY_POLICIES for statement in statements(name, iam.scope(wish))]


def executing(wish: RolesWish = WISH) -> list[dict[str, Any]]:
    """Everything that containers may do."""
    return iam.execution_statements(iam.scope(wish))


def named(wish: RolesWish, logical_id: str) -> Resource:
    """One of a wish's resources."""
    return next(resource for resource in iam.resources(wish) if resource.id == logical_id)


@pytest.mark.row("T1")
def test_the_deploy_role_writes_no_iam_but_passes_one_role_to_one_service() -> None:
    """PassRole for the execution role to SageMaker, and nothing else of IAM."""
    allowed = [(action, resource) for action, resource in pairs(deploying()) if action.startswith("iam:")]
    assert allowed == [("iam:PassRole", "arn:aws:iam::123456789012:role/llmdeploy-twin-execution")]
    passing = next(item for item in deploying() if item["Sid"] == "PassExecutionRole")
    assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    assert not named(WISH, "DeployRole").properties.get("Policies")


@pytest.mark.row("T1")
def test_what_is_named_is_scoped_to_the_prefix_and_the_region() -> None:
    """Only what AWS lists as a whole, scalable targets, which have no names, and tokens are on everything of a kind."""
    listed = ("sagemaker:List", "cloudwatch:Describe", "logs:Describe")
    nameless = (*listed, "application-autoscaling:", "sagemaker:CallWithBearerToken")
    for action, resource in pairs(deploying()):
        assert resource == "*" or ":eu-central-1:123456789012:" in resource or action == "iam:PassRole"
        if not action.startswith(nameless) and action != "iam:PassRole":
            assert "twin*" in resource, action
    assert not any("*" in action for action, _ in pairs(deploying()))


@pytest.mark.row("T1")
def test_every_change_is_held_to_the_ownership_tag() -> None:
    """What is made must carry it, what is changed or deleted must have it; what has no tag goes by name."""
    for statement in deploying():
        condition = statement.get("Condition", {})
        tags = {key: value for key, value in condition.get("StringLike", {}).items() if "Tag/" in key}
        for action in statement["Action"]:
            verb = action.partition(":")[2]
            if verb.startswith(CHANGES) and action not in BY_NAME:
                expected = TAGGING if verb.startswith("Create") or statement["Sid"] == "RegisterTargets" else TAGGED
                assert tags == {expected: "twin*"}, (statement["Sid"], action)
            if action == "sagemaker:AddTags":
                assert tags or "sagemaker:TaggingAction" in condition["StringEquals"], statement["Sid"]


@pytest.mark.row("T1")
def test_stacks_are_those_of_deployments_with_the_prefix() -> None:
    """Under the name that a deployment's stack has, and no action on any other."""
    found = {on for action, on in pairs(deploying()) if action.startswith("cloudformation:")}
    assert found == {f"arn:aws:cloudformation:eu-central-1:123456789012:stack/{stack_name('twin*')}/*"}


@pytest.mark.row("T1")
def test_who_may_only_invoke_may_do_nothing_else() -> None:
    """Calls of endpoints and components with the prefix, by each of SageMaker's doors."""
    found = set(pairs(statements(iam.INVOKE_POLICY, iam.scope(WISH))))
    arn = "arn:aws:sagemaker:eu-central-1:123456789012:"
    assert found == {
        (f"sagemaker:{action}", f"{arn}{kind}/twin*")
        for action in ("InvokeEndpoint", "InvokeEndpointWithResponseStream")
        for kind in ("endpoint", "inference-component")
    } | {
        ("sagemaker:InvokeEndpointAsync", f"{arn}endpoint/twin*"),
        ("sagemaker:CallWithBearerToken", "*"),
    }


@pytest.mark.row("T1")
def test_only_sagemaker_acting_for_this_account_assumes_the_execution_role() -> None:
    """The trust names service, account and region."""
    (statement,) = iam.execution_trust(WISH)["Statement"]
    assert statement["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": "123456789012"}
    assert statement["Condition"]["ArnLike"] == {"aws:SourceArn": "arn:aws:sagemaker:eu-central-1:123456789012:*"}


def test_the_account_decides_who_deploys_unless_somebody_is_named() -> None:
    """The account itself, or exactly those named: naming one shuts out the rest."""
    (anyone,) = iam.deploy_trust(WISH)["Statement"]
    assert anyone["Principal"] == {"AWS": ["arn:aws:iam::123456789012:root"]}
    people = ("arn:aws:iam::123456789012:role/ops", "arn:aws:iam::123456789012:user/ann")
    (some,) = iam.deploy_trust(RolesWish(PLACE, "twin", trusted_principals=people))["Statement"]
    assert some == {"Effect": "Allow", "Principal": {"AWS": list(people)}, "Action": "sts:AssumeRole"}


def test_a_pipeline_is_trusted_by_its_whole_subject() -> None:
    """Audience and subjects are compared whole; without named principals nobody else gets in."""
    provider = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"
    subjects = ("repo:org/shop:environment:prod", "repo:org/shop:environment:stage")
    (statement,) = iam.deploy_trust(RolesWish(PLACE, "t", oidc_provider=provider, oidc_subjects=subjects))["Statement"]
    assert statement["Principal"] == {"Federated": provider}
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert statement["Condition"] == {
        "StringEquals": {
            "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
            "token.actions.githubusercontent.com:sub": list(subjects),
        }
    }
    both = RolesWish(PLACE, "t", oidc_provider=provider, oidc_subjects=subjects, trusted_principals=("arn:x",))
    assert [item["Action"] for item in iam.deploy_trust(both)["Statement"]] == [
        "sts:AssumeRole",
        "sts:AssumeRoleWithWebIdentity",
    ]


@pytest.mark.parametrize("wish", [WISH, WITH_BUCKET, LONGEST], ids=["usual", "bucket", "longest"])
def test_no_document_comes_near_awss_limits(wish: RolesWish) -> None:
    """A feature more must fit: no policy fills more than 60 % of its limit, nor a role its ten policies."""
    for resource in iam.resources(wish):
        if resource.kind == MANAGED_POLICY:
            assert characters(resource.properties["PolicyDocument"]) <= 0.6 * MANAGED_POLICY_CHARACTERS, resource.name
            assert len(resource.name) <= 128
            assert len(resource.properties["Description"]) <= 1000
        assert len(resource.properties.get("ManagedPolicyArns", ())) <= 10
        assert len(resource.name) <= 64 or resource.kind == MANAGED_POLICY
        for inline in resource.properties.get("Policies", ()):
            assert characters(inline["PolicyDocument"]) <= 0.6 * INLINE_POLICY_CHARACTERS


def test_statements_for_features_that_are_not_used_are_left_out() -> None:
    """No bucket, no S3 permission; no VPC, no EC2; no key, no KMS."""
    assert {action.split(":")[0] for action, _ in pairs(executing())} == {"ecr", "logs", "cloudwatch"}
    with_all = RolesWish(PLACE, "twin", model_bucket="b", kms_key="k", subnet_ids=("s",), security_group_ids=("g",))
    more = {action.split(":")[0] for action, _ in pairs(executing(with_all))}
    assert more == {"ecr", "logs", "cloudwatch", "s3", "ec2", "kms"}


def test_a_vpc_is_named_whole_and_nothing_beyond_it() -> None:
    """Interfaces are made in every subnet and group of the deployment, and in no other."""
    wish = RolesWish(PLACE, "twin", subnet_ids=("subnet-1", "subnet-2"), security_group_ids=("sg-1", "sg-2"))
    made_in = [on for action, on in pairs(executing(wish)) if action == "ec2:CreateNetworkInterface"]
    place = "arn:aws:ec2:eu-central-1:123456789012:"
    assert made_in == [
        f"{place}{what}"
        for what in (
            "network-interface/*",
            "subnet/subnet-1",
            "subnet/subnet-2",
            "security-group/sg-1",
            "security-group/sg-2",
        )
    ]


@pytest.mark.parametrize(
    ("key", "arn"),
    [
        ("1234-ab", "arn:aws:kms:eu-central-1:123456789012:key/1234-ab"),
        ("arn:aws:kms:eu-central-1:999999999999:key/1", "arn:aws:kms:eu-central-1:999999999999:key/1"),
    ],
)
def test_a_key_is_named_by_its_arn(key: str, arn: str) -> None:
    """An id is a key of this account and region; an ARN may be of another account."""
    found = {on for action, on in pairs(executing(RolesWish(PLACE, "twin", kms_key=key))) if action.startswith("kms:")}
    assert found == {arn}


def test_capitals_are_covered_as_aws_writes_arns_and_as_the_user_writes_names() -> None:
    """SageMaker's ARNs have names in lower case; tags and log groups keep the user's letters."""
    found = set(pairs(deploying(RolesWish(PLACE, "Twin"))))
    arn = "arn:aws:sagemaker:eu-central-1:123456789012:endpoint/"
    assert {on for action, on in found if action == "sagemaker:DeleteEndpoint"} >= {f"{arn}twin*", f"{arn}Twin*"}
    logs = {on.rpartition("/")[2] for action, on in found if action == "logs:FilterLogEvents"}
    assert logs == {"Twin*:*"}


def test_no_placeholder_is_left_and_no_value_changes_a_documents_structure() -> None:
    """Placeholders are filled inside parsed strings, so a strange value stays a string."""
    wish = RolesWish(PLACE, "twin", model_bucket='b","Action":"*', model_prefix="p")
    for found in (deploying(wish), executing(wish)):
        assert "${" not in json.dumps(found)
        assert all(set(statement) <= {"Sid", "Effect", "Action", "Resource", "Condition"} for statement in found)
        assert not any(action == "*" for action, _ in pairs(found))


def test_the_execution_role_pulls_from_the_engines_repositories_and_ones_own() -> None:
    """ECR statements name this region's registry and the repositories of the catalogue, and an image that was named."""
    own = "arn:aws:ecr:eu-central-1:123456789012:repository/mine"
    wish = RolesWish(PLACE, "twin", repositories=(own,))
    pulls = {resource for action, resource in pairs(executing(wish)) if action == "ecr:BatchGetImage"}
    assert "arn:aws:ecr:eu-central-1:763104351884:repository/huggingface-pytorch-tgi-inference" in pulls
    assert own in pulls
    assert not any("*" in resource for resource in pulls)


@pytest.mark.parametrize(
    ("image", "repository"),
    [
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/mine:1", "eu-west-1:123456789012:repository/team/mine"),
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com/mine@sha256:ab", "eu-west-1:123456789012:repository/mine"),
    ],
)
def test_an_images_repository_is_that_of_its_own_region_and_account(image: str, repository: str) -> None:
    """By tag or by digest."""
    assert iam.repository_arn(image, PLACE) == f"arn:aws:ecr:{repository}"


@pytest.mark.row("T1")
def test_a_user_is_made_only_when_asked_for() -> None:
    """Roles and policies by default; a user with the same policies and one key on request."""
    kinds = [resource.kind for resource in iam.resources(WISH)]
    assert kinds.count(ROLE) == 2
    assert not {USER, ACCESS_KEY, SERVICE_LINKED_ROLE} & set(kinds)
    with_user = RolesWish(PLACE, "twin", user=True)
    assert [resource.kind for resource in iam.resources(with_user)][-2:] == [USER, ACCESS_KEY]
    assert (
        named(with_user, "Deployer").properties["ManagedPolicyArns"]
        == (named(with_user, "DeployRole").properties["ManagedPolicyArns"])
    )


def test_a_boundary_bounds_every_identity_and_its_absence_is_noticed() -> None:
    """On both roles and the user; a wish without it carries another tag, so that it is taken away again."""
    arn = "arn:aws:iam::123456789012:policy/bound"
    bound = RolesWish(PLACE, "twin", permissions_boundary=arn, user=True)
    for logical_id in ("ExecutionRole", "DeployRole", "Deployer"):
        assert named(bound, logical_id).properties["PermissionsBoundary"] == arn
        free = named(RolesWish(PLACE, "twin", user=True), logical_id)
        assert "PermissionsBoundary" not in free.properties
        assert free.tags != named(bound, logical_id).tags


def test_a_plan_compares_the_arns_of_policies() -> None:
    """In IAM's order, which has none, so they are sorted; a template keeps references."""
    settled = iam.settled(iam.resources(WISH), WISH)
    (role,) = [resource for resource in settled if resource.id == "DeployRole"]
    arns = role.properties["ManagedPolicyArns"]
    assert arns == sorted(arns)
    assert set(arns) == {WISH.policy_arn(name) for name in iam.DEPLOY_POLICIES}


@pytest.mark.parametrize(
    "name",
    [*iam.DEPLOY_POLICIES, "execution-base", "execution-alarms", "execution-weights", "execution-kms", "execution-vpc"],
)
def test_every_statement_says_what_needs_it(name: str) -> None:
    """The words beside the templates cover them and nothing else; Sids are unique over all that may be joined."""
    wish = RolesWish(PLACE, "t", model_bucket="b", kms_key="k", subnet_ids=("s",), security_group_ids=("g",))
    assert {statement["Sid"] for statement in statements(name, iam.scope(wish))} == needs(name).keys()
    assert purpose(name)
    together = [statement["Sid"] for statement in deploying(wish)]
    assert len(together) == len(set(together))
