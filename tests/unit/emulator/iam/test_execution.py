"""What SageMaker may with an execution role."""

from __future__ import annotations

from typing import Any

import pytest

from llm_deploy.emulator import ledger
from tests.unit.emulator.iam.gatehouse import ACCOUNT, REGION, ROOT, Gatehouse, allow
from tests.unit.emulator.world import IMAGE

AT = f"{REGION}:{ACCOUNT}"
CONTAINER = {"Image": IMAGE}


@pytest.mark.parametrize(
    ("condition", "outcome"),
    [
        ({}, 200),
        ({"StringEquals": {"aws:SourceAccount": ACCOUNT}}, 200),
        ({"StringEquals": {"aws:SourceAccount": "111111111111"}}, 400),
        ({"ArnLike": {"aws:SourceArn": f"arn:aws:sagemaker:{AT}:*"}}, 200),
        ({"ArnLike": {"aws:SourceArn": f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:*"}}, 400),
        ({"StringEquals": {"sts:ExternalId": "x"}}, 400),
    ],
)
def test_the_trust_of_an_execution_role(gatehouse: Gatehouse, condition: Any, outcome: int) -> None:  # noqa: ANN401 - JSON
    """SageMaker says for which account and which resource it acts. Ledger: sm.model.role, access.execution-role."""
    trust = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = gatehouse.role("r", trust={**trust, "Condition": condition})
    found = gatehouse.call(
        ROOT, "sagemaker", "CreateModel", ModelName="m", ExecutionRoleArn=role, PrimaryContainer=CONTAINER
    )
    assert found.status == outcome
    if outcome != 200:
        assert found.document["message"] == ledger.text("sm.model.role", role=role)


@pytest.mark.parametrize(
    ("uri", "statements", "outcome"),
    [
        ("s3://b/models/m.tar.gz", [allow("s3:GetObject", resource="arn:aws:s3:::b/models/*")], 200),
        ("s3://b/models/m.tar.gz", [allow("s3:GetObject", resource="arn:aws:s3:::b/others/*")], 400),
        ("s3://b/models/m.tar.gz", [], 400),
        ("s3://b/models/", [allow("s3:GetObject", resource="arn:aws:s3:::b/models/*")], 400),
        (
            "s3://b/models/",
            [
                allow("s3:GetObject", resource="arn:aws:s3:::b/models/*"),
                allow(
                    "s3:ListBucket",
                    resource="arn:aws:s3:::b",
                    when={"StringLike": {"s3:prefix": ["models/*", "models"]}},
                ),
            ],
            200,
        ),
    ],
)
def test_the_model_s_data_is_read_with_the_role(
    gatehouse: Gatehouse, uri: str, statements: list[dict[str, Any]], outcome: int
) -> None:
    """A whole prefix has to be listed too. Ledger: sm.model.access."""
    role = gatehouse.role("r", *statements)
    kind = "S3Prefix" if uri.endswith("/") else "S3Object"
    source = {"S3Uri": uri, "S3DataType": kind, "CompressionType": "None"}
    container = {**CONTAINER, "ModelDataSource": {"S3DataSource": source}}
    found = gatehouse.call(
        ROOT, "sagemaker", "CreateModel", ModelName="m", ExecutionRoleArn=role, PrimaryContainer=container
    )
    assert found.status == outcome
    if outcome != 200:
        assert found.document["message"] == ledger.text("sm.model.access", uri=uri, role=role, region=REGION)
