"""The invariants of ARCHITECTURE.md that no single module's test can hold. The import contracts hold the others."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "llm_deploy"
DATA = sorted(path for path in PACKAGE.rglob("data/*") if path.suffix in {".yaml", ".json"})
PRODUCT = sorted(path for path in PACKAGE.rglob("*.py") if "emulator" not in path.parts)


def strings(path: Path) -> Iterator[str]:
    """Every string of a module that is not a docstring."""
    tree = ast.parse(path.read_text("utf-8"))
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.value


def test_import_contracts_hold() -> None:
    """Layers point down, pure modules import no cloud library, the emulator and the product meet on the wire only."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_the_product_has_no_branch_for_the_local_cloud() -> None:
    """Local is a session with other addresses; nothing of the product compares anything with its name."""
    for path in PRODUCT:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Compare | ast.match_case):
                compared = {item.value for item in ast.walk(node) if isinstance(item, ast.Constant)}
                assert "local" not in compared, f"{path}:{getattr(node, 'lineno', '?')}"


def test_no_fact_about_images_or_accounts_is_written_in_python() -> None:
    """Registries, account numbers and driver images are data with a source and a date."""
    fact = re.compile(r"\b\d{12}\b|^ml\.[a-z0-9]+\.\d*x?large$")
    example = "123456789012"  # AWS's documentation account, in messages that show the form of an ARN or a URI
    for path in PRODUCT:
        found = {text for text in strings(path) if fact.search(text) and example not in text}
        found -= {"ml.g5.2xlarge"}  # the seed's reference default
        assert not found, (path, found)


class StrictLoader(yaml.SafeLoader):
    """YAML that refuses a key which stands twice; the plain loader silently keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's signature
        """The mapping, if its keys differ."""
        keys = [key.value for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"a key stands twice: {node.start_mark}"
        return super().construct_mapping(node, deep=deep)


def parsed(path: Path) -> Any:  # noqa: ANN401 - any document
    """A data file's content."""
    text = path.read_text("utf-8")
    return json.loads(text) if path.suffix == ".json" else yaml.load(text, StrictLoader)  # noqa: S506 - a safe loader


def origins(path: Path) -> str:
    """What a data file says of itself: the comment at its head, and its members named source or date."""
    lines = path.read_text("utf-8").splitlines()
    head = "" if path.suffix == ".json" else "\n".join(takewhile(lambda line: line.startswith("#"), lines))
    return "\n".join([head, *members_of(parsed(path))])


def members_of(document: object) -> Iterator[str]:
    """`source: ...` and `date: ...`, however deep."""
    if isinstance(document, dict):
        for key, value in document.items():
            if key in {"source", "date"}:
                yield f"{key}: {value}"
            yield from members_of(value)
    elif isinstance(document, list):
        yield from (member for item in document for member in members_of(item))


@pytest.mark.parametrize("path", DATA, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_data_file_is_readable_and_says_where_it_is_from(path: Path) -> None:
    """It parses, no key stands twice, and what is a fact has a source; the product's facts, which age, have a date."""
    document = parsed(path)
    assert document
    if isinstance(document, dict) and "Statement" in document:
        assert document["Version"] == "2012-10-17"  # a policy; IAM's documents have no place for a comment
        return
    said = origins(path)
    assert re.search(r"\bsources?:", said, re.IGNORECASE), path
    if "emulator" not in path.parts:
        assert re.search(r"\b20\d\d-\d\d\b", said), path


BROAD = {"Exception", "BaseException"}


def broad_catches(source: str) -> list[int]:
    """Lines that catch everything: bare, alone, in a tuple, through a module, by `suppress`; not mere cleaning up."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ExceptHandler):
            only_cleans_up = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
            if not only_cleans_up and (node.type is None or is_broad(node.type)):
                found.append(node.lineno)
        elif isinstance(node, ast.Call) and last_name(node.func) == "suppress" and any(map(is_broad, node.args)):
            found.append(node.lineno)
    return found


def is_broad(node: ast.expr) -> bool:
    """Whether an exception that is named here, or one of a tuple, is the root of them all."""
    if isinstance(node, ast.Tuple):
        return any(map(is_broad, node.elts))
    return last_name(node) in BROAD


def last_name(node: ast.expr) -> str:
    """`c` of `a.b.c` and of `c`."""
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def test_nothing_catches_everything() -> None:
    """A broad except hides bugs; where one stands it cleans up and raises again."""
    found = {path: lines for path in sorted(PACKAGE.rglob("*.py")) if (lines := broad_catches(path.read_text("utf-8")))}
    assert found == {}


@pytest.mark.parametrize(
    ("source", "caught"),
    [
        ("try: x()\nexcept: pass", [2]),
        ("try: x()\nexcept Exception: pass", [2]),
        ("try: x()\nexcept (OSError, Exception) as e: log(e)", [2]),
        ("try: x()\nexcept builtins.BaseException: pass", [2]),
        ("try: x()\nexcept* Exception: pass", [2]),
        ("try: x()\nexcept BaseException as e: raise E from e", [2]),
        ("with suppress(OSError, Exception): x()", [1]),
        ("with contextlib.suppress(Exception): x()", [1]),
        ("with contextlib.suppress(OSError): x()", []),
        ("try: x()\nexcept (OSError, ValueError): pass", []),
        ("try: x()\nexcept BaseException:\n    tidy()\n    raise", []),
    ],
)
def test_every_way_to_catch_everything_is_seen(source: str, caught: list[int]) -> None:
    """The rule itself, held to what people write."""
    assert broad_catches(source) == caught


@pytest.mark.parametrize("forbidden", ["eval", "exec", "os.system", "pickle", "shell=True"])
def test_what_runs_strings_as_code_is_absent(forbidden: str) -> None:
    """No eval, no pickle, no shell strings; unsafe YAML is a lint error."""
    word = re.compile(
        rf"(?<![\w.]){re.escape(forbidden)}" + (r"\(" if forbidden in {"eval", "exec", "os.system"} else "")
    )
    for path in sorted(PACKAGE.rglob("*.py")):
        assert not word.search(path.read_text("utf-8")), (path, forbidden)


def test_the_page_of_rows_is_up_to_date_and_every_claimed_row_is_proved() -> None:
    """A row that is claimed and that no test carries fails here."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "rows.py"), "--check"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
