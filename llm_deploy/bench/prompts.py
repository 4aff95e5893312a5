"""What is asked: prompts of a file, or made-up ones of chosen lengths."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, Literal

from llm_deploy.bench.arrivals import Arrival
from llm_deploy.dialects.types import GenerationRequest
from llm_deploy.errors import SpecError

MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_LENGTH = 2_000_000
# Common short words: with the space before them each is one token for nearly every tokenizer in use.
_WORD_LIST = (
    "the of and to in is that for it as was with be by on not he his but at are this have from or had an they which one"
    " you were her all she there would their we him been has when who will more no if out so said what up its about"
    " into than them can only other new some could time these two may then do first any my now such like our over man"
    " me even most made after also did many before must through back years where much your way well down should because"
    " each just those people how too little state good very make world still own see men work long get here between"
    " both life being under never day same another know while last might us great old year off come since against go"
    " came right used take three"
)
_WORDS = _WORD_LIST.split()
_LENGTHS = re.compile(
    r"(?P<fixed>\d+)|uniform:(?P<low>\d+)-(?P<high>\d+)"
    r"|(?P<kind>normal|lognormal):(?P<middle>\d+(?:\.\d+)?),(?P<spread>\d+(?:\.\d+)?)"
)


@dataclass(frozen=True, slots=True)
class Lengths:
    """A distribution of lengths in tokens, at least 1.

    Attributes:
        kind: `fixed` (`first`), `uniform` (`first` to `second`), `normal` (mean, standard deviation), `lognormal`
            (median, and the factor of one standard deviation: 2 means two thirds lie between half and twice of it).
    """

    kind: Literal["fixed", "uniform", "normal", "lognormal"]
    first: float
    second: float = 0.0

    def draw(self, random: Random) -> int:
        """One length."""
        return max(1, min(MAX_LENGTH, round(self._draw(random))))

    def _draw(self, random: Random) -> float:
        if self.kind == "uniform":
            return random.randint(int(self.first), int(self.second))
        if self.kind == "normal":
            return random.gauss(self.first, self.second)
        if self.kind == "lognormal":
            return random.lognormvariate(math.log(self.first), math.log(max(1.0, self.second)))
        return self.first

    def __str__(self) -> str:
        between = "-" if self.kind == "uniform" else ","
        return f"{self.first:g}" if self.kind == "fixed" else f"{self.kind}:{self.first:g}{between}{self.second:g}"


def lengths(text: str, option: str) -> Lengths:
    """Read `128`, `uniform:64-256`, `normal:200,50` or `lognormal:200,2`.

    Raises:
        SpecError: It is none of these.
    """
    found = _LENGTHS.fullmatch(text)
    expected = "expected 128, uniform:64-256, normal:200,50 or lognormal:200,2"
    if found is None:
        raise SpecError(f"{option} {text}: {expected}")
    if found["fixed"]:
        made = Lengths("fixed", int(found["fixed"]))
    elif found["low"]:
        made = Lengths("uniform", int(found["low"]), int(found["high"]))
    else:
        made = Lengths(
            "normal" if found["kind"] == "normal" else "lognormal", float(found["middle"]), float(found["spread"])
        )
    if not 1 <= made.first <= MAX_LENGTH or (made.kind == "uniform" and made.second < made.first):
        raise SpecError(f"{option} {text}: {expected}; lengths are 1 to {MAX_LENGTH}, the smaller one first")
    return made


class Prompts:
    """Requests, one after the other, for ever. The same seed gives the same ones in the same order.

    Args:
        texts: Prompts or chats to go round in, shuffled; `None` makes prompts up, each with a beginning of its own, so
            that no engine's cache of prefixes answers for the model.
        input_tokens: Length of what is made up; about right for most tokenizers, and exact for none.
        output_tokens: Most new tokens of each request.
        chat: Ask through the chat template.
        base: Parameters of every request.
    """

    def __init__(
        self,
        *,
        seed: int,
        output_tokens: Lengths,
        input_tokens: Lengths,
        texts: list[str | tuple[dict[str, Any], ...]] | None = None,
        chat: bool = False,
        base: GenerationRequest | None = None,
    ) -> None:
        self._random = Random(seed)  # noqa: S311 - repeatable on purpose
        self._output, self._input, self._chat = output_tokens, input_tokens, chat
        self._base = base or GenerationRequest()
        self._texts = None if texts is None else self._shuffled(texts)

    def next(self, arrival: Arrival | None = None) -> GenerationRequest:
        """The next request; a trace's lengths go before the distributions'."""
        said = arrival or Arrival(0.0)
        tokens = self._output.draw(self._random) if said.output_tokens is None else max(1, said.output_tokens)
        text = next(self._texts) if self._texts else self._made_up(said.input_tokens)
        if isinstance(text, tuple):
            return replace(self._base, messages=text, prompt=None, max_new_tokens=tokens)
        if self._chat:
            messages = ({"role": "user", "content": text},)
            return replace(self._base, messages=messages, prompt=None, max_new_tokens=tokens)
        return replace(self._base, prompt=text, messages=None, max_new_tokens=tokens)

    def _made_up(self, length: int | None) -> str:
        wanted = self._input.draw(self._random) if length is None else max(1, length)
        return " ".join(self._random.choices(_WORDS, k=wanted))

    def _shuffled(self, texts: list[str | tuple[dict[str, Any], ...]]) -> Iterator[str | tuple[dict[str, Any], ...]]:
        order = list(texts)
        self._random.shuffle(order)
        return itertools.cycle(order)


def read(path: Path) -> list[str | tuple[dict[str, Any], ...]]:
    """The prompts of a file: one a line, or JSON lines with `prompt` (or `inputs`, `text`) or `messages`.

    Raises:
        SpecError: It is empty, too large, or a line is neither.
    """
    if path.stat().st_size > MAX_FILE_BYTES:
        raise SpecError(f"{path} is larger than {MAX_FILE_BYTES} bytes")
    lines = [(number, line) for number, line in enumerate(path.read_text("utf-8").splitlines(), 1) if line.strip()]
    if not lines:
        raise SpecError(f"{path} holds no prompt")
    return [_prompt(line, f"{path}, line {number}") for number, line in lines]


def _prompt(line: str, where: str) -> str | tuple[dict[str, Any], ...]:
    if not line.lstrip().startswith("{"):
        return line
    try:
        document = json.loads(line)
    except ValueError as error:
        raise SpecError(f"{where}: no JSON: {error}") from error
    text = next((document[name] for name in ("prompt", "inputs", "text") if name in document), None)
    if isinstance(text, str):
        return text
    messages = document.get("messages")
    if isinstance(messages, list) and messages and all(isinstance(each, dict) for each in messages):
        return tuple(messages)
    raise SpecError(f"{where}: expected `prompt`, a text, or `messages`, a list")
