"""`python -m llm_deploy.emulator`: run one local cloud until it is stopped."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from llm_deploy.emulator.server import CannotStartError, run
from llm_deploy.emulator.settings import DEFAULT_PORT, DEFAULT_SPEED, CloudSettings, RuntimeLimits

EXIT_CANNOT_START = 13
"""The package's exit code for a local cloud that cannot start; a contract, since nothing of the package is imported."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the cloud; returns the process's exit code."""
    settings = _settings(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        asyncio.run(run(settings))
    except CannotStartError as error:
        sys.stderr.write(f"local cloud: {error}\n")
        return EXIT_CANNOT_START
    return 0


def _settings(argv: Sequence[str] | None) -> CloudSettings:
    args = _parser().parse_args(argv)
    return CloudSettings(
        state_dir=args.state_dir.absolute(),
        port=args.port,
        speed=args.speed,
        region=args.region,
        account=args.account,
        model_server=args.model_server,
        model_name=args.model_name,
        backend_path=args.backend_path,
        split=not args.no_split,
        iam=not args.no_iam,
        seed=args.seed,
        limits=RuntimeLimits(invoke_s=args.invoke_timeout, stream_s=args.stream_timeout),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m llm_deploy.emulator", description=__doc__)
    parser.add_argument("--state-dir", type=Path, required=True, help="where everything is kept")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 takes any free port")
    parser.add_argument("--speed", type=_positive, default=DEFAULT_SPEED, help="1 is AWS's pace")
    parser.add_argument("--region", default="eu-central-1")
    parser.add_argument("--account", default="000000000000")
    parser.add_argument("--model-server", type=_argv, default=(), help="JSON list: the command of one container")
    parser.add_argument("--model-name", default="smollm2-135m-instruct", help="the stand-in that the command serves")
    parser.add_argument("--backend-path", type=Path, help="folder of the emulator behind this one")
    parser.add_argument("--no-split", action="store_true", help="do not cut event-stream frames at arbitrary places")
    parser.add_argument("--no-iam", action="store_true", help="check neither signatures nor permissions")
    parser.add_argument("--seed", type=int, help="seed of ids and of the places of the cuts")
    limits = RuntimeLimits()
    parser.add_argument("--invoke-timeout", type=_positive, default=limits.invoke_s, help="real seconds for an answer")
    parser.add_argument("--stream-timeout", type=_positive, default=limits.stream_s, help="real seconds for a stream")
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("must be above 0")
    return value


def _argv(text: str) -> tuple[str, ...]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from error
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise argparse.ArgumentTypeError("must be a JSON list of strings")
    return tuple(value)


if __name__ == "__main__":
    sys.exit(main())
