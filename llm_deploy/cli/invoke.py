"""`llmdeploy invoke` and `llmdeploy chat`: one prompt, or a conversation."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from llm_deploy.cli import options

if TYPE_CHECKING:
    from llm_deploy.client.endpoint import LLMInferenceSagemakerEndpoint
    from llm_deploy.dialects.types import Chunk, Generation, GenerationRequest

MAX_PROMPT_BYTES = 6 * 1024 * 1024
"""SageMaker's limit of a request body. Source: service model of InvokeEndpoint."""

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


def invoke(
    name: options.Name,
    prompt: Annotated[str | None, typer.Argument(metavar="[PROMPT]", help="The prompt; or use --file.")] = None,
    target: options.Target = None,
    file: Annotated[
        str | None, typer.Option("--file", metavar="FILE", help="Read the prompt; -: standard input.")
    ] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Write the answer while it is made.")] = False,
    max_new_tokens: MaxNewTokens = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    seed: Seed = None,
    stop: Annotated[
        list[str] | None, typer.Option("--stop", metavar="TEXT", help="Stop there; may be repeated.")
    ] = None,
    component: Component = None,
    wait_s: Wait = 0,
    timeout_s: AnswerTimeout = None,
    as_json: options.AsJson = False,
) -> None:
    """Send one prompt to a deployment and print the answer; figures go to standard error.

    With --json: one document; with --stream as well, one line a piece.
    """
    text = _prompt(prompt, file)
    llm = _endpoint(name, target, component=component, wait_s=wait_s, timeout_s=timeout_s)
    request = _request(llm, max_new_tokens, temperature, top_p, seed, tuple(stop or ()))
    request = replace(request, prompt=text)
    if not stream:
        _show_answer(llm.generate(request), as_json=as_json)
    elif as_json:
        for chunk in llm.stream(request):
            _write_line(chunk)
    else:
        _show_stream(llm.stream(request))


def chat(
    name: options.Name,
    target: options.Target = None,
    system: Annotated[
        str | None, typer.Option("--system", metavar="TEXT", help="What the model is told first.")
    ] = None,
    max_new_tokens: MaxNewTokens = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    seed: Seed = None,
    component: Component = None,
    wait_s: Wait = 0,
    timeout_s: AnswerTimeout = None,
) -> None:
    """Talk to a deployment. Ctrl-C stops an answer; /reset forgets the conversation; /exit or Ctrl-D leaves.

    Without a terminal each line of standard input is a message.
    """
    llm = _endpoint(name, target, component=component, wait_s=wait_s, timeout_s=timeout_s)
    request = _request(llm, max_new_tokens, temperature, top_p, seed, ())
    interactive = sys.stdin.isatty()
    if interactive:
        typer.echo("Ctrl-C stops an answer, /reset forgets the conversation, /exit leaves.", err=True)
    _converse(llm, request, _messages(interactive=interactive), system=system, interactive=interactive)


def _converse(
    llm: LLMInferenceSagemakerEndpoint,
    request: GenerationRequest,
    messages: Iterable[str],
    *,
    system: str | None,
    interactive: bool,
) -> None:
    from llm_deploy.cli.main import show_error
    from llm_deploy.errors import InferenceError

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
            said = _show_stream(llm.stream(replace(request, prompt=None, messages=tuple(history))), stoppable=True)
        except InferenceError as error:
            if not interactive:
                raise
            history.pop()  # what was not answered is not part of the conversation
            show_error(error)
        else:
            history.append({"role": "assistant", "content": said})


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


def _endpoint(
    name: str, target: str | None, *, component: str | None, wait_s: float, timeout_s: float | None
) -> LLMInferenceSagemakerEndpoint:
    from llm_deploy.client.endpoint import LLMInferenceSagemakerEndpoint
    from llm_deploy.targets.registry import connect

    return LLMInferenceSagemakerEndpoint(
        name,
        inference_component_name=component,
        session=connect(target).session,
        wait_for_capacity_s=wait_s,
        answer_timeout_s=timeout_s,
    )


def _request(
    llm: LLMInferenceSagemakerEndpoint,
    max_new_tokens: int | None,
    temperature: float | None,
    top_p: float | None,
    seed: int | None,
    stop: tuple[str, ...],
) -> GenerationRequest:
    given: dict[str, Any] = {
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "seed": seed,
        "stop": stop or None,
    }
    return replace(llm.defaults(), **{option: value for option, value in given.items() if value is not None})


def _prompt(prompt: str | None, file: str | None) -> str:
    from llm_deploy.errors import SpecError

    if (prompt is None) == (file is None):
        raise SpecError("give a prompt or --file, one of them")
    if file is not None:
        prompt = _read(file)
    if not prompt:
        raise SpecError("the prompt is empty")
    return prompt


def _read(file: str) -> str:
    from llm_deploy.errors import SpecError

    try:
        if file == "-":
            data = sys.stdin.buffer.read(MAX_PROMPT_BYTES + 1)
        else:
            with Path(file).open("rb") as opened:
                data = opened.read(MAX_PROMPT_BYTES + 1)
        text = data.decode("utf-8")
    except OSError as error:
        raise SpecError(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SpecError(f"{file}: not UTF-8 text (byte {error.start})") from error
    if len(data) > MAX_PROMPT_BYTES:
        raise SpecError(f"{file}: longer than {MAX_PROMPT_BYTES} bytes, which is all that SageMaker takes")
    return text


def _show_answer(answer: Generation, *, as_json: bool) -> None:
    if as_json:
        from llm_deploy.cli import screen

        screen.write_json(_document(answer))
        return
    _write(sys.stdout, answer.text)
    typer.echo()
    _show_figures(answer)


def _document(answer: Generation) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "text": answer.text,
        "finish_reason": answer.finish_reason,
        "tokens": asdict(answer.counts),
        "timings": asdict(answer.timings) if answer.timings else None,
    }


def _write_line(chunk: Chunk) -> None:
    import json
    from dataclasses import asdict

    typer.echo(json.dumps({name: value for name, value in asdict(chunk).items() if value is not None}))


def _show_stream(chunks: Generator[Chunk], *, stoppable: bool = False) -> str:
    """Write an answer as it comes; the text that came is returned, also of an answer that Ctrl-C stopped."""
    from llm_deploy.dialects.stream import collect
    from llm_deploy.errors import LlmDeployError

    texts: list[str] = []

    def shown() -> Iterator[Chunk]:
        for chunk in chunks:
            texts.append(chunk.text)  # first: Ctrl-C may come as soon as the text is to be seen
            _write(sys.stdout, chunk.text)
            yield chunk

    try:
        answer = collect(shown())
    except KeyboardInterrupt:
        typer.echo(" (stopped)", err=True)
        if stoppable:
            return "".join(texts)
        raise
    except LlmDeployError:
        if texts:
            typer.echo()  # the error's message starts on a line of its own
        raise
    finally:
        chunks.close()
    typer.echo()
    _show_figures(answer)
    return answer.text


def _write(stream: TextIO, text: str) -> None:
    """Write text; on a terminal without the control characters that could change it, which a model may emit."""
    if stream.isatty():
        text = "".join(char for char in text if char.isprintable() or char in "\n\t")
    stream.write(text)
    stream.flush()


def _show_figures(answer: Generation) -> None:
    parts = []
    if answer.counts.generated is not None:
        parts.append(f"{answer.counts.generated} tokens")
    if answer.timings is not None:
        if answer.timings.first_token_s is not None:
            parts.append(f"first after {answer.timings.first_token_s:.2f} s")
        parts.append(f"{answer.timings.total_s:.2f} s in all")
    parts.append(f"ended by {answer.finish_reason}")
    typer.echo(f"  {', '.join(parts)}", err=True)
