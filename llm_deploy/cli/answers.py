"""How answers are shown: the text on standard output, figures on standard error."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, TextIO

import typer

if TYPE_CHECKING:
    from llm_deploy.dialects.types import Chunk, Generation


def show_answer(answer: Generation, *, as_json: bool) -> None:
    """Write a whole answer."""
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
        "tool_calls": [asdict(call) for call in answer.tool_calls],
        "finish_reason": answer.finish_reason,
        "tokens": asdict(answer.counts),
        "timings": asdict(answer.timings) if answer.timings else None,
    }


def write_line(chunk: Chunk) -> None:
    """Write a piece of an answer as a line of JSON."""
    import json
    from dataclasses import asdict

    typer.echo(json.dumps({name: value for name, value in asdict(chunk).items() if value is not None and value != ()}))


def show_stream(chunks: Generator[Chunk], *, stoppable: bool = False) -> str:
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
