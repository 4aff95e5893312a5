"""The command table: every entry is what it says, and reading it imports nothing."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest
import typer

from llm_deploy.cli import main
from llm_deploy.cli.main import COMMANDS

HEAVY = ("boto3", "botocore", "pydantic", "yaml", "rich", "loguru", "llm_deploy.deploy", "llm_deploy.spec")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_entry_leads_to_a_documented_command(name: str) -> None:
    """The module exists, the attribute is a group or a function with a docstring, the summary is one sentence."""
    entry = COMMANDS[name]
    loaded = getattr(import_module(f"llm_deploy.cli.{entry.module}"), entry.attribute)
    assert isinstance(loaded, typer.Typer) or (callable(loaded) and loaded.__doc__)
    assert entry.summary.endswith(".")
    assert len(entry.summary) < 80


def test_help_imports_nothing_heavy() -> None:
    """--help is answered from the table alone."""
    program = (
        "import sys\n"
        "sys.argv = ['llmdeploy', '--help']\n"
        "from llm_deploy.cli.main import run\n"
        "try:\n    run()\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert "deploy-endpoint" in done.stdout
    assert done.stderr.strip() == "[]"


def test_completion_offers_commands_and_their_options() -> None:
    """As the shell asks for it, through the variables that the installed script sets."""

    def offered(words: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-m", "llm_deploy.cli.main"],
            env={"_LLMDEPLOY_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()))}
            | ({"COMP_CWORD": str(len(words.split()) - 1)} if not words.endswith(" ") else {}),
            check=False,
            capture_output=True,
            text=True,
        )
        return done.stdout.split()

    assert "deploy-endpoint" in offered("llmdeploy depl")
    assert "--dry-run" in offered("llmdeploy deploy-endpoint --d")
    assert "up" in offered("llmdeploy local u")


def test_a_missing_extra_is_said_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A library of the gateway that is not installed is exit code 15 and the command that installs it."""

    def command(**_: object) -> None:
        raise ModuleNotFoundError("No module named 'orjson'", name="orjson")

    monkeypatch.setattr(main, "app", command)
    monkeypatch.setattr(main, "_start_quickly", lambda: None)
    with pytest.raises(SystemExit, match="15"):
        main.run()
    assert "llm-deploy[gateway]" in capsys.readouterr().err
