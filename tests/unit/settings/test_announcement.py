"""What a target announces, and whom to believe about it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from llm_deploy.client.environment import session_from_environment
from llm_deploy.errors import LocalCloudError
from llm_deploy.settings.announcement import (
    ACCESS_KEY,
    FILE_NAME,
    LARGEST_FILE_BYTES,
    Announcement,
    announced,
    read_announcement,
)

PID = 4711


class Health(BaseHTTPRequestHandler):
    """Says which process it is, as the local cloud does."""

    def do_GET(self) -> None:
        """Any path."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"pid": PID}).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def announcement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Announcement]:
    """Of a server that runs, in LLMDEPLOY_HOME, for a target that is not the default."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLMDEPLOY_HOME", str(tmp_path))
    monkeypatch.setenv("LLMDEPLOY_TARGET", "elsewhere")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    server = HTTPServer(("127.0.0.1", 0), Health)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    port = server.server_port
    yield write(
        tmp_path, Announcement(PID, port, f"http://127.0.0.1:{port}", "eu-west-1", "0" * 12, 1.0, "now", "0.1.0")
    )
    server.shutdown()
    thread.join()
    server.server_close()


def write(folder: Path, announcement: Announcement) -> Announcement:
    """Announce it."""
    (folder / FILE_NAME).write_text(json.dumps(asdict(announcement)))
    return announcement


def test_a_target_that_answers_is_where_the_client_goes(announcement: Announcement) -> None:
    """Whatever its name; with made-up keys and its own region, and not where AWS_ENDPOINT_URL points."""
    assert announced("elsewhere") == announcement
    session = session_from_environment("us-east-1")
    assert (session.endpoint_url, session.region) == (announcement.url, "eu-west-1")
    assert session.access_key == ACCESS_KEY


def test_another_process_at_the_address_is_not_believed(announcement: Announcement, tmp_path: Path) -> None:
    """A file left by a cloud that was killed, whose port somebody else has now: an error, never another cloud."""
    write(tmp_path, replace(announcement, pid=PID + 1))
    assert announced("elsewhere") is None
    with pytest.raises(LocalCloudError, match="LLMDEPLOY_TARGET is elsewhere") as caught:
        session_from_environment()
    assert "llmdeploy local up" in (caught.value.hint or "")


def test_nothing_announced_is_an_error_and_not_the_default_target(announcement: Announcement, tmp_path: Path) -> None:
    """No address, no session: least of all one of AWS."""
    (tmp_path / FILE_NAME).unlink()
    assert announcement.url
    with pytest.raises(LocalCloudError):
        session_from_environment()


def test_the_default_target_announces_nothing(announcement: Announcement, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys, region and address come from the settings there, even beside a local cloud that runs."""
    monkeypatch.setenv("LLMDEPLOY_TARGET", "sagemaker")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    session = session_from_environment("us-east-1")
    assert announcement.url
    assert (session.endpoint_url, session.region, session.access_key) == (None, "us-east-1", None)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"pid": 1}', " " * LARGEST_FILE_BYTES + "{}"])
def test_a_damaged_file_announces_nothing(tmp_path: Path, text: str) -> None:
    """Also one of another version, and one that is too large."""
    (tmp_path / FILE_NAME).write_text(text)
    assert read_announcement(tmp_path) is None
