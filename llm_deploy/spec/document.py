"""Base of every part of a spec."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from llm_deploy.spec.masking import masked


class Document(BaseModel):
    """Base of every part of a spec: immutable, and a misspelt field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:  # noqa: ANN401 - raw input
        """`copies: yes` is a slip; pydantic would read 1."""
        if isinstance(value, bool) and _is_number(cls.model_fields[info.field_name or ""].annotation):
            raise PydanticCustomError("number_expected", "expected a number")
        return value

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        return _masked(super().__repr_args__())


def _masked(arguments: Iterable[tuple[str | None, Any]]) -> Iterator[tuple[str | None, Any]]:
    """What a document shows of itself in logs and tracebacks: a token that the spec allows is still not for them."""
    for name, value in arguments:
        if name == "environment" and isinstance(value, dict):
            yield name, masked(value)
        else:
            yield name, value


def _is_number(annotation: object) -> bool:
    return bool({annotation, *get_args(annotation)} & {int, float})
