"""The identities' policies: narrow, scoped, small enough, and free of what no command needs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from llm_deploy.resource import ACCESS_KEY, MANAGED_POLICY, ROLE, USER
from llm_deploy.spec import Place
from llm_deploy.targets.sagemaker import iam

PLACE = Place(partition="aws", region="eu-central-1", account="123456789012")
WISH = iam.RolesWish(PLACE, "twin")
WITH_BUCKET = iam.RolesWish(PLACE, "twin", model_bucket="models", model_prefix="llm")


def pairs(statements: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Every action with every resource that it is allowed on."""
    for statement in statements:
        listed = statement["Resource"]
        for resource in [listed] if isinstance(listed, str) else listed:
            for action in statement["Action"]:
                yield action, resource


@pytest.mark.row("T1")
def test_the_deployer_writes_no_iam_but_passes_one_role_to_one_service() -> None:
    """The only IAM write is PassRole for the execution role to SageMaker, beside AWS's own service-linked role."""
    allowed = [
        (action, resource) for action, resource in pairs(iam.deployer_statements(WISH)) if action.startswith("iam:")
    ]
    assert allowed == [
        ("iam:PassRole", "arn:aws:iam::123456789012:role/llmdeploy-twin-execution"),
        (
            "iam:CreateServiceLinkedRole",
            (
                "arn:aws:iam::123456789012:role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/"
                "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
            ),
        ),
    ]
    passing = next(item for item in iam.deployer_statements(WISH) if item["Sid"] == "PassExecutionRole")
    assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}


@pytest.mark.row("T1")
def test_what_is_made_and_removed_is_scoped_to_the_prefix() -> None:
    """Every SageMaker action that names a resource names the prefix; only lists are on everything."""
    for action, resource in pairs(iam.deployer_statements(WISH)):
        if action.startswith("sagemaker:") and not action.startswith("sagemaker:List"):
            assert resource.endswith("/twin*"), action
    assert not any("*" in action for action, _ in pairs(iam.deployer_statements(WISH)))


@pytest.mark.row("T1")
def test_only_sagemaker_acting_for_this_account_assumes_the_execution_role() -> None:
    """The trust names service, account and region."""
    (statement,) = iam.trust(WISH)["Statement"]
    assert statement["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": "123456789012"}
    assert statement["Condition"]["ArnLike"] == {"aws:SourceArn": "arn:aws:sagemaker:eu-central-1:123456789012:*"}


def test_no_document_comes_near_awss_limit() -> None:
    """A managed policy holds 6,144 characters without white space, a role's inline policies 10,240."""
    for wish in (WISH, WITH_BUCKET, iam.RolesWish(PLACE, "x" * 30, model_bucket="b" * 63, model_prefix="p" * 60)):
        deployer = json.dumps(iam.deployer_statements(wish), separators=(",", ":"))
        assert len(deployer) < iam.MANAGED_POLICY_CHARACTERS
        assert len(json.dumps(iam.execution_statements(wish), separators=(",", ":"))) < 10_240


def test_statements_for_features_that_are_not_used_are_left_out() -> None:
    """No bucket, no S3 permission; no VPC, no EC2; no key, no KMS."""
    actions = {action.split(":")[0] for action, _ in pairs(iam.execution_statements(WISH))}
    assert actions == {"ecr", "logs", "cloudwatch"}
    with_all = iam.RolesWish(PLACE, "twin", model_bucket="b", kms_key="k", subnet_ids=("s",), security_group_ids=("g",))
    more = {action.split(":")[0] for action, _ in pairs(iam.execution_statements(with_all))}
    assert more == {"ecr", "logs", "cloudwatch", "s3", "ec2", "kms"}


def test_a_vpc_is_named_whole_and_nothing_beyond_it() -> None:
    """Interfaces are made in every subnet and group of the deployment, and in no other."""
    wish = iam.RolesWish(PLACE, "twin", subnet_ids=("subnet-1", "subnet-2"), security_group_ids=("sg-1", "sg-2"))
    made_in = [on for action, on in pairs(iam.execution_statements(wish)) if action == "ec2:CreateNetworkInterface"]
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
    found = {on for action, on in pairs(iam.execution_statements(iam.RolesWish(PLACE, "twin", kms_key=key)))
             if action.startswith("kms:")}  # fmt: skip
    assert found == {arn}


def test_the_plan_says_what_the_deployer_may_do_in_iam() -> None:
    """It writes two things of IAM, and whoever reads the plan is told of both."""
    policy = next(resource for resource in iam.resources(WISH) if resource.kind == MANAGED_POLICY)
    assert "pass that role" in policy.purpose
    assert "service-linked role" in policy.purpose
    assert "no IAM" not in policy.purpose


def test_no_placeholder_is_left_and_no_value_changes_a_documents_structure() -> None:
    """Placeholders are filled inside parsed strings, so a strange value stays a string."""
    wish = iam.RolesWish(PLACE, "twin", model_bucket='b","Action":"*', model_prefix="p")
    for statements in (iam.deployer_statements(wish), iam.execution_statements(wish)):
        assert "${" not in json.dumps(statements)
        assert all(set(statement) <= {"Sid", "Effect", "Action", "Resource", "Condition"} for statement in statements)
        assert not any(action == "*" for action, _ in pairs(statements))


def test_the_execution_role_pulls_from_the_engines_repositories_only() -> None:
    """ECR statements name this region's registry and the repositories of the catalogue."""
    pulls = {resource for action, resource in pairs(iam.execution_statements(WISH)) if action == "ecr:BatchGetImage"}
    assert "arn:aws:ecr:eu-central-1:763104351884:repository/huggingface-pytorch-tgi-inference" in pulls
    assert not any("*" in resource for resource in pulls)


@pytest.mark.row("T1")
def test_the_user_is_made_with_one_key_and_can_be_left_out() -> None:
    """Role, policy, user and key by default; without the user only role and policy."""
    assert [resource.kind for resource in iam.resources(WISH)] == [ROLE, MANAGED_POLICY, USER, ACCESS_KEY]
    without = iam.RolesWish(PLACE, "twin", user=False)
    assert [resource.kind for resource in iam.resources(without)] == [ROLE, MANAGED_POLICY]
