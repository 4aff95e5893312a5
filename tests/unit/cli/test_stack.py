"""How long a deployment through a stack waits in all."""

from __future__ import annotations

import pytest

from llm_deploy.cli.stack import Allowance


def test_what_one_wait_takes_the_next_one_has_not() -> None:
    """`--timeout` is for all of them; what lies between them, as a question to a person, is free."""
    allowance = Allowance(100.0)
    with allowance.spent():
        pass
    once_s = allowance.left_s
    assert once_s < 100.0
    with pytest.raises(KeyError), allowance.spent():
        raise KeyError
    assert allowance.left_s < once_s
