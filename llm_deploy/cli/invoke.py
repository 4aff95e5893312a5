"""`llmdeploy invoke`: one prompt, one answer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from llm_deploy.cli import asked, options

if TYPE_CHECKING:
    from llm_deploy.dialects.types import GenerationRequest


def invoke(
    whom: asked.Whom,
    prompt: Annotated[str | None, typer.Argument(metavar="[PROMPT]", help="The prompt; or use --file.")] = None,
    target: options.Target = None,
    file: Annotated[
        str | None, typer.Option("--file", metavar="FILE", help="Read the prompt; -: standard input.")
    ] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Write the answer while it is made.")] = False,
    system: Annotated[
        str | None, typer.Option("--system", metavar="TEXT", help="Ask in a chat that begins with this.")
    ] = None,
    schema: Annotated[
        str | None, typer.Option("--json-schema", metavar="FILE", help="The answer is JSON of this schema.")
    ] = None,
    regex: Annotated[
        str | None, typer.Option("--regex", metavar="EXPRESSION", help="The answer matches this expression.")
    ] = None,
    max_new_tokens: asked.MaxNewTokens = None,
    temperature: asked.Temperature = None,
    top_p: asked.TopP = None,
    seed: asked.Seed = None,
    stop: Annotated[
        list[str] | None, typer.Option("--stop", metavar="TEXT", help="Stop there; may be repeated.")
    ] = None,
    component: asked.Component = None,
    wait_s: asked.Wait = 0,
    timeout_s: asked.AnswerTimeout = None,
    key_from: asked.KeyFrom = asked.KEY_VARIABLE,
    model: asked.ModelName = None,
    as_json: options.AsJson = False,
) -> None:
    """Send one prompt to a deployment, or to a model's address, and print the answer; figures go to standard error.

    With --json: one document; with --stream as well, one line a piece.
    """
    from llm_deploy.cli import answers

    text, form = asked.the_prompt(prompt, file), asked.the_schema(schema)
    llm = asked.connected(
        whom, target, component=component, wait_s=wait_s, timeout_s=timeout_s, key_from=key_from, model=model
    )
    request = asked.parameters(llm, max_new_tokens, temperature, top_p, seed, tuple(stop or ()))
    request = _with_prompt(replace(request, json_schema=form, regex=regex), text, system)
    if not stream:
        answers.show_answer(llm.generate(request), as_json=as_json)
    elif as_json:
        for chunk in llm.stream(request):
            answers.write_line(chunk)
    else:
        answers.show_stream(llm.stream(request))


def _with_prompt(request: GenerationRequest, text: str, system: str | None) -> GenerationRequest:
    if system is None:
        return replace(request, prompt=text)
    return replace(request, messages=({"role": "system", "content": system}, {"role": "user", "content": text}))
