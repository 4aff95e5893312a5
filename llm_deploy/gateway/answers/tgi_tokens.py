"""TGI's token events as OpenAI's chunks, without parsing the common ones.

A token that is plain (not special, not the last) differs from the one before in its text alone, and JSON text is JSON
text: it is copied between two fixed pieces of bytes. One regular expression finds the texts of all tokens that have
arrived; an event that it does not match goes through `DecodedWriter`, whose answers this writer is held to.
"""

from __future__ import annotations

import re
from typing import Final

from llm_deploy.errors import InferenceError, LlmDeployError
from llm_deploy.gateway.answers.decoded import DecodedWriter, OpenAiWords
from llm_deploy.gateway.answers.frame import Frame
from llm_deploy.gateway.answers.writer import EVENT_END, Blocks, Tally

_PLAIN: Final = re.compile(
    rb'data: ?\{"index":\d+,"token":\{"id":\d+,"text":"((?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*)",'
    rb'"logprob":(?:null|-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?),"special":false\},'
    rb'"generated_text":null,"details":null\}\n\n'
)
"""As TGI's router writes it. Source: TGI 3 router, `StreamResponse`."""


class TgiTokenWriter:
    """A `StreamWriter` from TGI's events to OpenAI's, in the frame of one answer."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._words = OpenAiWords(frame)
        self._slow = DecodedWriter(self._words, dialect_name="lmi")
        self._between = frame.after + frame.before
        self._blocks = Blocks()
        self._kept = b""

    @property
    def tally(self) -> Tally:
        """See `StreamWriter.tally`."""
        return self._slow.tally

    def feed(self, data: bytes) -> bytes:
        """See `StreamWriter.feed`."""
        block = self._blocks.take(data)
        if not block:
            return b""
        if self.tally.finish is not None or not _is_utf8(block):
            return self._slow.feed(block)
        texts = _PLAIN.findall(block)
        return self._plain(texts) if len(texts) == block.count(EVENT_END) else self._mixed(block)

    def close(self, cause: InferenceError | None = None) -> bytes:
        """See `StreamWriter.close`."""
        rest = self._blocks.rest()
        out = self._slow.feed(rest) if rest else b""
        return out + self._slow.close(cause)

    def take_kept(self) -> bytes:
        """See `StreamWriter.take_kept`."""
        kept, self._kept = self._kept, b""
        return kept + self._slow.take_kept()

    def _plain(self, texts: list[bytes]) -> bytes:
        self.tally.events += len(texts)
        if b"" in texts:
            texts = [text for text in texts if text]
        if not texts:
            return b""
        return b"".join((self._words.opening(), self._frame.before, self._between.join(texts), self._frame.after))

    def _mixed(self, block: bytes) -> bytes:
        """Runs of plain events, and the others between them one by one."""
        out: list[bytes] = []
        place = 0
        try:
            while place < len(block):
                texts, place = _run(block, place)
                out.append(self._plain(texts))
                end = block.find(EVENT_END, place) + len(EVENT_END)
                if place < len(block):
                    out.append(self._slow.feed(block[place:end]))
                    place = end
        except LlmDeployError:
            self._kept = b"".join(out)
            raise
        return b"".join(out)


def _run(block: bytes, place: int) -> tuple[list[bytes], int]:
    """The texts of the plain events from here on, and where they end."""
    texts: list[bytes] = []
    while found := _PLAIN.match(block, place):
        texts.append(found[1])
        place = found.end()
    return texts, place


def _is_utf8(block: bytes) -> bool:
    if block.isascii():
        return True
    try:
        block.decode()
    except UnicodeDecodeError:
        return False
    return True
