"""Logging: modules log through the standard library, silently; a program that wants to see it calls `set_up_logging`.

Loguru writes the lines. No secret is ever logged: calls are named by service and operation, never with their documents.
"""

from __future__ import annotations

import logging
import sys
from typing import Literal

LogLevel = Literal["debug", "info", "warning", "error"]
LOGGERS = ("llm_deploy", "botocore.retries")
"""Ours, and botocore's word on what it tries again."""


class _ToLoguru(logging.Handler):
    """Hands the standard library's records to loguru, under the name of the module that logged."""

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on."""
        from loguru import logger  # noqa: PLC0415 - costs 60 ms, which `--help` need not pay

        logger.bind(module=record.name).log(record.levelname, "{}", record.getMessage())


def set_up_logging(level: LogLevel = "warning") -> None:
    """Send this package's log to standard error from this level on.

    Variables of a traceback are not printed (`diagnose=False`): they could hold a token.
    """
    from loguru import logger  # noqa: PLC0415 - as above

    logger.remove()
    logger.add(
        sys.stderr,
        level=level.upper(),
        format="{time:HH:mm:ss.SSS} {level: <7} {extra[module]}  {message}",
        diagnose=False,
    )
    for name in LOGGERS:
        ours = logging.getLogger(name)
        ours.handlers = [_ToLoguru()]
        ours.setLevel(level.upper())
        ours.propagate = False
