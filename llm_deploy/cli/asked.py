"""What `invoke` and `chat` are told: whom to ask, with which parameters, and the prompt."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_deploy.cli.options import checked_name

if TYPE_CHECKING:
    from llm_deploy.client.model import Model
    from llm_deploy.dialects.types import GenerationRequest

MAX_PROMPT_BYTES = 6 * 1024 * 1024
"""SageMaker's limit of a request body. Source: service model of InvokeEndpoint."""

MAX_SCHEMA_BYTES = 256 * 1024

KEY_VARIABLE = "LLMDEPLOY_API_KEY"


def _checked_whom(whom: str) -> str:
    from llm_deploy.client.addresses import is_url

    return whom if is_url(whom) else checked_name(whom)


Whom = Annotated[
    str, typer.Argument(metavar="NAME|URL", help="A deployment's name, or a model's address.", callback=_checked_whom)
]
Component = Annotated[
    str | None, typer.Option("--component", metavar="NAME", help="Inference component, where there are several.")
]
MaxNewTokens = Annotated[int | None, typer.Option("--max-new-tokens", metavar="N", min=1, help="Longest answer.")]
Temperature = Annotated[float | None, typer.Option("--temperature", min=0, help="0: always the likeliest token.")]
TopP = Annotated[float | None, typer.Option("--top-p", min=0, max=1, help="Sample from this much probability.")]
Seed = Annotated[int | None, typer.Option("--seed", metavar="N", help="Same seed, same request: same text.")]
Wait = Annotated[
    float, typer.Option("--wait", metavar="SECONDS", min=0, help="Wait for an endpoint that is scaled to zero.")
]
AnswerTimeout = Annotated[
    float | None, typer.Option("--timeout", metavar="SECONDS", min=0.001, help="Longest time for a whole answer.")
]
KeyFrom = Annotated[
    str,
    typer.Option("--api-key-env", metavar="VARIABLE", help="For a URL: the variable with its API key, if it is set."),
]
ModelName = Annotated[
    str | None, typer.Option("--model", metavar="MODEL", help="For a URL of several models: which one.")
]


def connected(
    whom: str,
    target: str | None,
    *,
    component: str | None,
    wait_s: float,
    timeout_s: float | None,
    key_from: str = KEY_VARIABLE,
    model: str | None = None,
) -> Model:
    """The model that a name or a URL says; nothing is asked of it yet."""
    from llm_deploy.client import connect
    from llm_deploy.client.addresses import is_url

    if is_url(whom):
        key = os.environ.get(key_from) or None
        return connect.open(whom, api_key=key, model=model, wait_for_capacity_s=wait_s, answer_timeout_s=timeout_s)
    from llm_deploy.targets import registry

    return connect.open(
        whom,
        inference_component_name=component,
        session=registry.connect(target).session,
        wait_for_capacity_s=wait_s,
        answer_timeout_s=timeout_s,
    )


def parameters(
    llm: Model,
    max_new_tokens: int | None,
    temperature: float | None,
    top_p: float | None,
    seed: int | None,
    stop: tuple[str, ...],
) -> GenerationRequest:
    """A request without prompt: the model's defaults, and what was said."""
    given: dict[str, Any] = {
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "seed": seed,
        "stop": stop or None,
    }
    return replace(llm.defaults(), **{option: value for option, value in given.items() if value is not None})


def the_prompt(prompt: str | None, file: str | None) -> str:
    """The prompt, from one of the two places. Raises SpecError for none, both, or one that cannot be read."""
    from llm_deploy.errors import SpecError

    if (prompt is None) == (file is None):
        raise SpecError("give a prompt or --file, one of them")
    if file is not None:
        prompt = _read(file, MAX_PROMPT_BYTES)
    if not prompt:
        raise SpecError("the prompt is empty")
    return prompt


def the_schema(file: str | None) -> dict[str, Any] | None:
    """The JSON schema in a file, if one is named. Raises SpecError for anything else."""
    import json

    from llm_deploy.errors import SpecError

    if file is None:
        return None
    try:
        schema = json.loads(_read(file, MAX_SCHEMA_BYTES))
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{file}: not JSON: {error}") from error
    if not isinstance(schema, dict):
        raise SpecError(f"{file}: a JSON schema is an object")
    return schema


def _read(file: str, most_bytes: int) -> str:
    from llm_deploy.errors import SpecError

    try:
        if file == "-":
            data = sys.stdin.buffer.read(most_bytes + 1)
        else:
            with Path(file).open("rb") as opened:
                data = opened.read(most_bytes + 1)
        text = data.decode("utf-8")
    except OSError as error:
        raise SpecError(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SpecError(f"{file}: not UTF-8 text (byte {error.start})") from error
    if len(data) > most_bytes:
        raise SpecError(f"{file}: longer than {most_bytes} bytes, which is all that is taken")
    return text
