"""Roles of `create-roles` on a local cloud that enforces IAM, who acts as them, and the cloud's record of decisions."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
import pytest

from llm_deploy.catalog import load_spec
from llm_deploy.settings import load_settings
from llm_deploy.spec import DeploymentSpec
from llm_deploy.targets import deployment, teardown
from llm_deploy.targets.registry import Connection, connect
from llm_deploy.targets.sagemaker import iam
from tests.conftest import FAST, ROOT, Terminal

PREFIX = "proof"
DEPLOYER = f"llmdeploy-{PREFIX}-deployer"
EXECUTION = f"llmdeploy-{PREFIX}-execution"
TWIN = ROOT / "configs" / "twin.yaml"
PROPAGATION_S = 5 * 8 / FAST
"""The local cloud's IAM is late by 8 s of AWS's (ledger `access.consistency`); several times that is enough."""

ANYONE_OF_THE_ACCOUNT = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}, "Action": "sts:AssumeRole"}
    ],
}


@dataclass(frozen=True)
class Account:
    """The local account as its root sees it."""

    variables: Mapping[str, str]

    def client(self, service: str) -> Any:  # noqa: ANN401 - boto3 makes its client classes at run time
        """boto3, signing as the root."""
        return boto3.client(
            service,
            endpoint_url=self.variables["AWS_ENDPOINT_URL"],
            region_name=self.variables["AWS_REGION"],
            aws_access_key_id=self.variables["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.variables["AWS_SECRET_ACCESS_KEY"],
        )

    def record(self, role: str) -> list[dict[str, Any]]:
        """Every decision about a role's sessions, oldest first."""
        with urllib.request.urlopen(f"{self.variables['AWS_ENDPOINT_URL']}/_local/authorizations") as answer:  # noqa: S310 - the local cloud's own address
            document = json.load(answer)
        assert document["forgotten"] == 0
        return [entry for entry in document["authorizations"] if f":assumed-role/{role}/" in entry["principal"]]

    def forget(self) -> None:
        """Start the record anew."""
        request = urllib.request.Request(f"{self.variables['AWS_ENDPOINT_URL']}/_local/authorizations", method="DELETE")  # noqa: S310 - as above
        urllib.request.urlopen(request).close()  # noqa: S310 - as above

    @contextmanager
    def role(self, name: str, *, inline: Mapping[str, Any] | None = None, attached: str | None = None) -> Iterator[str]:
        """A role that anyone of the account may assume, for a while. Gives its ARN."""
        client = self.client("iam")
        trust = json.dumps(ANYONE_OF_THE_ACCOUNT)
        arn: str = client.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        if inline is not None:
            client.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=json.dumps(inline))
        if attached is not None:
            client.attach_role_policy(RoleName=name, PolicyArn=attached)
        wait_for_iam()
        try:
            yield arn
        finally:
            if inline is not None:
                client.delete_role_policy(RoleName=name, PolicyName="own")
            if attached is not None:
                client.detach_role_policy(RoleName=name, PolicyArn=attached)
            client.delete_role(RoleName=name)


@contextmanager
def queue_over(name: str, account: Account) -> Iterator[str]:
    """Another endpoint over the same model, that is asynchronous; an administrator's work, for a while."""
    client, queue = account.client("sagemaker"), f"{name}-queue"
    config = client.describe_endpoint_config(
        EndpointConfigName=client.describe_endpoint(EndpointName=name)["EndpointConfigName"]
    )
    answers = {"OutputConfig": {"S3OutputPath": "s3://proof-answers/out", "S3FailurePath": "s3://proof-answers/failed"}}
    client.create_endpoint_config(
        EndpointConfigName=queue, ProductionVariants=config["ProductionVariants"], AsyncInferenceConfig=answers
    )
    client.create_endpoint(EndpointName=queue, EndpointConfigName=queue)
    client.get_waiter("endpoint_in_service").wait(EndpointName=queue, WaiterConfig={"Delay": 1})
    try:
        yield queue
    finally:
        client.delete_endpoint(EndpointName=queue)
        client.get_waiter("endpoint_deleted").wait(EndpointName=queue, WaiterConfig={"Delay": 1})
        client.delete_endpoint_config(EndpointConfigName=queue)


def wait_for_iam() -> None:
    """Let what was changed in IAM reach the other services; the record has no event for it."""
    time.sleep(PROPAGATION_S)


def spec_of(name: str, endpoint_type: str, **overrides: str) -> DeploymentSpec:
    """configs/twin.yaml under another name, of a type, with `--set`."""
    dotted = {key.replace("__", "."): value for key, value in overrides.items()}
    settings = load_settings(None)
    return load_spec(TWIN, settings=settings, endpoint_type=endpoint_type, overrides={"name": name, **dotted}).spec


def deploy(spec: DeploymentSpec, connection: Connection) -> None:
    """As `llmdeploy deploy-endpoint`, without the question at its end."""
    for _ in deployment.apply_deployment(deployment.plan_deployment(spec, connection), connection):
        pass


def delete(name: str, connection: Connection) -> None:
    """As `llmdeploy delete-endpoint --logs`."""
    for _ in teardown.carry_out(teardown.prepare(name, connection, logs=True)):
        pass


@pytest.fixture(scope="package")
def account(pointed_at_it: dict[str, str]) -> Account:
    """The local account."""
    return Account(pointed_at_it)


@pytest.fixture(scope="package")
def narrow(local_cloud: Terminal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """A folder whose .env names the roles that `create-roles` made, so that every command acts as the deploy role."""
    terminal = Terminal(tmp_path_factory.mktemp("narrow"), local_cloud.environment)
    terminal.run("create-roles", "--prefix", PREFIX, "--write-env", "--yes")
    yield terminal
    terminal.run("delete-roles", "--prefix", PREFIX, "--yes")


def acting_as(role: str, narrow: Terminal) -> Connection:
    """A connection of this process that acts as a role."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("AWS_", "LLMDEPLOY_"))]:
            patch.delenv(name)
        for name, value in narrow.environment.items():
            patch.setenv(name, value)
        execution = iam.RolesWish(connect("local", settings=load_settings(None)).place, PREFIX).execution_role_arn
        patch.setenv("LLMDEPLOY_ROLE_ARN", role)
        patch.setenv("AWS_ARN_ROLE", execution)
        return connect("local", settings=load_settings(None))
