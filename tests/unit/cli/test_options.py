"""What many commands share: a deployment's name, and `FIELD=VALUE`."""

from __future__ import annotations

import pytest

from llm_deploy.cli.options import checked_name, pairs
from llm_deploy.errors import SpecError
from llm_deploy.spec.fields import NAME_LENGTH


@pytest.mark.parametrize("name", ["twin", "a", "Twin-2", "x" * NAME_LENGTH])
def test_a_name_that_aws_takes_passes(name: str) -> None:
    """Unchanged."""
    assert checked_name(name) == name


@pytest.mark.parametrize("name", ["", "bad_name!!", "-twin", "twin-", "a.b", "twin\n", "x" * (NAME_LENGTH + 1), "../x"])
def test_any_other_name_is_refused(name: str) -> None:
    """With what is expected in words; the pattern itself would help nobody."""
    with pytest.raises(SpecError, match="letters, digits and hyphens") as caught:
        checked_name(name)
    assert "^[a-z" not in caught.value.message


def test_pairs_split_at_the_first_equals_sign() -> None:
    """A value may hold others."""
    assert pairs(["a.b=c=d", " e =", "f=1"]) == {"a.b": "c=d", "e": "", "f": "1"}


@pytest.mark.parametrize("text", ["", "nonsense", "=1", " =1"])
def test_a_pair_without_a_field_or_a_sign_is_refused(text: str) -> None:
    """And quoted."""
    with pytest.raises(SpecError, match="expected FIELD=VALUE"):
        pairs([text])
