"""Image data of the SageMaker SDK, read from its files without importing it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from llm_deploy.catalog import image_uri
from llm_deploy.catalog.sdk import sdk_image
from llm_deploy.errors import MissingExtraError, SpecError

ROWS = {
    "huggingface-llm": {
        "inference": {
            "versions": {
                "3.3.6": {
                    "container_version": {"gpu": "cu124-ubuntu22.04"},
                    "py_versions": ["py311"],
                    "registries": {"us-east-1": "763104351884", "cn-north-1": "727897471807"},
                    "repository": "huggingface-pytorch-tgi-inference",
                    "tag_prefix": "2.7.0-tgi3.3.6",
                },
                "3.10.0": {
                    "container_version": {"gpu": "cu130-ubuntu22.04"},
                    "py_versions": ["py311"],
                    "registries": {"us-east-1": "763104351884"},
                    "repository": "huggingface-pytorch-tgi-inference",
                    "tag_prefix": "2.9.0-tgi3.10.0",
                },
            }
        }
    },
    "vllm-server": {
        "versions": {
            "2.6": {
                "container_version": {"gpu": "cuda-v2.6"},
                "processor_in_tag": False,
                "registries": {"us-east-1": "763104351884"},
                "repository": "vllm",
                "tag_prefix": "server-sagemaker",
            }
        }
    },
    "djl-lmi": {
        "versions": {
            "0.38.0": {
                "registries": {"us-east-1": "763104351884"},
                "repository": "djl-inference",
                "tag_prefix": "0.38.0-lmi29.0.0-cu130",
            }
        }
    },
}
"""The three shapes of row in sagemaker-core 2.27.0's JSON files."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in ROWS.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return tmp_path


def test_the_newest_version_is_found_by_number(folder: Path) -> None:
    """3.10 is newer than 3.3, and its CUDA is in its tag."""
    found = sdk_image("tgi", "us-east-1", folder=folder)
    assert (found.version, found.cuda) == ("3.10.0", "13.0")


def test_a_region_gets_the_newest_that_it_has(folder: Path) -> None:
    """With the domain of its partition."""
    assert sdk_image("tgi", "cn-north-1", folder=folder).uri == image_uri("tgi", "cn-north-1").uri


def test_tags_are_put_together_as_in_the_catalogue(folder: Path) -> None:
    """All three shapes; CUDA that the tag hides is the catalogue's."""
    assert sdk_image("vllm", "us-east-1", folder=folder) == image_uri("vllm", "us-east-1")
    assert sdk_image("lmi", "us-east-1", folder=folder) == image_uri("lmi", "us-east-1")


def test_what_the_sdk_does_not_have_is_said(folder: Path) -> None:
    """A region, or a family that version 2 does not know."""
    with pytest.raises(SpecError, match="eu-west-1"):
        sdk_image("vllm", "eu-west-1", folder=folder)
    with pytest.raises(SpecError, match="sglang-server"):
        sdk_image("sglang", "us-east-1", folder=folder)


def test_without_the_sdk_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing of the SDK is ever imported."""
    monkeypatch.setattr("importlib.metadata.distribution", _no_distribution)
    with pytest.raises(MissingExtraError) as caught:
        sdk_image("tgi", "us-east-1")
    assert "extra `sagemaker`" in (caught.value.hint or "")
    assert "sagemaker" not in sys.modules


def test_the_installed_sdk_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever its distribution says that its files are; version 3 before version 2."""

    class Distribution:
        def locate_file(self, path: str) -> Path:
            assert path == "sagemaker/core/image_uri_config"
            return folder

    monkeypatch.setattr("importlib.metadata.distribution", lambda _: Distribution())
    assert sdk_image("vllm", "us-east-1").version == "2.6"


def _no_distribution(name: str) -> object:
    from importlib.metadata import PackageNotFoundError  # noqa: PLC0415 - one use

    raise PackageNotFoundError(name)
