"""Clocks that are off, and credentials that end in mid-run, at a cloud that checks every signature."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import boto3
import botocore.config
import botocore.session
import pytest
from botocore.credentials import RefreshableCredentials

from llm_deploy import GenerationRequest
from llm_deploy.aws import Session
from llm_deploy.client.endpoint import LLMInferenceSagemakerEndpoint
from llm_deploy.client.endpoint_async import AsyncLLMInferenceSagemakerEndpoint
from llm_deploy.dialects.stream import collect
from llm_deploy.errors import CredentialsError
from tests.conftest import ROOT, Terminal

pytestmark = [pytest.mark.slow, pytest.mark.row("T5"), pytest.mark.xdist_group("local-cloud")]

ASK = GenerationRequest(prompt="The capital of France is", max_new_tokens=4, temperature=0)
LONG = GenerationRequest(prompt="1, 2, 3, 4, 5,", max_new_tokens=150, temperature=0)
SHORT_S = 3
"""Seconds that a session lasts. AWS gives none below 15 minutes; the local cloud does not mind."""


@pytest.fixture
def endpoint(local_cloud: Terminal) -> Iterator[str]:
    """A deployed model's name."""
    name = "credentials"
    local_cloud.run("deploy-endpoint", str(ROOT / "configs" / "smollm2.yaml"), "--set", f"name={name}", "--yes")
    yield name
    local_cloud.run("delete-endpoint", name, "--yes")


def temporary(pointed_at_it: Mapping[str, str]) -> dict[str, Any]:
    """Keys that end soon."""
    sts = boto3.client(
        "sts",
        endpoint_url=pointed_at_it["AWS_ENDPOINT_URL"],
        region_name=pointed_at_it["AWS_REGION"],
        aws_access_key_id=pointed_at_it["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=pointed_at_it["AWS_SECRET_ACCESS_KEY"],
        config=botocore.config.Config(parameter_validation=False),
    )
    found: dict[str, Any] = sts.get_session_token(DurationSeconds=SHORT_S)["Credentials"]
    return found


def session_with(keys: Mapping[str, Any], pointed_at_it: Mapping[str, str]) -> Session:
    """A session that signs with them."""
    return Session(
        region=pointed_at_it["AWS_REGION"],
        endpoint_url=pointed_at_it["AWS_ENDPOINT_URL"],
        access_key=keys["AccessKeyId"],
        secret_key=keys["SecretAccessKey"],
        token=keys["SessionToken"],
    )


def wait_until(moment: datetime) -> None:
    """And a second longer: the moment that is told has no fractions, the one that counts has."""
    time.sleep(max(0.0, (moment - datetime.now(UTC)).total_seconds()) + 1.2)


PROGRAM = """
import asyncio, datetime, json, sys, time
off_s = float(sys.argv[2])
true = time.time
time.time = lambda: true() + off_s
from llm_deploy import GenerationRequest, LLMInferenceSagemakerEndpoint
from llm_deploy.client.endpoint_async import AsyncLLMInferenceSagemakerEndpoint
from llm_deploy.dialects.stream import collect
ask = GenerationRequest(prompt="The capital of France is", max_new_tokens=4, temperature=0)
llm = LLMInferenceSagemakerEndpoint(sys.argv[1])
said = [llm.generate(ask).text, collect(llm.stream(ask)).text]
async def main():
    async with AsyncLLMInferenceSagemakerEndpoint(sys.argv[1]) as llm:
        said.append((await llm.generate(ask)).text)
asyncio.run(main())
print(json.dumps(said))
"""


@pytest.mark.parametrize("off_s", [-7200, 7200, 0], ids=["two hours late", "two hours early", "right"])
def test_a_machine_whose_clock_is_off_is_answered(endpoint: str, local_cloud: Terminal, off_s: int) -> None:
    """Whole, streamed and on an event loop; the cloud allows five minutes and is right about the time."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, endpoint, str(off_s)],
        env=local_cloud.env(PYTHONPATH=str(ROOT)), cwd=local_cloud.folder, capture_output=True, text=True, check=False,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said[0].startswith(" Paris")
    assert len(set(said)) == 1


def test_keys_that_end_in_mid_run_are_said_and_break_nothing(endpoint: str, pointed_at_it: dict[str, str]) -> None:
    """A stream that has begun goes on; the next call is a `CredentialsError` without the keys in it.

    The endpoint is free for whoever has others.
    """
    keys = temporary(pointed_at_it)
    llm = LLMInferenceSagemakerEndpoint(endpoint, session=session_with(keys, pointed_at_it))
    assert llm.generate(ASK).text
    chunks = llm.stream(LONG)
    next(chunks)
    wait_until(keys["Expiration"])
    assert sum(1 for _ in chunks) > 10
    for streamed in (False, True):
        with pytest.raises(CredentialsError, match="expired") as caught:
            collect(llm.stream(ASK)) if streamed else llm.generate(ASK)
        told = f"{caught.value} {caught.value.hint} {caught.value.__cause__}"
        assert keys["SecretAccessKey"] not in told
        assert keys["SessionToken"] not in told
    other = LLMInferenceSagemakerEndpoint(endpoint, session=session_with(temporary(pointed_at_it), pointed_at_it))
    assert other.generate(ASK).text


def renewing(pointed_at_it: Mapping[str, str], renewed: list[str]) -> boto3.Session:
    """A session of boto3's whose credentials renew themselves, as those of a role do."""

    def refresh() -> dict[str, str]:
        keys = temporary(pointed_at_it)
        renewed.append(keys["AccessKeyId"])
        return {
            "access_key": keys["AccessKeyId"], "secret_key": keys["SecretAccessKey"], "token": keys["SessionToken"],
            "expiry_time": keys["Expiration"].isoformat(),
        }  # fmt: skip

    inner = botocore.session.Session()
    inner._credentials = RefreshableCredentials.create_from_metadata(
        refresh(), refresh_using=refresh, method="test", advisory_timeout=1, mandatory_timeout=1
    )
    inner.set_config_variable("region", pointed_at_it["AWS_REGION"])
    return boto3.Session(botocore_session=inner)


def test_credentials_that_renew_themselves_carry_a_run_over_their_end(
    endpoint: str, pointed_at_it: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls from several tasks at once, over several ends: all are answered, and who waits is renewed for once."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", pointed_at_it["AWS_ENDPOINT_URL"])
    renewed: list[str] = []
    session = renewing(pointed_at_it, renewed)
    answered = 0

    async def caller(llm: AsyncLLMInferenceSagemakerEndpoint, end: float) -> None:
        nonlocal answered
        while time.monotonic() < end:
            assert (await llm.generate(ASK)).text.startswith(" Paris")
            answered += 1

    async def main() -> None:
        async with AsyncLLMInferenceSagemakerEndpoint(endpoint, session=session) as llm, asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(caller(llm, time.monotonic() + 3.5 * SHORT_S))

    asyncio.run(main())
    assert answered > 10
    assert 3 <= len(renewed) <= 12
