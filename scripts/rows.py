"""Write `docs/reference/rows.md`: each row of the requirements, what serves it, and the tests that prove it.

The tests are found by reading their source, so that no test has to be imported. `--check` writes nothing and fails
when the page is out of date or a row is claimed without a test, or claimed whole where a part is missing.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "rows.md"
SHOWN_TESTS = 6


def proofs_by_row(folder: Path) -> dict[str, list[str]]:
    """Row id to `file::test`, from the `row` marks."""
    found = defaultdict(list)
    for path in sorted(folder.rglob("test_*.py")):
        module = ast.parse(path.read_text("utf-8"))
        module_rows = [row for node in module.body if isinstance(node, ast.Assign) for row in rows_in(node.value)]
        for node in ast.walk(module):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                own = [row for decorator in node.decorator_list for row in rows_in(decorator)]
                for row in [*module_rows, *own]:
                    found[row].append(f"{path.relative_to(ROOT)}::{node.name}")
    return dict(found)


def rows_in(node: ast.AST) -> Iterator[str]:
    """The ids in `pytest.mark.row("T5")`, wherever it stands in an expression."""
    for call in ast.walk(node):
        is_row = isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "row"
        if isinstance(call, ast.Call) and is_row:
            yield from (
                item.value for item in call.args if isinstance(item, ast.Constant) and isinstance(item.value, str)
            )


def page(rows: Mapping[str, Mapping[str, Any]], tests: Mapping[str, list[str]]) -> str:
    """The page's text."""
    lines = [
        "# Requirements, row by row",
        "",
        "Written by `python scripts/rows.py` from `tests/rows.yaml` and the tests' marks. A row without a command is",
        "not built yet; a row in part says what of it is not.",
        "",
        "| row | what | by | proved by |",
        "| --- | --- | --- | --- |",
    ]
    for row, facts in rows.items():
        proofs = tests.get(row, [])
        shown = "<br>".join(f"`{test}`" for test in proofs[:SHOWN_TESTS])
        more = f"<br>and {len(proofs) - SHOWN_TESTS} more" if len(proofs) > SHOWN_TESTS else ""
        lines.append(f"| {row} | {_claim(facts)} | {facts['by']} | {shown}{more} |")
    return "\n".join([*lines, ""])


def _claim(facts: Mapping[str, Any]) -> str:
    """What is claimed, and what of the row is not."""
    what = str(facts["what"])
    return what + (f"<br>**In part.** Not yet: {facts['missing']}" if facts["claimed"] == "partly" else "")


def wrong(rows: Mapping[str, Mapping[str, Any]], tests: Mapping[str, list[str]]) -> list[str]:
    """What is not honest about the rows, in sentences."""
    found = [f"{row} is no row that was asked for" for row in sorted(set(tests) - set(rows))]
    for row, facts in rows.items():
        claimed = facts["claimed"]
        if claimed not in {True, False, "partly"}:
            found.append(f"{row}: claimed is true, false or partly, not {claimed}")
        if claimed and not tests.get(row):
            found.append(f"{row} is claimed and no test proves it")
        if (claimed == "partly") != ("missing" in facts):
            found.append(f"{row}: what is missing is said where a row is claimed partly, and only there")
        if claimed is True and "not yet" in facts["what"]:
            found.append(f"{row} is claimed whole and says that a part is not there")
        if not claimed and facts["by"]:
            found.append(f"{row} is not claimed and names a command")
    return found


def main() -> None:
    """Write the page, or check it."""
    rows = yaml.safe_load((ROOT / "tests" / "rows.yaml").read_text("utf-8"))
    tests = proofs_by_row(ROOT / "tests")
    if problems := wrong(rows, tests):
        sys.exit("\n".join(problems))
    text = page(rows, tests)
    if "--check" not in sys.argv:
        PAGE.write_text(text, "utf-8")
        print(f"{PAGE.relative_to(ROOT)}: {len(rows)} rows")
    elif not PAGE.exists() or PAGE.read_text("utf-8") != text:
        sys.exit("docs/reference/rows.md is out of date: run `make rows`")


if __name__ == "__main__":
    main()
