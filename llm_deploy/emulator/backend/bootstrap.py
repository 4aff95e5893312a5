"""The account as an administrator would have prepared it: one role that SageMaker's containers run under.

Ledger: `backend.execution-role`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from llm_deploy.emulator.backend.durable import App, Message
from llm_deploy.emulator.backend.services import EXECUTION_ROLE_NAME

_TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"},
    ],
}
LOCAL_AUTHORIZATION = (
    b"AWS4-HMAC-SHA256 Credential=LOCALCLOUD/20260101/%s/%s/aws4_request, SignedHeaders=host, Signature=0"
)
"""The cloud's own calls: the backend reads region and service from it and, without enforcement, nothing else."""

_CREATED, _EXISTS = 200, 409


_MAY: list[dict[str, Any]] = [
    {"Action": ["s3:GetObject", "s3:ListBucket"], "Resource": "*"},
    # Of asynchronous endpoints: answers and failures, and the topics that hear of them.
    {"Action": ["s3:PutObject", "s3:AbortMultipartUpload", "sns:Publish"], "Resource": "*"},
    {
        "Action": [
            "ecr:GetAuthorizationToken",
            "ecr:BatchCheckLayerAvailability",
            "ecr:GetDownloadUrlForLayer",
            "ecr:BatchGetImage",
        ],
        "Resource": "*",
    },
    {
        "Action": ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
        "Resource": "arn:aws:logs:*:*:log-group:/aws/sagemaker/*",
    },
    {"Action": "cloudwatch:PutMetricData", "Resource": "*"},
]
_POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **each} for each in _MAY]}
_POLICY_NAME = "hosting"


async def prepare_account(app: App) -> None:
    """Make the execution role unless it exists, with what hosting needs.

    Raises:
        RuntimeError: The backend refused; it would be of no use to anybody.
    """
    status, answer = await _iam(
        app,
        {
            "Action": "CreateRole",
            "RoleName": EXECUTION_ROLE_NAME,
            "AssumeRolePolicyDocument": json.dumps(_TRUST),
            "Description": "What the containers of the local cloud run under; made when the cloud starts.",
        },
    )
    if status not in {_CREATED, _EXISTS}:
        raise RuntimeError(f"the backend refused to make {EXECUTION_ROLE_NAME}: {status} {answer[:500]!r}")
    status, answer = await _iam(
        app,
        {
            "Action": "PutRolePolicy",
            "RoleName": EXECUTION_ROLE_NAME,
            "PolicyName": _POLICY_NAME,
            "PolicyDocument": json.dumps(_POLICY),
        },
    )
    if status != _CREATED:
        raise RuntimeError(f"the backend refused to permit {EXECUTION_ROLE_NAME}: {status} {answer[:500]!r}")


async def _iam(app: App, form: Mapping[str, str]) -> tuple[int, bytes]:
    """One IAM call without a network: the application is called as a server would call it."""
    body = urlencode({"Version": "2010-05-08", **form}).encode()
    requests: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
    status, answer = 0, b""

    async def receive() -> Message:
        return requests.pop() if requests else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        nonlocal status, answer
        status = message.get("status", status)
        answer += message.get("body", b"")

    await app(_scope(len(body)), receive, send)
    return status, answer


def _scope(content_length: int) -> dict[str, object]:
    headers = [
        (b"host", b"127.0.0.1"),
        (b"authorization", LOCAL_AUTHORIZATION % (b"us-east-1", b"iam")),
        (b"content-type", b"application/x-www-form-urlencoded"),
        (b"content-length", str(content_length).encode()),
    ]
    return {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": "/", "raw_path": b"/", "query_string": b"", "headers": headers, "client": ("127.0.0.1", 0),
    }  # fmt: skip
