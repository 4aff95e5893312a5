"""Who deploys and where to: settings from `.env` and the environment, under the seed's names.

`Settings` is made on first use, because pydantic-settings takes longer to import than most commands run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llm_deploy.settings.vocabulary import Settings, load_settings

__all__ = ["Settings", "load_settings"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module's attributes are of any type
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from llm_deploy.settings import vocabulary  # noqa: PLC0415 - loading it late is this function's purpose

    return getattr(vocabulary, name)
