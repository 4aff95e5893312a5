"""`llmdeploy local`: up, down, status, env, logs; and what happens when something is in the way."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from llm_deploy.errors import LocalCloudError, MissingExtraError
from llm_deploy.serving import models
from llm_deploy.serving.packages import package_dir
from llm_deploy.settings import announcement
from llm_deploy.targets import local
from llm_deploy.targets.local import BACKEND_PACKAGE, DEFAULT_PORT, LocalCloud
from tests.conftest import Terminal
from tests.functional.local.conftest import children_of, is_running, wait_until


@pytest.fixture
def shell(terminal: Terminal) -> Iterator[Terminal]:
    """A terminal that uses this machine's cache of models, and whose cloud is stopped in the end."""
    shared = Terminal(terminal.folder, {**terminal.environment, "HOME": str(Path.home())})
    yield shared
    shared.run("local", "down")


def home(shell: Terminal) -> Path:
    return Path(shell.environment["LLMDEPLOY_HOME"])


def up(shell: Terminal, *arguments: str, code: int = 0) -> str:
    result = shell.run("local", "up", "--port", "0", *arguments, code=code)
    return result.out if code == 0 else result.err


def test_up_status_env_down(shell: Terminal) -> None:
    """The whole life, in JSON: the same cloud all the way, found again by a second `up`."""
    started = json.loads(up(shell, "--json"))
    assert json.loads(up(shell, "--json")) == started
    status = shell.run("local", "status", "--json").json
    assert status == {"running": True, **started}
    variables = shell.run("local", "env").out
    assert f"export AWS_ENDPOINT_URL={started['url']}\n" in variables
    assert shell.run("local", "down").out == "The local cloud is down.\n"
    assert shell.run("local", "status", "--json", code=13).json == {"running": False}
    assert shell.run("local", "down").out == "The local cloud was not running.\n"


@pytest.mark.parametrize(
    ("syntax", "line"),
    [
        ("sh", "export AWS_REGION=eu-central-1"),
        ("fish", "set -gx AWS_REGION 'eu-central-1'"),
        ("powershell", "$Env:AWS_REGION = 'eu-central-1'"),
    ],
)
def test_env_speaks_the_shells_language(shell: Terminal, syntax: str, line: str) -> None:
    """One assignment a line, the same variables in each."""
    up(shell)
    lines = shell.run("local", "env", "--shell", syntax).out.splitlines()
    assert line in lines
    assert len(lines) == 7


def test_a_shell_takes_the_variables(shell: Terminal) -> None:
    """`eval "$(llmdeploy local env)"` leads a foreign program to the cloud."""
    up(shell)
    script = f'eval "$({sys.executable} -m llm_deploy.cli.main local env)"; echo "$AWS_ENDPOINT_URL $LLMDEPLOY_TARGET"'
    shown = subprocess.run(["sh", "-c", script], env=shell.env(), capture_output=True, text=True, check=True)
    assert shown.stdout == f"{shell.run('local', 'status', '--json').json['url']} local\n"


def test_env_of_a_cloud_that_is_down_is_an_error(shell: Terminal) -> None:
    """Nothing on standard output that a shell would take for variables."""
    result = shell.run("local", "env", code=13)
    assert (result.out, "llmdeploy local up" in result.err) == ("", True)


def test_a_taken_port_is_one_message(shell: Terminal) -> None:
    """Which port, and what to do; and the cloud is not half up."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = shell.run("local", "up", "--port", str(port), code=13)
    assert result.err.splitlines() == [
        f"error: the local cloud cannot start: port {port} on 127.0.0.1 is taken by another program",
        "  Choose another: --port 0 takes any.",
    ]
    assert shell.run("local", "status", "--json", code=13).json == {"running": False}


def test_without_a_wish_a_taken_default_port_is_avoided(tmp_path: Path) -> None:
    """`--target local` in two homes at once needs no port from anybody; who started it is told, once."""
    cloud = LocalCloud(tmp_path / "home")
    holder = socket.socket()
    try:
        holder.bind(("127.0.0.1", DEFAULT_PORT))
        holder.listen()
    except OSError:
        pass  # somebody else has it, which serves as well
    try:
        status = cloud.ensure_running()
        assert status.port != DEFAULT_PORT
        assert status.note == f"port {DEFAULT_PORT} is taken by another program; using {status.port}"
        again = Terminal(tmp_path, {"LLMDEPLOY_HOME": str(tmp_path / "home")}).run("local", "up")
        assert again.err == ""
    finally:
        cloud.stop()
        holder.close()


def test_other_settings_than_the_running_clouds_are_refused(shell: Terminal) -> None:
    """Neither ignored nor carried out behind the back of who uses it."""
    up(shell, "--speed", "500")
    message = up(shell, "--speed", "10", code=13)
    assert "already runs at speed 500, not 10" in message
    assert "llmdeploy local down" in message


def test_a_damaged_model_is_one_message(shell: Terminal, tmp_path: Path) -> None:
    """Exit code of ModelFileError, the file, and the command that repairs it."""
    model = models.known("smollm2")
    cache = tmp_path / "cache"
    folder = cache / package_dir(model.package, model.version, model.package_sha256).relative_to(
        package_dir(model.package, model.version, model.package_sha256).parents[1]
    )
    (folder / model.file).parent.mkdir(parents=True)
    (folder / model.file).write_bytes(b"GGUF but not all of it")
    result = shell.run("local", "up", "--port", "0", code=14, LLMDEPLOY_CACHE=str(cache))
    assert "error: The file of model smollm2 is damaged" in result.err
    listed = shell.run("models", "list", "--json", LLMDEPLOY_CACHE=str(cache)).json
    assert {row["name"]: row["state"] for row in listed} == {"smollm2": "damaged", "minilm": "not fetched"}
    assert "damaged" in shell.run("models", "list", LLMDEPLOY_CACHE=str(cache)).out
    assert "llmdeploy models pull smollm2" in result.err


def test_a_folder_that_cannot_be_written_is_one_message(shell: Terminal, tmp_path: Path) -> None:
    """The folder, the cause, and the variable that leads elsewhere."""
    (tmp_path / "file").write_text("")
    result = shell.run("local", "up", code=13, LLMDEPLOY_HOME=str(tmp_path / "file" / "home"))
    assert "cannot write to" in result.err
    assert "LLMDEPLOY_HOME" in result.err


def test_a_full_disk_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOSPC is told apart from other failures to write."""

    def no_room(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "mkdir", no_room)
    with pytest.raises(LocalCloudError, match="no room on the disk") as refused:
        LocalCloud(tmp_path / "home").ensure_running(port=0)
    assert refused.value.hint is not None


def test_a_missing_extra_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing, and the line that installs it."""
    monkeypatch.setattr(local, "find_spec", lambda name: None if name == "xllamacpp" else object())
    with pytest.raises(MissingExtraError, match="needs xllamacpp") as refused:
        LocalCloud(tmp_path / "home").ensure_running(port=0)
    assert refused.value.hint == "Install the extra `local`; in a clone: pip install -e '.[local]'"


def test_a_cloud_that_dies_at_its_start_shows_its_last_lines(tmp_path: Path) -> None:
    """Here its state is no database; the message holds the cause."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "state.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(LocalCloudError, match="not a database"):
        LocalCloud(tmp_path / "home").ensure_running(port=0)


def test_a_killed_cloud_leaves_no_process_and_comes_back(shell: Terminal) -> None:
    """After SIGKILL nothing of it runs; `status` says so, and `up` starts a new one on the same state."""
    first = json.loads(up(shell, "--json"))
    children = children_of(first["pid"])
    os.kill(first["pid"], signal.SIGKILL)
    assert wait_until(lambda: not any(is_running(pid) for pid in [first["pid"], *children]), timeout_s=2)
    assert shell.run("local", "status", "--json", code=13).json == {"running": False}
    assert shell.run("local", "down").out == "The local cloud was not running.\n"
    second = json.loads(up(shell, "--json"))
    assert second["pid"] != first["pid"]


def test_a_cloud_that_does_not_answer_is_stopped_all_the_same(shell: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped process ignores requests and SIGTERM; SIGKILL it does not."""
    started = json.loads(up(shell, "--json"))
    os.kill(started["pid"], signal.SIGSTOP)
    monkeypatch.setattr(local, "STOP_TIMEOUT_S", 0.4)
    monkeypatch.setattr(announcement, "HEALTH_TIMEOUT_S", 0.2)
    assert LocalCloud(home(shell)).stop()
    assert wait_until(lambda: not is_running(started["pid"]), timeout_s=2)


def test_many_at_once_start_one(tmp_path: Path) -> None:
    """Commands in several terminals share the cloud that the first of them starts."""
    cloud = LocalCloud(tmp_path / "home")
    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: LocalCloud(tmp_path / "home").ensure_running(port=0).pid, range(4)))
        assert len(set(found)) == 1
    finally:
        cloud.stop()


def test_the_process_outlives_its_terminal_and_gets_no_credentials(shell: Terminal) -> None:
    """A session of its own, and none of the user's AWS variables in its environment."""
    started = shell.run("local", "up", "--port", "0", "--json", AWS_SECRET_ACCESS_KEY="real-secret").json
    assert os.getsid(started["pid"]) == started["pid"]
    for pid in (started["pid"], *children_of(started["pid"])):
        assert b"real-secret" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_logs_show_the_last_lines(shell: Terminal) -> None:
    """What the cloud wrote; before the first start, where it would be."""
    assert shell.run("local", "logs", code=6).err.startswith("error: There is no log at")
    up(shell)
    (home(shell) / "cloud.log").write_text("one\ntwo\nthree\n")
    assert shell.run("local", "logs", "--tail", "2").out == "two\nthree\n"


def test_the_backends_package_is_fetched_by_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheel is not a dependency (it pins botocore); what is unpacked is the one that was reviewed."""
    monkeypatch.setenv("LLMDEPLOY_CACHE", str(tmp_path))
    folder = models.fetch_package(*BACKEND_PACKAGE)
    assert (folder / "ministack" / "app.py").is_file()
    shutil.rmtree(folder)


def test_it_is_ready_within_two_seconds(tmp_path: Path) -> None:
    """After the first start; the best of three, because other tests run beside this one."""
    import time  # noqa: PLC0415 - only here

    cloud = LocalCloud(tmp_path / "home")
    taken_s = []
    for _ in range(3):
        began = time.monotonic()
        cloud.ensure_running(port=0)
        taken_s.append(time.monotonic() - began)
        cloud.stop()
    assert min(taken_s) < 2
