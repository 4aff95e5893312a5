"""The role commands as a person uses them: whose credentials they take, a new key, a dry run, a VPC."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.conftest import Terminal

pytestmark = pytest.mark.xdist_group("local-cloud")

KEY_FILE = "sagemaker_user_credentials.json"


@pytest.fixture
def place(local_cloud: Terminal, tmp_path: Path) -> Iterator[Terminal]:
    """A folder of its own before the local cloud; the roles named `keys` are gone afterwards."""
    terminal = Terminal(tmp_path, local_cloud.environment)
    yield terminal
    terminal.run("delete-roles", "--prefix", "keys", "--yes")


def iam_of(variables: dict[str, str]) -> Any:  # noqa: ANN401 - boto3 makes its client classes at run time
    """The local cloud's IAM, asked by boto3."""
    return boto3.client(
        "iam",
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        region_name=variables["AWS_REGION"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
    )


@pytest.mark.row("T1")
def test_a_new_key_takes_the_old_ones_place(place: Terminal, pointed_at_it: dict[str, str]) -> None:
    """The plan says so, the file and .env have the new key, and the cloud has no other."""
    place.run("create-roles", "--prefix", "keys", "--yes", "--write-env")
    old = json.loads((place.folder / KEY_FILE).read_text())
    planned = place.run("create-roles", "--prefix", "keys", "--new-key", "--dry-run", "--json")
    actions = {change["kind"].rsplit("::")[-1]: change["action"] for change in planned.json["changes"]}
    assert actions == {"Role": "keep", "ManagedPolicy": "keep", "User": "keep", "AccessKey": "replace"}
    assert json.loads((place.folder / KEY_FILE).read_text()) == old

    done = place.run("create-roles", "--prefix", "keys", "--new-key", "--yes", "--write-env")
    assert "1 to replace" in done.err
    assert f"{old['AccessKeyId']} stops working at once" in done.err
    new = json.loads((place.folder / KEY_FILE).read_text())
    assert new["AccessKeyId"] != old["AccessKeyId"]
    assert f"AWS_ACCESS_KEY={new['AccessKeyId']}" in (place.folder / ".env").read_text()
    held = iam_of(pointed_at_it).list_access_keys(UserName=new["UserName"])["AccessKeyMetadata"]
    assert [key["AccessKeyId"] for key in held] == [new["AccessKeyId"]]


@pytest.mark.row("T1")
def test_a_lost_secret_is_made_good_by_a_new_key(place: Terminal) -> None:
    """Where the file is gone, --new-key is the way out that the refusal names."""
    place.run("create-roles", "--prefix", "keys", "--yes")
    (place.folder / KEY_FILE).unlink()
    assert "--new-key" in place.run("create-roles", "--prefix", "keys", "--yes", code=7).err
    place.run("create-roles", "--prefix", "keys", "--yes", "--new-key")
    assert (place.folder / KEY_FILE).is_file()


@pytest.mark.row("T1")
def test_a_dry_run_shows_every_policy_and_writes_json_when_asked(place: Terminal) -> None:
    """For people the documents under titles, for programs the plan; neither changes anything."""
    shown = place.run("create-roles", "--prefix", "keys", "--dry-run")
    assert "what llmdeploy-keys-deployer may do:" in shown.out
    assert '"sagemaker:CreateEndpoint"' in shown.out
    assert "who may assume llmdeploy-keys-execution:" in shown.out
    planned = place.run("create-roles", "--prefix", "keys", "--dry-run", "--json").json
    assert {change["action"] for change in planned["changes"]} == {"create"}
    assert not list(place.folder.glob("*.json"))


@pytest.mark.row("T1")
def test_a_spec_says_what_its_roles_are_for(place: Terminal) -> None:
    """Its name, its weights, its VPC and its key; and the same file names what to delete."""
    (place.folder / "s.yaml").write_text(
        "name: keys\nmodel: s3://models/llm/\nkms_key_id: 1234-ab\ninstance: ml.p3.2xlarge\n"
        "network: {subnets: [subnet-1, subnet-2], security_group_ids: [sg-1]}\n"
    )
    text = place.run("create-roles", "s.yaml", "--dry-run", "--json").out
    for part in ("s3:::models/llm/*", "subnet/subnet-1", "subnet/subnet-2", "security-group/sg-1", "key/1234-ab"):
        assert part in text
    place.run("create-roles", "s.yaml", "--yes")
    assert len(place.run("delete-roles", "s.yaml", "--yes", "--json").json["deleted"]) == 4


def test_the_deployers_keys_of_env_are_not_used(terminal: Terminal) -> None:
    """Without a sign-in of one's own the command says whose credentials it looked for, and how to use .env's."""
    (terminal.folder / ".env").write_text("AWS_ACCESS_KEY=AKIAX\nAWS_SECRET_KEY=s\n")
    for command in ("create-roles", "delete-roles"):
        refused = terminal.run(command, "--prefix", "keys", "--yes", code=4)
        assert "--use-env-keys" in refused.err
        assert "--profile" in refused.err
        assert terminal.run(command, "--profile", "nobody", "--yes", code=3).err.count("nobody")
        assert "give one" in terminal.run(command, "--profile", "nobody", "--use-env-keys", "--yes", code=3).err


def test_a_prefix_that_no_name_begins_with_is_refused(terminal: Terminal) -> None:
    """Before any cloud is asked."""
    assert "letters, digits and hyphens" in terminal.run("create-roles", "--prefix=-a", "--yes", code=3).err
