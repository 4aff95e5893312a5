"""Write `docs/reference/exit-codes.md` from the error tree; a test holds the page to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from llm_deploy.errors import LlmDeployError

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "exit-codes.md"
HEAD = """# Exit codes

Every command ends with one of these. Messages go to standard error, results to standard output.
Written by `python scripts/exit_codes.py` from `llm_deploy/errors.py`.

| code | error | meaning | over HTTP | worth trying again |
| --- | --- | --- | --- | --- |
| 0 |  | It worked; after a deletion, nothing is left. |  |  |
"""
TAIL = """| 2 |  | The command line is wrong: an unknown option, a missing argument. |  |  |
| 130 |  | Interrupted with Ctrl-C. Running the same command again goes on from there. |  |  |
"""


def kinds(parent: type[LlmDeployError] = LlmDeployError) -> Iterator[type[LlmDeployError]]:
    """Every kind of error of the tree, parents first."""
    yield parent
    for child in parent.__subclasses__():
        yield from kinds(child)


def page() -> str:
    """The page's text."""
    ours = {kind for kind in kinds() if kind.__module__ == LlmDeployError.__module__}
    rows = (
        f"| {kind.exit_code} | `{kind.__name__}` | {(kind.__doc__ or '').splitlines()[0].strip()} "
        f"| {kind.http_status} | {'yes' if kind.retryable else 'no'} |\n"
        for kind in sorted(ours, key=lambda kind: (kind.exit_code, kind.__name__))
    )
    return HEAD + "".join(rows) + TAIL


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    print(PAGE.name)
