"""The data files, read once a process. PyYAML's C loader takes about 6 ms for the largest."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import yaml

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@cache
def data(name: str) -> dict[str, Any]:
    """The content of `catalog/data/<name>.yaml`. It is shared: callers do not change it."""
    text = (files("llm_deploy.catalog") / "data" / f"{name}.yaml").read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.load(text, Loader=_LOADER)  # noqa: S506 - a safe loader, in C where it exists
    return loaded
