"""The smaller copy of botocore's SageMaker model: whole for what is used, made once, and never a must."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import botocore.session
import pytest

from llm_deploy.aws import Session
from llm_deploy.service_models import USED, cache_folder, smaller
from llm_deploy.spec import Place
from llm_deploy.targets.sagemaker import iam
from llm_deploy.targets.sagemaker.statements import statements

WISH = iam.RolesWish(Place(region="eu-central-1", account="123456789012"), "twin")
INVOCATIONS = {"InvokeEndpoint", "InvokeEndpointWithResponseStream", "InvokeEndpointAsync", "CallWithBearerToken"}


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("LLMDEPLOY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    loaded: dict[str, Any] = (
        botocore.session.Session().get_component("data_loader").load_service_model("sagemaker", "service-2")
    )
    return loaded


def session() -> Session:
    return Session("eu-central-1", access_key="AKIAEXAMPLE", secret_key="x")


def test_every_operation_that_the_deployer_may_call_is_in_it(whole: dict[str, Any]) -> None:
    """What the policy allows and what the copy holds go together."""
    granted = [item for name in iam.DEPLOY_POLICIES for item in statements(name, iam.scope(WISH))]
    actions = {action for item in granted for action in item["Action"] if action.startswith("sagemaker:")}
    names = {action.removeprefix("sagemaker:") for action in actions} - INVOCATIONS
    assert names <= smaller(whole)["operations"].keys()


def test_operations_and_shapes_are_those_of_the_whole_but_for_the_words(whole: dict[str, Any]) -> None:
    """Same members, enums, patterns, bounds; only documentation is left out, and no shape is missing."""

    def plain(value: Any) -> Any:  # noqa: ANN401 - any JSON value
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items() if not (k == "documentation" and isinstance(v, str))}
        return [plain(item) for item in value] if isinstance(value, list) else value

    found = smaller(whole)
    assert found["metadata"] == whole["metadata"]
    assert set(found["operations"]) == {name for name in whole["operations"] if USED.fullmatch(name)}
    for kind in ("operations", "shapes"):
        for name, item in found[kind].items():
            assert item == plain(whole[kind][name]), name


def test_it_is_written_once_and_read_from_then_on(cache: Path) -> None:
    """A second session finds it; the client validates as the whole model's does."""
    session().client("sagemaker")
    (written,) = cache.glob("botocore-*/sagemaker/*/service-2.json")
    before = written.stat().st_mtime_ns
    client = session().client("sagemaker")
    assert written.stat().st_mtime_ns == before
    assert not hasattr(client, "create_training_job")
    assert client.meta.service_model.operation_model("CreateEndpoint").input_shape.required_members == [
        "EndpointName",
        "EndpointConfigName",
    ]


def test_without_a_cache_botocore_reads_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A cache that cannot be written is no error."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LLMDEPLOY_CACHE", str(tmp_path / "file" / "cache"))
    assert hasattr(session().client("sagemaker"), "create_training_job")


def test_the_cache_is_where_the_user_says(cache: Path) -> None:
    """LLMDEPLOY_CACHE, as for models."""
    assert cache_folder() == cache
