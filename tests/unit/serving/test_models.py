"""The registry and the check of files, with a small stand-in for the 98 MB of a real one."""

from __future__ import annotations

import errno
import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from llm_deploy.errors import LocalCloudError, ModelFileError, NotFoundError
from llm_deploy.serving import bert_gguf, models
from llm_deploy.serving.packages import package_dir

CONTENT = b"GGUF and so on"


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`tiny`, already in the cache."""
    monkeypatch.setenv("LLMDEPLOY_CACHE", str(tmp_path))
    digest = hashlib.sha256(CONTENT).hexdigest()
    real = models.known_models()["smollm2"]
    tiny = replace(real, name="tiny", file="t/tiny.gguf", file_sha256=digest, file_bytes=len(CONTENT))
    monkeypatch.setattr(models, "known_models", lambda: {"tiny": tiny})
    path = package_dir(tiny.package, tiny.version, tiny.package_sha256) / tiny.file
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    return path


def test_the_registry_is_complete() -> None:
    """Every entry parses, and its hashes are sha256."""
    for model in models.known_models().values():
        assert len(model.package_sha256) == len(model.file_sha256) == 64
        assert model.licence


def test_an_unknown_name_gets_a_suggestion() -> None:
    """What was probably meant, and what there is."""
    with pytest.raises(NotFoundError) as caught:
        models.find("smolm2")
    assert caught.value.hint == "Did you mean 'smollm2'? Known models: minilm, smollm2."


def test_a_file_is_hashed_once(model: Path) -> None:
    """The second pull reads nothing; a file that was touched is read again."""
    assert models.pull("tiny") == models.find("tiny") == model
    seen: list[str] = []
    models.pull("tiny", progress=lambda phase, *_: seen.append(phase))
    assert seen == []
    model.write_bytes(CONTENT)
    models.pull("tiny", progress=lambda phase, *_: seen.append(phase))
    assert seen == ["verify"]


@pytest.mark.parametrize("content", [b"GGUF and so 0n", b"GGUF", b""])
def test_a_damaged_file_is_refused_with_the_way_out(model: Path, content: bytes) -> None:
    """A flipped byte, a truncated and an empty file; the message says what to run."""
    models.pull("tiny")
    model.write_bytes(content)
    for call in (models.pull, models.verify):
        with pytest.raises(ModelFileError, match="is damaged") as caught:
            call("tiny")
        assert caught.value.hint is not None
        assert caught.value.hint == "Fetch it again: llmdeploy models pull tiny"
        assert models.state("tiny") == "damaged"


def test_a_damaged_file_is_fetched_again_when_somebody_is_told(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Removed, fetched, checked; who asked hears why. A second damage is not repaired for ever."""
    models.pull("tiny")
    told: list[str] = []
    package = model.parents[1]

    def index(content: bytes) -> None:
        def fetch(*_: object, **__: object) -> Path:
            if not package.is_dir():  # as the real one: what is there is not fetched
                model.parent.mkdir(parents=True)
                model.write_bytes(content)
            return package

        monkeypatch.setattr(models, "fetch_package", fetch)

    index(CONTENT)
    model.write_bytes(b"GGUF")
    assert models.pull("tiny", on_damage=lambda error: told.append(error.message)) == model
    assert model.read_bytes() == CONTENT
    assert len(told) == 1
    assert "has 4 bytes instead of" in told[0]

    index(b"damaged at its source")
    model.write_bytes(b"GGUF")
    with pytest.raises(ModelFileError, match="is damaged"):
        models.pull("tiny", on_damage=lambda error: told.append(error.message))
    assert len(told) == 2


def test_what_another_process_has_repaired_is_not_removed(model: Path) -> None:
    """Two pulls meet the same damage; the slower one finds the file whole and takes it."""
    models.pull("tiny")
    model.write_bytes(b"GGUF")
    assert models.pull("tiny", on_damage=lambda _: _write(model, CONTENT)) == model
    assert models.state("tiny") == "ready"


def test_the_state_of_a_model(model: Path) -> None:
    """Ready only after its hash was right; damaged also when the file is missing from its package; else not fetched."""
    assert models.state("tiny") == "ready"
    model.write_bytes(CONTENT[::-1])
    assert models.state("tiny") == "damaged"
    model.unlink()
    assert models.state("tiny") == "damaged"
    models.remove("tiny")
    assert models.state("tiny") == "not fetched"


def test_verify_reads_the_file_even_if_nothing_seems_to_have_changed(model: Path) -> None:
    """Damage that keeps size and time is found by `verify`, and by `pull(verify=True)`."""
    models.pull("tiny")
    status = model.stat()
    model.write_bytes(CONTENT[::-1])
    os.utime(model, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert models.pull("tiny") == model
    with pytest.raises(ModelFileError):
        models.pull("tiny", verify=True)


def test_remove(model: Path) -> None:
    """Gone, and gone again is no error."""
    assert models.remove("tiny")
    assert not model.exists()
    assert not models.remove("tiny")
    assert models.find("tiny") is None
    with pytest.raises(ModelFileError, match="not in the cache"):
        models.verify("tiny")


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


@pytest.fixture
def made(model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`tiny`, made of another file of its package; the conversion writes the content that the hash is of."""
    source = model.with_name("weights")
    source.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    tiny = replace(models.known_models()["tiny"], made_from="t/weights", made_from_sha256=digest, kind="embedding")
    monkeypatch.setattr(models, "known_models", lambda: {"tiny": tiny})
    monkeypatch.setattr(bert_gguf, "convert", lambda _folder, target, **_: _write(target, CONTENT))
    model.unlink()
    return model


def test_a_model_is_made_of_what_the_package_holds(made: Path) -> None:
    """Once; the result has its hash, and nothing else is left beside it."""
    assert models.pull("tiny") == made
    assert made.read_bytes() == CONTENT
    assert {path.name for path in made.parent.iterdir()} == {made.name, "weights", f".{made.name}.verified"}
    made.with_name("weights").unlink()
    assert models.pull("tiny") == made
    assert models.state("tiny") == "ready"


def test_nothing_is_made_of_a_damaged_file(made: Path) -> None:
    """Its hash is looked at first; what is missing is damaged too."""
    made.with_name("weights").write_bytes(b"wheights")
    for _ in range(2):
        with pytest.raises(ModelFileError, match="weights"):
            models.pull("tiny")
        assert not made.exists()
        made.with_name("weights").unlink(missing_ok=True)


def test_a_conversion_that_fails_leaves_nothing(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a half file at its place nor one beside it; a full disk is said so."""

    def fail(folder: Path, target: Path, name: str) -> None:
        _write(target, b"GG")
        raise OSError(errno.ENOSPC, f"{folder} {name}")

    monkeypatch.setattr(bert_gguf, "convert", fail)
    with pytest.raises(LocalCloudError, match="No room"):
        models.pull("tiny")
    assert [path.name for path in made.parent.iterdir()] == ["weights"]
