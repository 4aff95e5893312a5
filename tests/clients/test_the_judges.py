"""The judges themselves: they object to a wrong answer, and a half-made environment is not believed."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from tests.clients import environments
from tests.clients.boto import assert_nothing_lost, assert_shape

NOW = datetime(2026, 11, 22, tzinfo=UTC)
RIGHT: dict[str, Any] = {
    "EndpointName": "e",
    "EndpointArn": "arn:aws:sagemaker:eu-central-1:000000000000:endpoint/e",
    "EndpointStatus": "InService",
    "CreationTime": NOW,
    "LastModifiedTime": NOW,
}
DESCRIBED = botocore.session.get_session().get_service_model("sagemaker").operation_model("DescribeEndpoint")


@pytest.fixture(autouse=True)
def nothing_left() -> None:
    """No cloud is needed here."""


def test_a_whole_answer_is_accepted() -> None:
    """Required members of the right types are all that is asked for."""
    assert_shape(RIGHT, DESCRIBED.output_shape, "DescribeEndpoint")


@pytest.mark.parametrize(
    ("wrong", "objection"),
    [
        ({"EndpointStatus": "Ready"}, "none of"),
        ({"CreationTime": "yesterday"}, "no timestamp"),
        ({"EndpointName": 7}, "no string"),
        ({"ProductionVariants": [{"CurrentInstanceCount": 1}]}, "VariantName"),
    ],
)
def test_a_wrong_answer_is_objected_to(wrong: dict[str, Any], objection: str) -> None:
    """An unknown enum value, a wrong type, a missing member anywhere: the path is named."""
    with pytest.raises(AssertionError, match=rf"DescribeEndpoint\S*.*{objection}"):
        assert_shape({**RIGHT, **wrong}, DESCRIBED.output_shape, "DescribeEndpoint")


def test_a_member_that_the_parser_dropped_is_objected_to() -> None:
    """What was sent and is not in the parsed document is unknown to the model."""
    assert_nothing_lost({"a": [{"b": 1}]}, {"a": [{"b": 1}]}, "answer")
    with pytest.raises(AssertionError, match=r"answer\.a\[0\].*'c'"):
        assert_nothing_lost({"a": [{"b": 1, "c": 2}]}, {"a": [{"b": 1}]}, "answer")


def test_a_half_made_environment_is_made_again(tmp_path: Path) -> None:
    """Without its stamp a folder is removed and made anew; with it nothing is made."""
    folder, made = tmp_path / "environment", []

    def make() -> None:
        folder.mkdir()
        made.append((folder / "half").exists())
        (folder / "half").touch()
        if len(made) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        environments._made_once(folder, make)
    environments._made_once(folder, make)
    environments._made_once(folder, make)
    assert made == [False, False]


def test_two_workers_make_one_environment(tmp_path: Path) -> None:
    """Whoever comes second waits for the first and makes nothing."""
    folder, made = tmp_path / "environment", []

    def make() -> None:
        folder.mkdir()
        made.append(threading.get_ident())

    workers = [threading.Thread(target=environments._made_once, args=(folder, make)) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(made) == 1
