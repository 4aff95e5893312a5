"""Bad input: one message that says what happened, why and what to do; one exit code; never a traceback."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from tests.conftest import ROOT, Result, Terminal

TWIN = str(ROOT / "configs" / "twin.yaml")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
"""What tmpfs gives out at a time."""


def clear(result: Result, *says: str) -> None:
    """No traceback, and the words that help are there."""
    assert "Traceback" not in result.err
    for text in says:
        assert text in result.err, result.err


def test_no_credentials(terminal: Terminal) -> None:
    """Without any, the ways to get some are named."""
    clear(terminal.run("list", code=4), "Unable to locate credentials", "aws sso login", "--target local")
    clear(terminal.run("deploy-endpoint", TWIN, "--yes", code=4), "Unable to locate credentials")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("deploy-endpoint", "nowhere.yaml"), "nowhere.yaml"),
        (("deploy-endpoint", TWIN, "--set", "engine=tgii"), "engine"),
        (("deploy-endpoint", TWIN, "--set", "name=bad_name!"), "name"),
        (("deploy-endpoint", TWIN, "--set", "instance.type=ml.g5.huge"), "ml.g5."),
        (("deploy-endpoint", TWIN, "--set", "nonsense"), "FIELD=VALUE"),
        (("deploy-endpoint", TWIN, "--endpoint-type", "serverless"), "endpoint_type"),
        (("list", "--target", "azure"), "unknown target 'azure'"),
        (("delete-endpoint", "bad_name!!", "--yes"), "'bad_name!!' is no deployment's name"),
        (("status", "bad_name!!"), "'bad_name!!' is no deployment's name"),
        (("describe", "bad_name!!"), "'bad_name!!' is no deployment's name"),
        (("logs", "bad_name!!"), "'bad_name!!' is no deployment's name"),
        (("invoke", "bad_name!!", "hello"), "'bad_name!!' is no deployment's name"),
    ],
)
def test_what_is_wrong_is_named(terminal: Terminal, arguments: tuple[str, ...], says: str) -> None:
    """Unknown file, engine, name, instance, field, type, target: exit code 3 before any cloud is asked."""
    clear(terminal.run(*arguments, code=3), says)


def test_all_problems_of_a_file_are_told_at_once(terminal: Terminal) -> None:
    """File, line and field of each, not only of the first."""
    file = terminal.folder / "bad.yaml"
    file.write_text("name: bad_name!\nmodel: org/model\nengine: tgii\ninstnce: ml.g5.xlarge\n")
    result = terminal.run("deploy-endpoint", "bad.yaml", code=3)
    clear(result, "bad.yaml:1", "bad.yaml:3", "bad.yaml:4", "instance")


def test_broken_yaml(terminal: Terminal) -> None:
    """A file that is no YAML is an error with its line."""
    (terminal.folder / "broken.yaml").write_text("name: [twin\nmodel: x")
    clear(terminal.run("deploy-endpoint", "broken.yaml", code=3), "broken.yaml")


def test_a_wrong_region(terminal: Terminal) -> None:
    """A region that does not exist is refused before anything is asked of the network."""
    more = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "x"}
    clear(terminal.run("deploy-endpoint", TWIN, "--yes", code=3, AWS_REGION="not a region", **more), "AWS_REGION")
    result = terminal.run("deploy-endpoint", TWIN, "--yes", code=None, AWS_REGION="eu-nowhere-7", **more)
    assert result.code in {3, 12}
    clear(result, "eu-nowhere-7")


def test_nobody_to_ask(local_cloud: Terminal) -> None:
    """Without a terminal and without --yes nothing is changed, and both ways out are named."""
    clear(local_cloud.run("deploy-endpoint", TWIN, code=3), "--yes", "--dry-run")


def test_an_endpoint_that_does_not_exist(local_cloud: Terminal) -> None:
    """Asking for it is exit code 6, whatever the question."""
    for command in (("status", "nobody"), ("describe", "nobody"), ("logs", "nobody"), ("invoke", "nobody", "hello")):
        clear(local_cloud.run(*command, code=6), "nobody")
    for command in (("status", "nobody"), ("describe", "nobody"), ("invoke", "nobody", "hello")):
        clear(local_cloud.run(*command, code=6), "`llmdeploy list` shows")


def test_a_role_of_another_account(terminal: Terminal, local_cloud: Terminal) -> None:
    """SageMaker could not pass it; it is refused with both accounts in view, unless the target has one prepared."""
    lines = local_cloud.run("local", "env", "--shell", "sh").out.splitlines()
    exported = dict(line.removeprefix("export ").split("=", 1) for line in lines if line.startswith("export "))
    variables = {name: value.strip("'\"") for name, value in exported.items()}
    variables |= {"LLMDEPLOY_TARGET": "sagemaker", "AWS_ARN_ROLE": "arn:aws:iam::999999999999:role/other"}
    clear(terminal.run("deploy-endpoint", TWIN, "--dry-run", code=3, **variables), "999999999999", "000000000000")


def test_a_token_in_a_containers_environment_is_refused(terminal: Terminal) -> None:
    """DescribeModel would show it; the message says what to do instead."""
    file = terminal.folder / "token.yaml"
    file.write_text("name: t\nmodel: org/m\nenvironment:\n  HF_TOKEN: hf_abcdefghijklmnopqrstuvwxyz\n")
    result = terminal.run("deploy-endpoint", "token.yaml", code=3)
    clear(result, "HF_TOKEN")
    assert "hf_abcdef" not in result.err


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB without a free byte."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=False)
    if mounted.returncode != 0:
        pytest.skip("this machine lets nobody mount a file system")
    try:
        with (folder / "full").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(4096)):
                pass
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def deployers_keys(variables: dict[str, str], prefix: str) -> list[str]:
    """The ids of the keys that the user of `create-roles` has."""
    iam = boto3.client(
        "iam",
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        region_name=variables["AWS_REGION"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
    )
    name = f"llmdeploy-{prefix}-deployer"
    iam.get_user(UserName=name)  # it must exist, or having no key says nothing
    answer = iam.list_access_keys(UserName=name)
    return [key["AccessKeyId"] for key in answer["AccessKeyMetadata"]]


@pytest.mark.row("T1")
@pytest.mark.parametrize(
    ("free_bytes", "says"), [(0, "no access key was made"), (PAGE_BYTES, "it was removed again")], ids=["full", "note"]
)
def test_a_key_that_cannot_be_kept_is_not_left(
    local_cloud: Terminal, pointed_at_it: dict[str, str], full_disk: Path, free_bytes: int, says: str
) -> None:
    """On a full disk none is made; where there is room for the note of it alone, it is removed again.

    No key is left whose secret nobody has; with room again, the same command ends well.
    """
    with (full_disk / "full").open("r+b") as file:
        file.truncate((full_disk / "full").stat().st_size - free_bytes)
    create = ("create-roles", "--prefix", "nodisk", "--user", "--yes", "--output", str(full_disk))
    clear(local_cloud.run(*create, code=18), "No space left on device", says, "--output")
    assert deployers_keys(pointed_at_it, "nodisk") == []
    assert not list(full_disk.glob(".*.partial")), "a part of a secret is not left behind"

    (full_disk / "full").unlink()
    local_cloud.run(*create)
    kept = json.loads((full_disk / "sagemaker_user_credentials.json").read_text())["AccessKeyId"]
    assert deployers_keys(pointed_at_it, "nodisk") == [kept]
    local_cloud.run("delete-roles", "--prefix", "nodisk", "--yes", "--output", str(full_disk))


@pytest.mark.row("T1")
def test_a_folder_that_cannot_be_made_leaves_no_key(local_cloud: Terminal, pointed_at_it: dict[str, str]) -> None:
    """As a full disk, where a path leads nowhere."""
    (local_cloud.folder / "a-file").write_text("")
    nowhere = str(local_cloud.folder / "a-file" / "folder")
    create = ("create-roles", "--prefix", "nowhere", "--user", "--yes", "--output", nowhere)
    clear(local_cloud.run(*create, code=18), nowhere, "no access key was made")
    assert deployers_keys(pointed_at_it, "nowhere") == []
    local_cloud.run("delete-roles", "--prefix", "nowhere", "--yes")


def test_a_model_that_does_not_fit_on_the_disk(terminal: Terminal, full_disk: Path) -> None:
    """Room for the beginning of it, then none: one message, and nothing that looks like a model."""
    (full_disk / "full").unlink()
    cache = str(full_disk)
    pulled = terminal.run("models", "pull", code=13, LLMDEPLOY_CACHE=cache)
    clear(pulled, "No room on the disk", "LLMDEPLOY_CACHE")
    listed = terminal.run("models", "list", "--json", LLMDEPLOY_CACHE=cache).json
    assert {row["path"] for row in listed} == {None}


def test_the_help_of_every_command_works(tmp_path: Path) -> None:
    """--help needs no cloud, no credentials and no configuration."""
    from llm_deploy.cli.main import COMMANDS  # noqa: PLC0415 - only this test needs it

    terminal = Terminal(tmp_path)
    for name in COMMANDS:
        assert "Usage" in terminal.run(name, "--help").out, name
