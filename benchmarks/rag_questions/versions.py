"""A corpus with near-duplicates: the documents and an older, slightly different version of each, as wikis have them.

`python -m benchmarks.rag_questions.versions docs /tmp/versions` makes `/tmp/versions/docs` and `/tmp/versions/archive`;
ingest both, and the questions of `project.yaml` count a found copy as its original.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

EVERY = 9
"""A line of so many is left out of the older version."""


def make(source: Path, target: Path) -> int:
    """Copy the documents twice; how many there are. What is at the target already is overwritten."""
    shutil.copytree(source, target / "docs", dirs_exist_ok=True)
    paths = sorted(source.rglob("*.md"))
    for path in paths:
        older = target / "archive" / path.relative_to(source)
        older.parent.mkdir(parents=True, exist_ok=True)
        older.write_text(_older(path.read_text(encoding="utf-8")), encoding="utf-8")
    return len(paths)


def _older(text: str) -> str:
    lines = text.split("\n")
    kept = [line for number, line in enumerate(lines, 1) if number % EVERY or line.startswith("#")]
    return "\n".join([*kept, "", "This page is of an older version."])


if __name__ == "__main__":
    print(make(Path(sys.argv[1]), Path(sys.argv[2])), "documents, twice")
