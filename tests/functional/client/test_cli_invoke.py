"""`llmdeploy invoke` and `llmdeploy chat` as programs, before a server that speaks for SageMaker."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from llm_deploy.errors import InferenceTimeoutError, NotFoundError, SpecError, StreamBrokenError
from llm_deploy.resource import TAG_DIALECT
from tests.fakes.runtime_server import (
    Reply,
    RuntimeServer,
    control_error,
    invocation,
    invocation_error,
    payload_part,
    response_stream,
    serving,
)

pytestmark = pytest.mark.row("T5")

LOOKED_UP = (
    invocation({"EndpointArn": "arn:aws:sagemaker:eu-central-1:000000000000:endpoint/twin"}),
    invocation({"Tags": [{"Key": TAG_DIALECT, "Value": "tgi"}]}),
    invocation({"InferenceComponents": [{"InferenceComponentName": "twin-ic"}]}),
)
WHOLE = invocation([{"generated_text": " Paris", "details": {"finish_reason": "eos_token", "generated_tokens": 1}}])


def chat_chunk(text: str, reason: str | None = None) -> bytes:
    document = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}]}
    return payload_part(b"data: %s\n\n" % json.dumps(document).encode())


def said(*texts: str) -> Reply:
    """A streamed answer."""
    return response_stream([*map(chat_chunk, texts), chat_chunk("", "stop")])


@contextmanager
def cloud(*replies: Reply, looked_up: Sequence[Reply] = LOOKED_UP) -> Iterator[tuple[RuntimeServer, dict[str, str]]]:
    """A server, and the environment that points at it."""
    with serving(*looked_up, *replies) as server:
        yield (
            server,
            {
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(Path(__file__).parents[3]),
                "LLMDEPLOY_TARGET": "sagemaker",
                "AWS_ENDPOINT_URL": server.url,
                "AWS_REGION": "eu-central-1",
                "AWS_ACCESS_KEY": "made-up",
                "AWS_SECRET_KEY": "made-up",
            },
        )


def run(
    folder: Path, environment: dict[str, str], *arguments: str, text: str | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "llm_deploy.cli.main", *arguments],
        cwd=folder, env=environment, input=text, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def asked(server: RuntimeServer) -> list[Any]:
    return [seen.document for seen in server.seen if seen.path.startswith("/endpoints/")]


def test_the_answer_is_the_output_and_figures_are_not(tmp_path: Path) -> None:
    """Standard output can be piped; options reach the model; defaults are the seed's settings."""
    options = ["--max-new-tokens", "7", "--temperature", "0.5", "--seed", "3", "--stop", "\n", "--stop", "END"]
    with cloud(WHOLE) as (server, environment):
        done = run(tmp_path, environment, "invoke", "twin", "The capital of France is", *options)
    assert (done.returncode, done.stdout) == (0, " Paris\n"), done.stderr
    assert "1 tokens" in done.stderr
    parameters = asked(server)[0]["parameters"]
    assert parameters["max_new_tokens"] == 7
    assert (parameters["temperature"], parameters["top_p"], parameters["seed"]) == (0.5, 0.9, 3)
    assert parameters["stop"] == ["\n", "END"]


def test_a_stream_is_written_and_json_lines_are_json(tmp_path: Path) -> None:
    """--stream, and with --json one document a piece."""
    with cloud(said("Par", "is")) as (_, environment):
        assert run(tmp_path, environment, "invoke", "twin", "Hi", "--stream").stdout == "Paris\n"
    with cloud(said("Par", "is")) as (_, environment):
        done = run(tmp_path, environment, "invoke", "twin", "Hi", "--stream", "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert "".join(line["text"] for line in lines) == "Paris"
    assert lines[-1]["finish_reason"] == "stop"


def test_json_is_one_document(tmp_path: Path) -> None:
    """For scripts."""
    with cloud(WHOLE) as (_, environment):
        done = run(tmp_path, environment, "invoke", "twin", "Hi", "--json")
    document = json.loads(done.stdout)
    assert (document["text"], document["finish_reason"], document["tokens"]["generated"]) == (" Paris", "eos", 1)
    assert document["timings"]["total_s"] > 0


def test_the_prompt_comes_from_a_file_or_standard_input(tmp_path: Path) -> None:
    """Whole, with its newlines."""
    (tmp_path / "prompt.txt").write_text("one\ntwo – 😀\n", encoding="utf-8")  # noqa: RUF001 - a dash people type
    for arguments, text in ((["--file", "prompt.txt"], None), (["--file", "-"], "one\ntwo – 😀\n")):  # noqa: RUF001 - as above
        with cloud(WHOLE) as (server, environment):
            run(tmp_path, {**environment, "PYTHONIOENCODING": "utf-8"}, "invoke", "twin", *arguments, text=text)
        assert asked(server)[0]["inputs"] == "one\ntwo – 😀\n"  # noqa: RUF001 - as above


@pytest.mark.parametrize(
    "arguments", [[], ["Hi", "--file", "-"], [""], ["--file", "missing.txt"], ["--file", "."], ["--file", "latin1.txt"]]
)
def test_no_prompt_or_two_is_a_spec_error(tmp_path: Path, arguments: list[str]) -> None:
    """Before anything is asked."""
    (tmp_path / "latin1.txt").write_bytes(b"caf\xe9")
    with cloud(WHOLE) as (server, environment):
        done = run(tmp_path, environment, "invoke", "twin", *arguments, text="")
        assert (done.returncode, server.seen) == (SpecError.exit_code, [])
    assert "Traceback" not in done.stderr


def test_errors_have_their_exit_codes(tmp_path: Path) -> None:
    """A missing endpoint, a broken stream (with what had arrived), a deadline."""
    missing = control_error("ValidationException", 'Could not find endpoint "arn:aws:sagemaker:::endpoint/nobody".')
    with cloud(missing, looked_up=()) as (_, environment):
        done = run(tmp_path, environment, "invoke", "nobody", "Hi")
    assert done.returncode == NotFoundError.exit_code
    assert "nobody" in done.stderr
    with cloud(response_stream([chat_chunk("Par")], end="cut")) as (_, environment):
        done = run(tmp_path, environment, "invoke", "twin", "Hi", "--stream")
    assert (done.returncode, done.stdout) == (StreamBrokenError.exit_code, "Par\n")
    with cloud(response_stream([chat_chunk("Par")], end="hang")) as (_, environment):
        done = run(tmp_path, environment, "invoke", "twin", "Hi", "--stream", "--timeout", "0.5")
    assert (done.returncode, done.stdout) == (InferenceTimeoutError.exit_code, "Par\n")


def test_a_chat_reads_lines_and_keeps_its_history(tmp_path: Path) -> None:
    """Without a terminal: no prompts in the output; /reset keeps the system message alone; /exit ends it."""
    lines = "first\nsecond\n\n/reset\nthird\n/exit\nnever\n"
    with cloud(said("one"), said("two"), said("three")) as (server, environment):
        done = run(tmp_path, environment, "chat", "twin", "--system", "Be brief.", text=lines)
    assert (done.returncode, done.stdout) == (0, "one\ntwo\nthree\n"), done.stderr
    system = {"role": "system", "content": "Be brief."}
    first = [{"role": "user", "content": "first"}, {"role": "assistant", "content": "one"}]
    assert [document["messages"] for document in asked(server)] == [
        [system, first[0]],
        [system, *first, {"role": "user", "content": "second"}],
        [system, {"role": "user", "content": "third"}],
    ]


class TerminalProgram:
    """A program on a terminal of its own, written to and read from as a person does."""

    def __init__(self, folder: Path, environment: dict[str, str], *arguments: str) -> None:
        self._here, there = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "llm_deploy.cli.main", *arguments],
            cwd=folder, env={**environment, "TERM": "dumb"}, stdin=there, stdout=there, stderr=there,
            start_new_session=True,
        )  # fmt: skip
        os.close(there)
        self.seen = ""

    def wait_for(self, text: str) -> None:
        """Read until the text has been written."""
        assert self.reads(text, within_s=30), f"no {text!r} in {self.seen!r}"

    def reads(self, text: str, *, within_s: float) -> bool:
        """Whether the text is written in time."""
        deadline_s = time.monotonic() + within_s
        while text not in self.seen:
            readable, _, _ = select.select([self._here], [], [], max(0.0, deadline_s - time.monotonic()))
            if not readable:
                return False
            self.seen += os.read(self._here, 4096).decode("utf-8", errors="replace")
        return True

    def type(self, text: str) -> None:
        """Type it."""
        self.seen = ""
        os.write(self._here, text.encode())

    def interrupt_until(self, text: str) -> None:
        """Press Ctrl-C until the text is written.

        Once is not enough for a test: input() looks at signals only while it waits, and one that comes between the
        prompt and the waiting is kept for the next key.
        """
        self.seen = ""
        for _ in range(20):
            self.process.send_signal(signal.SIGINT)
            if self.reads(text, within_s=1):
                return
        raise AssertionError(f"no {text!r} in {self.seen!r}")

    def close(self) -> None:
        """End it, whatever it does."""
        self.process.kill()
        self.process.wait()
        os.close(self._here)


def test_ctrl_c_stops_the_answer_and_not_the_program(tmp_path: Path) -> None:
    """The connection is closed at once; what was said stays in the history; the next message is answered."""
    broken = response_stream([chat_chunk("\x1b[31mred")], end="cut")
    with cloud(response_stream([chat_chunk("endless")], end="hang"), said("fine"), broken) as (server, environment):
        program = TerminalProgram(tmp_path, environment, "chat", "twin")
        try:
            program.wait_for("> ")
            program.type("tell me\n")
            program.wait_for("endless")
            program.interrupt_until("(stopped)")
            assert server.client_left.wait(10)
            program.wait_for("> ")
            program.type("again\n")
            program.wait_for("fine")
            program.wait_for("> ")
            program.interrupt_until("> ")  # at the prompt: a new line, not the end
            program.type("break\n")
            program.wait_for("error:")
            assert "\x1b[31mred" not in program.seen, "a model cannot change the terminal"
            assert "[31mred" in program.seen
            program.wait_for("> ")
            program.type("/exit\n")
            assert program.process.wait(20) == 0
        finally:
            program.close()
    spoken = [message["content"] for message in asked(server)[1]["messages"]]
    assert spoken == ["tell me", "endless", "again"]


def test_a_person_goes_on_after_any_error(tmp_path: Path) -> None:
    """Also after one of permissions or of the network; what was not answered is not in the conversation."""
    denied = invocation_error(403, "AccessDeniedException", Message="not authorized to perform")
    with cloud(denied, said(""), said("fine")) as (server, environment):
        program = TerminalProgram(tmp_path, environment, "chat", "twin")
        try:
            for message, answer in (("one", "error:"), ("two", "ended by"), ("three", "fine")):
                program.wait_for("> ")
                program.type(f"{message}\n")
                program.wait_for(answer)
            program.type("/exit\n")
            assert program.process.wait(20) == 0
        finally:
            program.close()
    assert [message["content"] for message in asked(server)[2]["messages"]] == ["three"]
