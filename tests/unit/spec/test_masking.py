"""What is not shown, wherever it stands; and what is, because hiding it would hide the deployment."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from llm_deploy.spec.masking import MASK, is_secret, masked

HUB = "hf_" + "A1b2" * 8


@pytest.mark.parametrize(
    "name",
    [
        "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "hfToken", "OPENAI_KEY", "OPENAI_API_KEY", "openai-key", "API_KEY_OPENAI",
        "APIKEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "SecretAccessKey", "DB_PASSWORD", "DbPassword",
        "PG_PASSWD", "SSH_PASSPHRASE", "GITHUB_PAT", "BASIC_AUTH", "CLIENT_SECRET_VALUE", "SIGNING_PRIVATE_KEY_PEM",
        "GOOGLE_CREDENTIALS", "token", "password",
    ],
)  # fmt: skip
def test_a_name_is_enough(name: str) -> None:
    """Whatever the value looks like, in any way of writing names."""
    assert is_secret(name, "x")


@pytest.mark.parametrize(
    "value",
    [
        HUB, f"--token {HUB}", f"x_{HUB}", f'{{"token":"{HUB}"}}', "sk-proj-abc123abc123abc123", "AKIAIOSFODNN7EXAMPLE",
        "id=ASIAIOSFODNN7EXAMPLE;", "ghp_abcdefghijklmnop1234", "glpat-abcdefghijklmnop", "xoxb-123456789012-abcdef",
        "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "https://me:hunter2@proxy:3128", "redis://:hunter2@cache",
        "-----BEGIN RSA PRIVATE KEY-----", "--api-key abc", "--port 80 --API_KEY=abc", "-hf-token abc",
    ],
)  # fmt: skip
def test_a_value_is_enough(value: str) -> None:
    """Under any name and anywhere in the text."""
    assert is_secret("ANYTHING", value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAX_TOTAL_TOKENS", "4096"),
        ("ARGS", "--max-total-tokens 4096 --tokenizer org/m"),
        ("HF_MODEL_ID", "org/sk-learn-classifier-for-everything"),
        ("HF_HUB_ENABLE_HF_TRANSFER", "hf_transfer"),
        ("Key", "llmdeploy:deployment"),
        ("KmsKeyId", "1234-ab"),
        ("Image", "763104351884.dkr.ecr.eu-central-1.amazonaws.com/djl-inference:0.33.0-lmi15.0.0-cu128"),
        ("URL", "http://127.0.0.1:4599/a@b"),
        ("Resource", "arn:aws:iam::123456789012:role/llmdeploy-twin-execution"),
        ("COMPASS", "north"),
    ],
)
def test_what_is_no_secret_is_shown(name: str, value: str) -> None:
    """Limits, models, images, addresses and ARNs."""
    assert not is_secret(name, value)


def test_documents_are_masked_at_any_depth() -> None:
    """Mappings, lists and lists of names with values; numbers and truth values stay what they are."""
    document = {
        "Environment": {"OPENAI_KEY": "x", "LEVEL": "info"},
        "Args": ["--port 80", f"--token {HUB}"],
        "Tags": [{"Key": "password", "Value": "x"}, {"Key": "team", "Value": "y"}],
        "Variables": ({"name": "DB_PASSWORD", "value": "x"},),
        "Copies": 2,
        "Nothing": None,
    }
    assert masked(document) == {
        "Environment": {"OPENAI_KEY": MASK, "LEVEL": "info"},
        "Args": ["--port 80", MASK],
        "Tags": [{"Key": "password", "Value": MASK}, {"Key": "team", "Value": "y"}],
        "Variables": [{"name": "DB_PASSWORD", "value": MASK}],
        "Copies": 2,
        "Nothing": None,
    }


@given(before=st.text(max_size=30), after=st.text(max_size=30))
def test_a_hub_token_is_found_in_any_text(before: str, after: str) -> None:
    """Where it is not the tail of a longer word."""
    if not (before and before[-1].isalnum() and before[-1].isascii()):
        assert masked(before + HUB + after) == MASK
