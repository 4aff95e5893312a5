"""API keys: their form, and that nothing gives them away."""

from __future__ import annotations

import re
import traceback

import pytest
from hypothesis import given, strategies as st

from llm_deploy.gateway import keys
from llm_deploy.gateway.keys import ALPHABET, LENGTH, PATTERN, digest, flaw, new_key


def test_a_key_is_found_by_secret_scanners_and_carries_its_id() -> None:
    """The prefix, the public id and the length are what `PATTERN` says."""
    made = new_key()
    assert re.fullmatch(PATTERN, made.secret)
    assert made.secret[keys.ID_OF_KEY] == made.key_id
    assert len(made.secret) == LENGTH
    assert flaw(made.secret) is None


def test_a_key_has_256_random_bits_and_its_checksum_32() -> None:
    """No table of guesses is possible, which is why a fast hash suffices."""
    assert len(ALPHABET) ** keys.SECRET_LENGTH > 2**256
    assert len(ALPHABET) ** keys.CHECKSUM_LENGTH > 2**32
    assert len({new_key().secret for _ in range(100)}) == 100


@given(st.integers(len(keys.PREFIX), LENGTH - 1), st.sampled_from(ALPHABET))
def test_one_wrong_character_is_a_typing_error(place: int, character: str) -> None:
    """CRC-32 notices every single changed character."""
    secret = new_key().secret
    wrong = secret[:place] + character + secret[place + 1 :]
    assert (flaw(wrong) is None) == (wrong == secret)


def test_a_key_that_was_cut_is_told_from_an_unknown_one() -> None:
    """Who copied half of a key is told so."""
    assert "66 characters" in str(flaw(new_key().secret[:-1]))
    assert "begin with llmd_" in str(flaw("sk-something"))


@given(st.text(max_size=200))
def test_any_text_can_be_hashed_and_judged(text: str) -> None:
    """What clients send is not always text that can be encoded."""
    assert len(digest(text)) == 32
    assert flaw(text) is not None


def test_a_rotated_key_keeps_its_id() -> None:
    """Usage, limits and logs go on under the same name."""
    made = new_key()
    again = new_key(made.key_id)
    assert again.key_id == made.key_id
    assert again.secret != made.secret


def test_a_new_key_does_not_print_its_secret() -> None:
    """Neither in a repr nor in a traceback that shows one."""
    made = new_key()
    with pytest.raises(ValueError, match="made") as caught:
        raise ValueError(f"made {made}")
    shown = "".join(traceback.format_exception(caught.value))
    assert made.secret not in shown
    assert made.secret[-20:] not in repr(made)
    assert str(made.digest) not in repr(made)
