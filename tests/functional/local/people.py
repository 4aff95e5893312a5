"""Users, roles and refusals for tests of signatures and permissions."""

from __future__ import annotations

import http.client
import json
import time
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from tests.functional.local.conftest import Running

Credentials = dict[str, str]
ACCOUNT, REGION = "000000000000", "eu-central-1"
IMAGE = f"763104351884.dkr.ecr.{REGION}.amazonaws.com/huggingface-pytorch-tgi-inference:2.7.0-tgi3.3.6"
VISIBLE_S = 0.1
"""Real seconds after which the services of a cloud at speed 1000 know what IAM was told. Ledger: access.consistency."""


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(*actions: str, resource: str | list[str] = "*", **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return {"Effect": "Allow", "Action": list(actions), "Resource": resource, **more}


def new_user(running: Running, *statements: dict[str, Any], boundary: dict[str, Any] | None = None) -> Credentials:
    """A user with a policy and an access key, which every service knows when this returns."""
    iam, name = running.client("iam"), f"user-{uuid.uuid4().hex[:8]}"
    iam.create_user(UserName=name)
    if boundary:
        made = iam.create_policy(PolicyName=f"{name}-boundary", PolicyDocument=document(boundary))
        iam.put_user_permissions_boundary(UserName=name, PermissionsBoundary=made["Policy"]["Arn"])
    if statements:
        iam.put_user_policy(UserName=name, PolicyName="may", PolicyDocument=document(*statements))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    time.sleep(VISIBLE_S)
    return {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}


def new_role(running: Running, *statements: dict[str, Any], trust: dict[str, Any]) -> str:
    """A role with a policy; its ARN."""
    iam, name = running.client("iam"), f"role-{uuid.uuid4().hex[:8]}"
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trust))
    if statements:
        iam.put_role_policy(RoleName=name, PolicyName="may", PolicyDocument=document(*statements))
    return str(made["Role"]["Arn"])


def trusting(principal: dict[str, str], **condition: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", "Condition": condition}


def refused(call: Any, **params: Any) -> tuple[int, str, str]:  # noqa: ANN401 - a method of boto3
    """Status, code and message of a call that must be refused."""
    with pytest.raises(ClientError) as caught:
        call(**params)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


def refused_code(call: Any) -> str | None:  # noqa: ANN401 - a method of boto3
    """The code with which a call is refused; `None` when it is not."""
    try:
        call()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return None


def authorizations(running: Running, method: str = "GET") -> list[dict[str, Any]]:
    """The cloud's record of decisions."""
    status = running.cloud.status()
    assert status is not None
    connection = http.client.HTTPConnection("127.0.0.1", status.port, timeout=10)
    connection.request(method, "/_local/authorizations")
    found: list[dict[str, Any]] = json.loads(connection.getresponse().read()).get("authorizations", [])
    connection.close()
    return found


def fetch(url: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    """Status and body of an unsigned request."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    connection.request(method, target, headers=dict(headers or {}))
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found
