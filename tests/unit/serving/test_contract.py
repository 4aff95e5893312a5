"""What a container's environment says about limits."""

from __future__ import annotations

import pytest

from llm_deploy.errors import SpecError
from llm_deploy.serving.contract import DialectName, read_contract
from llm_deploy.serving.shapes.asked import Limits


def test_defaults() -> None:
    """2048 tokens, 128 requests, 2 MB."""
    contract = read_contract({}, "tgi")
    assert contract.context_tokens(None) == 2048
    assert contract.limits(2048) == Limits(2047, 2048)
    assert (contract.max_concurrent_requests, contract.payload_bytes) == (128, 2_000_000)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {"MAX_INPUT_TOKENS": "10", "MAX_INPUT_LENGTH": "10"},
            (
                "Both `max_input_tokens` (10) and `max_input_length` (10) are set. Please define only "
                "`max_input_tokens` as `max_input_length is deprecated for naming consistency."
            ),
        ),
        (
            {"MAX_INPUT_LENGTH": "20", "MAX_TOTAL_TOKENS": "20"},
            "`max_input_tokens`(20) must be < `max_total_tokens`(20)",
        ),
        ({"MAX_TOTAL_TOKENS": "many"}, "MAX_TOTAL_TOKENS must be a positive integer. Given: 'many'"),
        ({"PAYLOAD_LIMIT": "0"}, "PAYLOAD_LIMIT must be a positive integer. Given: '0'"),
    ],
)
def test_refusals_at_start_up(environment: dict[str, str], message: str) -> None:
    """TGI's own words, so that a log that is searched for them has them."""
    with pytest.raises(SpecError) as caught:
        read_contract(environment, "tgi")
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("dialect", "environment"),
    [
        ("tgi", {"MAX_TOTAL_TOKENS": "512"}),
        ("openai", {"SM_VLLM_MAX_MODEL_LEN": "512"}),
        ("openai", {"SM_SGLANG_CONTEXT_LENGTH": "512"}),
        ("lmi", {"OPTION_MAX_MODEL_LEN": "512"}),
    ],
)
def test_each_engine_has_its_own_variable(dialect: DialectName, environment: dict[str, str]) -> None:
    """The engine's context follows the limit, and nobody else's variable counts."""
    assert read_contract(environment, dialect).context_tokens(None) == 512
    other: DialectName = "lmi" if dialect == "tgi" else "tgi"
    assert read_contract(environment, other).context_tokens(None) == 2048


def test_limits_are_cut_to_the_models_context_and_that_is_said() -> None:
    """A spec written for a larger model still starts on this one."""
    contract = read_contract({"MAX_INPUT_TOKENS": "30000", "MAX_TOTAL_TOKENS": "32768"}, "tgi")
    limits = contract.limits(8192)
    assert limits == Limits(8191, 8192)
    assert contract.cut(limits) == (
        "limits cut to this model's context: max_input_tokens 30000 -> 8191, max_total_tokens 32768 -> 8192"
    )
    assert contract.cut(contract.limits(32768)) is None


def test_an_input_limit_alone_makes_room_for_an_answer() -> None:
    """The context is larger than the largest prompt."""
    assert read_contract({"MAX_INPUT_TOKENS": "4000"}, "tgi").context_tokens(None) == 4001
