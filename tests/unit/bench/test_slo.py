"""What a good answer is."""

from __future__ import annotations

import pytest

from llm_deploy.bench.slo import Slo, slo
from llm_deploy.errors import SpecError

KEPT = {"ttft_s": 0.4, "tpot_s": 0.05, "gap_s": 0.9, "total_s": 9.0}


def test_limits_are_read() -> None:
    """Milliseconds and seconds, in any order."""
    assert slo("total=10s, ttft=500ms,tpot<=50ms,gap<1s", 0.9) == Slo(0.5, 0.05, 1.0, 10.0, 0.9)
    assert slo(None) == slo("") == Slo()


@pytest.mark.parametrize("text", ["ttft", "ttft=5", "e2e=5s", "ttft=1s,ttft=2s", "ttft=-1s", "ttft=1s;tpot=2s"])
def test_anything_else_is_refused(text: str) -> None:
    """With an example."""
    with pytest.raises(SpecError, match="ttft=500ms,tpot=50ms"):
        slo(text)


@pytest.mark.parametrize("broken", sorted(KEPT))
def test_every_limit_must_be_kept(broken: str) -> None:
    """One that is broken is enough."""
    objective = Slo(0.4, 0.05, 0.9, 9.0)
    assert objective.kept(**KEPT)
    assert not objective.kept(**{**KEPT, broken: 10.0})
    assert Slo().kept(**dict.fromkeys(KEPT, 1e9))
