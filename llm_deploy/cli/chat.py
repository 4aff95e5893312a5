"""`llmdeploy chat`: a conversation."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from llm_deploy.cli import asked, options

if TYPE_CHECKING:
    from llm_deploy.client.model import Model
    from llm_deploy.dialects.types import GenerationRequest


def chat(
    whom: asked.Whom,
    target: options.Target = None,
    system: Annotated[
        str | None, typer.Option("--system", metavar="TEXT", help="What the model is told first.")
    ] = None,
    max_new_tokens: asked.MaxNewTokens = None,
    temperature: asked.Temperature = None,
    top_p: asked.TopP = None,
    seed: asked.Seed = None,
    component: asked.Component = None,
    wait_s: asked.Wait = 0,
    timeout_s: asked.AnswerTimeout = None,
    key_from: asked.KeyFrom = asked.KEY_VARIABLE,
    model: asked.ModelName = None,
) -> None:
    """Talk to a model. Ctrl-C stops an answer; /reset forgets the conversation; /exit or Ctrl-D leaves.

    Without a terminal each line of standard input is a message.
    """
    llm = asked.connected(
        whom, target, component=component, wait_s=wait_s, timeout_s=timeout_s, key_from=key_from, model=model
    )
    request = asked.parameters(llm, max_new_tokens, temperature, top_p, seed, ())
    interactive = sys.stdin.isatty()
    if interactive:
        typer.echo("Ctrl-C stops an answer, /reset forgets the conversation, /exit leaves.", err=True)
    _converse(llm, request, _messages(interactive=interactive), system=system, interactive=interactive)


def _converse(
    llm: Model,
    request: GenerationRequest,
    messages: Iterable[str],
    *,
    system: str | None,
    interactive: bool,
) -> None:
    from llm_deploy.cli.answers import show_stream
    from llm_deploy.cli.main import show_error
    from llm_deploy.errors import LlmDeployError

    opening = [{"role": "system", "content": system}] if system else []
    history = list(opening)
    for message in messages:
        if message == "/exit":
            return
        if message == "/reset":
            history = list(opening)
            continue
        history.append({"role": "user", "content": message})
        try:
            said = show_stream(llm.stream(replace(request, prompt=None, messages=tuple(history))), stoppable=True)
        except LlmDeployError as error:  # also of the way there: a person may wait for it, or sign in again
            if not interactive:
                raise
            said = ""
            show_error(error)
        if said:
            history.append({"role": "assistant", "content": said})
        else:
            history.pop()  # what was not answered is not part of the conversation; engines refuse empty messages


def _messages(*, interactive: bool) -> Iterator[str]:
    """What the person says, line by line; a bare Ctrl-C at the prompt only starts a new line."""
    if not interactive:
        yield from filter(None, (line.strip() for line in sys.stdin))
        return
    import readline  # noqa: F401 - its import gives input() history and editing

    while True:
        try:
            line = input("> ").strip()
        except KeyboardInterrupt:
            typer.echo(err=True)
            continue
        except EOFError:
            typer.echo(err=True)
            return
        if line:
            yield line
