"""Where the gateway keeps keys, usage and budgets: the section `state:` of its file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from llm_deploy.errors import SpecError
from llm_deploy.settings.announcement import state_dir

URL_VARIABLE: Final = "LLMDEPLOY_STATE"
FILE_NAME: Final = "gateway.db"
SQLITE: Final = "sqlite"
POSTGRESQL: Final = ("postgresql", "postgresql+psycopg", "postgres")
EXPECTED: Final = "expected sqlite:///PATH or postgresql+psycopg://USER@HOST/DATABASE"


class StateConfig(BaseModel):
    """Where state is, and how it is kept up to date."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)

    url: str | None = None
    """sqlite:///PATH or postgresql+psycopg://USER@HOST/DATABASE, without a password: that one is read from PGPASSWORD,
    from ~/.pgpass, or from the URL in LLMDEPLOY_STATE, which counts where none is given here. A file in
    LLMDEPLOY_HOME where there is neither."""
    replicas: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Gateway processes that share this state, workers included. Above 1, PostgreSQL is needed."""
    write_every_s: Annotated[float, Field(ge=0.05, le=60)] = 1.0
    """Usage is written, and changes of keys are read, this often. A crash loses what was counted since."""
    keys_usable_s: Annotated[float, Field(ge=60, le=30 * 86_400)] = 86_400
    """Keys go on being accepted for this long while the database does not answer."""

    usage_hours_days: Annotated[int, Field(ge=2, le=36_500)] = 90
    """Usage is kept by the hour for so many days, and then added up by the day of UTC."""
    usage_days: Annotated[int, Field(ge=2, le=36_500)] = 1_100
    """Usage by the day is kept for so many days, three years by default, and then deleted."""

    @field_validator("url")
    @classmethod
    def _without_password(cls, url: str | None) -> str | None:
        if url is None:
            return None
        if scheme(url) is None:
            raise ValueError(EXPECTED)
        if urlsplit(url).password is not None or "password=" in url:
            raise ValueError(f"leave the password out: set PGPASSWORD, or the whole URL in {URL_VARIABLE}")
        return url


def resolved_url(config: StateConfig) -> str:
    """The URL to connect to; it may hold a password, so that it is never printed.

    Raises:
        SpecError: The variable's URL is of no kind that is known, or more than one process would share a file.
    """
    url = config.url or os.environ.get(URL_VARIABLE) or default_url()
    kind = scheme(url)
    if kind is None:
        raise SpecError(f"{URL_VARIABLE}: {EXPECTED}.")
    if kind == SQLITE and config.replicas > 1:
        raise SpecError(
            f"{config.replicas} replicas (or workers) of the gateway cannot share a SQLite file.",
            hint="Set the state's URL to postgresql+psycopg://USER@HOST/DATABASE, or run one process.",
        )
    return url if kind == SQLITE else f"postgresql+psycopg{url[url.index(':') :]}"


def default_url() -> str:
    """The file beside the rest of this user's state."""
    return f"sqlite:///{state_dir('gateway') / FILE_NAME}"


def scheme(url: str) -> str | None:
    """`sqlite` or `postgresql`; `None` for any other text."""
    head, separator, rest = url.partition("://")
    if not separator or not rest.strip("/"):
        return None
    if head == SQLITE:
        return SQLITE if rest.startswith("/") else None
    return "postgresql" if head in POSTGRESQL else None


def sqlite_path(url: str) -> Path | None:
    """The file of a SQLite URL; `None` for a server."""
    return Path(url.removeprefix("sqlite:///")).expanduser().absolute() if scheme(url) == SQLITE else None
