"""CPU of one request's keys, limits and metering: `caller`, `admit`, `settle`. Memory only, as in the gateway.

python -m benchmarks.access
"""

from __future__ import annotations

import statistics
from time import process_time, time

from llm_deploy.gateway.access import SCOPES
from llm_deploy.gateway.accounts import Sharing
from llm_deploy.gateway.admission import Admission
from llm_deploy.gateway.keys import new_key
from llm_deploy.gateway.state.records import KeyRecord, Limits

REQUESTS = 50_000
ROUNDS = 5
MOST = 10**12
EVERY_LIMIT = Limits(
    requests_per_minute=MOST, tokens_per_minute=MOST, tokens_per_day=MOST, tokens_total=MOST, concurrency=1000
)


def main() -> None:
    """Print the medians, in microseconds a request."""
    for title, limits in (("no limits", Limits()), ("every limit", EVERY_LIMIT)):
        rounds = [_round_us(limits) for _ in range(ROUNDS)]
        named = zip(("caller", "admit + settle", "together"), zip(*rounds, strict=True), strict=True)
        print(title, *(f"{name} {statistics.median(values):.2f} us" for name, values in named), sep="   ")


def _round_us(limits: Limits) -> list[float]:
    made = new_key()
    record = KeyRecord(
        key_id=made.key_id, name="n", digest=made.digest, scopes=frozenset(SCOPES), created_at_s=time(), limits=limits
    )
    admission = Admission(Sharing(sole=True))
    admission.adopt([record])
    begun_s = process_time()
    for _ in range(REQUESTS):
        caller = admission.caller(made.secret)
    known_s = process_time()
    for _ in range(REQUESTS):
        permit = admission.admit(caller, scope="chat", model="m", tokens=300)
        permit.settle(prompt_tokens=20, generated_tokens=100)
    done_s = process_time()
    return [part_s * 1e6 / REQUESTS for part_s in (known_s - begun_s, done_s - known_s, done_s - begun_s)]


if __name__ == "__main__":
    main()
