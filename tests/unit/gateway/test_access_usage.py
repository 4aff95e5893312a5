"""Old usage is thinned out, and sums stay right."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, given, settings, strategies as st

from llm_deploy.gateway.state import usage
from llm_deploy.gateway.state.engine import connect
from llm_deploy.gateway.state.records import Counts, UsageKey
from llm_deploy.gateway.state.schema import migrate

NOW = 500_000
ROWS = st.dictionaries(
    st.tuples(st.sampled_from("ab"), st.integers(0, 200 * 24)), st.integers(1, 1000), min_size=1, max_size=60
)


@given(ages=ROWS)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_old_hours_become_days_and_old_days_go(tmp_path: Path, ages: dict[tuple[str, int], int]) -> None:
    """Sums by day are the same until a day is too old; hours that are young stay; doing it again changes nothing."""
    (tmp_path / "usage.db").unlink(missing_ok=True)
    url = f"sqlite:///{tmp_path}/usage.db"
    engine = connect(url)
    migrate(engine, url)
    rows = {UsageKey("k", model, "chat", NOW - age): Counts(1, tokens, 2, 0) for (model, age), tokens in ages.items()}
    with engine.begin() as connection:
        usage.add(connection, rows)
        for _ in range(8):
            usage.thin_out(connection, now_hour=NOW, hours_days=90, days=150)
        hours = usage.read(connection, since_hour=0, grain="hour")
        days = usage.read(connection, since_hour=0, grain="day")
        usage.thin_out(connection, now_hour=NOW, hours_days=90, days=150)
        assert usage.read(connection, since_hour=0, grain="hour") == hours
    engine.dispose()
    kept_from = NOW - 150 * 24
    wanted: Counter[tuple[str, int]] = Counter()
    for key, counts in rows.items():
        if key.hour >= kept_from + 24:
            wanted[key.model, key.hour - key.hour % 24] += counts.prompt_tokens
    found = {(line.model, line.hour): line.prompt_tokens for line in days if line.hour >= kept_from + 24}
    assert found == {key: tokens for key, tokens in wanted.items() if key[1] >= kept_from + 24}
    border = NOW - 90 * 24
    assert all(line.hour % 24 == 0 for line in hours if line.hour < border - border % 24)
    young = {key.hour for key in rows if key.hour >= border}
    assert young <= {line.hour for line in hours}
    assert all(line.hour >= kept_from - 24 for line in hours)
