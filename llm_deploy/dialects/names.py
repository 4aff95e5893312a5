"""The dialects' names, apart from the dialects: whoever only names one need not load them."""

from __future__ import annotations

from typing import Literal, get_args

from llm_deploy.errors import SpecError

DialectName = Literal["tgi", "openai", "openai-chat", "lmi", "auto"]
"""`openai-chat`: chat completions only (SGLang). `auto`: asks in TGI's shape, reads whatever comes."""


def check_name(name: str) -> None:
    """Refuse a name that is no dialect's.

    Raises:
        SpecError: It is none.
    """
    if name not in get_args(DialectName):
        raise SpecError(f"unknown dialect {name!r}", hint=f"Choose one of: {', '.join(get_args(DialectName))}.")
