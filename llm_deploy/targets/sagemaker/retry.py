"""The one error of IAM that time alone cures: a role that was made a moment ago cannot be assumed yet."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import TypeVar

from llm_deploy.errors import LlmDeployError

ATTEMPTS = 12
DELAY_S = 5.0
"""A minute in all: IAM usually takes 10 to 30 seconds. Source: aws-cli#7700, terraform-provider-aws#6566."""

_NOT_YET = re.compile(r"Could not assume role|is not able to assume|unable to assume the role", re.IGNORECASE)

Answer = TypeVar("Answer")


def until_the_role_can_be_assumed(call: Callable[[], Answer], *, sleep: Callable[[float], None] = time.sleep) -> Answer:
    """The call's answer; only that one error is tried again, everything else is raised at once."""
    for _ in range(ATTEMPTS - 1):
        try:
            return call()
        except LlmDeployError as error:
            if not _NOT_YET.search(error.message):
                raise
            sleep(DELAY_S)
    return call()
