"""The backend's process: MiniStack on a socket it was handed, with state that survives SIGKILL.

Started by `llm_deploy.emulator.backend.process` with an environment of its own; not meant to be run by hand. Nothing
of MiniStack is imported by any other process.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import socket
import sys
from pathlib import Path
from types import ModuleType

from llm_deploy.emulator import ledger
from llm_deploy.emulator.backend import lifeline
from llm_deploy.emulator.backend.account import AccountReader
from llm_deploy.emulator.backend.bootstrap import prepare_account
from llm_deploy.emulator.backend.channel import Channel
from llm_deploy.emulator.backend.durable import Durable, StateSaver, forget_temporary_files
from llm_deploy.emulator.backend.enforcement import Enforcement
from llm_deploy.emulator.backend.guard import KEY_VARIABLE, Guarded
from llm_deploy.emulator.backend.linked_roles import use_aws_names
from llm_deploy.emulator.backend.services import PORT_VARIABLE, SPEED_VARIABLE
from llm_deploy.emulator.backend.stacks.mount import Stacks, StackSettings

IN_REVIEW = "REVIEW_IN_PROGRESS"
"""Nothing is in progress: the stack waits for a change set to be executed."""
INTERRUPTED = {
    "UPDATE_COMPLETE_CLEANUP": "UPDATE_COMPLETE",
    "UPDATE_ROLLBACK_COMPLETE_CLEANUP": "UPDATE_ROLLBACK_COMPLETE",
    "IMPORT": "IMPORT_ROLLBACK_FAILED",
    "IMPORT_ROLLBACK": "IMPORT_ROLLBACK_FAILED",
}
"""What an operation that nobody goes on with has come to; of all others, that it failed."""
KEEP_ALIVE_S = 3600
"""Longer than the proxy keeps an idle connection, so that it never sends into a closing one."""


def main() -> None:
    """Serve until standard input ends."""
    lifeline.hold()
    arguments = _arguments()
    sys.path.insert(0, str(arguments.path))
    asyncio.run(_serve(arguments.fd))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m llm_deploy.emulator.backend")
    parser.add_argument("--path", type=Path, required=True, help="folder that holds the unpacked package")
    parser.add_argument("--fd", type=int, required=True, help="listening socket")
    return parser.parse_args()


async def _serve(fd: int) -> None:
    import uvicorn  # noqa: PLC0415 - after the lifeline: importing takes a moment

    forget_temporary_files(Path(os.environ["STATE_DIR"]))
    ministack = importlib.import_module("ministack.app")
    # Its ASGI lifespan would also start schedulers, brokers and a Docker sweep; of all that only the state is wanted.
    ministack._load_persisted_state()  # noqa: SLF001 - no public way; the package is pinned by hash
    _end_interrupted_stacks()
    saver = StateSaver(ministack, importlib.import_module("ministack.core.persistence"))
    stacks = Stacks(ministack.app, _stack_settings())
    stacks.plug_in_if_loaded()
    app = Durable(stacks, saver, stacks_in_progress=_stacks_in_progress)
    reader = _account_reader()
    await prepare_account(app)
    config = uvicorn.Config(
        Guarded(Channel(app, saver, reader.records), os.environ[KEY_VARIABLE].encode()),
        lifespan="off", http="httptools", log_level="warning", access_log=False, ws="none",
        timeout_keep_alive=KEEP_ALIVE_S, server_header=False, date_header=False,
    )  # fmt: skip
    # Not `fd=`: uvicorn would take it for a unix socket, leave Nagle's algorithm on, and every answer would take 40 ms.
    await uvicorn.Server(config).serve(sockets=[socket.socket(fileno=fd)])
    saver.save()


def _stack_settings() -> StackSettings:
    return StackSettings(
        port=int(os.environ[PORT_VARIABLE]),
        key=os.environ[KEY_VARIABLE],
        region=os.environ["MINISTACK_REGION"],
        account=os.environ["MINISTACK_ACCOUNT_ID"],
        speed=float(os.environ[SPEED_VARIABLE]),
    )


def _account_reader() -> AccountReader:
    """Reads IAM; where permissions are checked, MiniStack asks us from now on."""
    account = os.environ["MINISTACK_ACCOUNT_ID"]
    evaluator = importlib.import_module("ministack.core.iam_evaluator")
    services = [importlib.import_module(f"ministack.services.{name}") for name in ("iam", "sts")]
    use_aws_names(services[0])
    reader = AccountReader(account, services[0], services[1], evaluator)
    if os.environ["AUTH"] == "true":
        Enforcement(account, reader, evaluator, importlib.import_module("ministack.core.iam_actions"))
    return reader


def _cloudformation() -> ModuleType | None:
    return sys.modules.get("ministack.services.cloudformation")


def _stacks_in_progress() -> bool:
    module = _cloudformation()
    return module is not None and any(_in_progress(stack) for stack in module._stacks._data.values())  # noqa: SLF001 - as above


def _in_progress(stack: dict[str, str]) -> bool:
    status = stack.get("StackStatus", "")
    return status.endswith("_IN_PROGRESS") and status != IN_REVIEW


def _end_interrupted_stacks() -> None:
    """What was being made when the process died will not go on: say so, so that the stack can be deleted."""
    module = _cloudformation()
    for stack in [] if module is None else module._stacks._data.values():  # noqa: SLF001 - as above
        if _in_progress(stack):
            status = stack["StackStatus"].removesuffix("_IN_PROGRESS")
            stack["StackStatus"] = INTERRUPTED.get(status, f"{status}_FAILED")
            stack["StackStatusReason"] = ledger.text("backend.interrupted-stack")


if __name__ == "__main__":
    main()
