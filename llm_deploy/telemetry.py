"""Logging: loguru, off by default, on standard error, and never a secret in it."""

from __future__ import annotations

import sys
from typing import Literal

LogLevel = Literal["debug", "info", "warning", "error"]


def set_up_logging(level: LogLevel = "warning") -> None:
    """Send this package's log to standard error from this level on.

    Variables of a traceback are not printed (`diagnose=False`): they could hold a token.
    """
    from loguru import logger  # noqa: PLC0415 - costs 60 ms, which `--help` need not pay

    logger.remove()
    logger.add(sys.stderr, level=level.upper(), format="{time:HH:mm:ss} {level: <7} {message}", diagnose=False)
    logger.enable("llm_deploy")
