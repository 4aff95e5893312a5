"""The one rule for what is not shown: by a variable's name, and by the look of its value. Pure.

It errs on the side of hiding: what is masked in vain is still in the spec, what is shown in a log is out for good.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MASK = "********"
"""What stands in the place of a secret."""

_SECRET_NAME = re.compile(
    r"(?:TOKEN|(?:^|_)(?:PAT|PWD|PASS|AUTH))$"  # not MAX_TOTAL_TOKENS
    r"|_KEY$"  # OPENAI_KEY; not the `Key` of a tag, nor KmsKeyId
    r"|SECRET|PASSW(?:OR)?D|PASSPHRASE|CREDENTIAL|(?:API|ACCESS|PRIVATE)_?KEY"
)
_WORD_BEGINS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[-.]")

_SECRET_VALUE = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"hf_[A-Za-z0-9]{16,}"  # Hugging Face
    r"|sk-(?=[A-Za-z_-]*[0-9])[A-Za-z0-9_-]{20,}"  # OpenAI and those who follow it; there are words that begin so
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}"  # AWS's ids of keys; the secret itself has no form of its own
    r"|(?:gh[oprsu]_|github_pat_|glpat-|xox[abprs]-)[A-Za-z0-9_-]{16,}"  # GitHub, GitLab, Slack
    r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\."  # JSON web tokens
    r")"
    r"|://[^/\s:@]*:[^/\s@]+@"  # a password in an address
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|(?i:--?[a-z0-9_-]*(?:token|secret|password|(?:api|access|private)[_-]?key)[ =]+\S)"  # --api-key VALUE
)


def is_secret(name: str, value: str) -> bool:
    """Whether a variable's value is not to be shown: by its name, or because a secret seems to stand in it."""
    return bool(_SECRET_NAME.search(_WORD_BEGINS.sub("_", name).upper()) or _SECRET_VALUE.search(value))


def masked(value: Any, name: str = "") -> Any:  # noqa: ANN401 - a document's values are of any JSON type
    """A document as plain data, with every text that is secret replaced; `name` is what the value goes by.

    In a list of names and values (tags; variables as some services write them) a value goes by its entry's name.
    """
    if isinstance(value, str):
        return MASK if is_secret(name, value) else value
    if isinstance(value, Mapping):
        return {key: masked(item, _name_of(key, value)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item, name) for item in value]
    return value


def _name_of(key: object, entry: Mapping[Any, Any]) -> str:
    named = next((entry[word] for word in ("Key", "Name", "key", "name") if word in entry), None)
    return str(named) if key in {"Value", "value"} and named is not None else str(key)
