"""The bar that a download shows."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[str, int, int | None], None] | None]:
    """Show phase and bytes on a terminal's standard error; nothing, and `None`, where nobody watches."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(title, visible=False)
        yield lambda phase, done, total: bars.update(
            task, description=f"{title}: {phase}", completed=done, total=total, visible=True
        )
