"""The invariants of ARCHITECTURE.md that no single module's test can hold. The import contracts hold the others."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "llm_deploy"
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


def test_every_data_file_of_facts_says_where_it_is_from() -> None:
    """A source and a date stand in each of them."""
    files = [*PACKAGE.glob("catalog/data/*.yaml"), *PACKAGE.glob("targets/sagemaker/data/*.yaml")]
    assert files
    for path in files:
        text = path.read_text("utf-8").lower()
        assert "source" in text, path
        assert re.search(r"20\d\d-\d\d", text), path


def test_nothing_catches_everything() -> None:
    """A broad except hides bugs; where one stands it cleans up and raises again."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ExceptHandler):
                name = getattr(node.type, "id", "bare" if node.type is None else "")
                if isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None:
                    continue  # it only cleans up
                assert name not in {"bare", "Exception", "BaseException"}, f"{path}:{node.lineno}"


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
