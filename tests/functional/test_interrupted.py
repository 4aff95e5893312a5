"""Ctrl-C in the middle of a deploy: what it means is said, and the same command goes on from there."""

from __future__ import annotations

import signal
import subprocess

import pytest

from tests.conftest import ROOT, Terminal

TWIN = str(ROOT / "configs" / "twin.yaml")
GOES_ON = "interrupted; running the same command again goes on from here"

pytestmark = pytest.mark.xdist_group("local-cloud")


def interrupted_at(process: subprocess.Popen[str], words: str) -> tuple[int, str]:
    """Read standard error up to a line with these words, press Ctrl-C; the exit code and all that was said."""
    assert process.stderr is not None
    said = ""
    while words not in said:
        line = process.stderr.readline()
        assert line, f"it ended before {words!r}:\n{said}"
        said += line
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    return process.returncode, said + rest


@pytest.mark.row("T3")
def test_ctrl_c_is_explained_and_the_next_run_goes_on(local_cloud: Terminal) -> None:
    """Exit code 130 and one line; what had been made is kept by the second run; deletion leaves nothing."""
    deploy = ("deploy-endpoint", TWIN, "--yes")
    code, said = interrupted_at(local_cloud.start(*deploy), "created")
    assert code == 130
    assert GOES_ON in said
    assert "Traceback" not in said
    again = local_cloud.run(*deploy, "--json").json
    assert 0 < len([item for item in again["done"] if item["action"] == "+"]) < 6
    assert again["smoke"]["text"].startswith(" Paris")
    local_cloud.run("delete-endpoint", "twin", "--yes")
    assert local_cloud.run("list", "--json").json == []


def test_ctrl_c_of_a_command_that_only_reads_promises_nothing(local_cloud: Terminal) -> None:
    """There is nothing to go on with."""
    local_cloud.run("deploy-endpoint", TWIN, "--yes", "--no-wait")
    code, said = interrupted_at(local_cloud.start("-v", "logs", "twin", "--follow"), "FilterLogEvents")
    assert code == 130
    assert "interrupted" in said
    assert GOES_ON not in said
    local_cloud.run("delete-endpoint", "twin", "--yes")
