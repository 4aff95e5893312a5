"""The one adapter over xllamacpp: llama.cpp's own server inside this process, behind a private unix socket.

xllamacpp is young and moves fast, so its version is pinned and everything known about it is here. What had to be found
out, each with a test in `tests/functional/serving/test_llamacpp.py`:

* OpenMP's threads spin at barriers; on a busy machine that costs a factor of ten. Hence one, and passive waiting.
* A request that is not streamed is not cancelled when its client goes away. Hence `stream: true` always.
* A prompt is cancelled between batches only. Hence `n_batch` 256 instead of 2048. And only after a second in which the
  engine gave nobody a result: asking `/slots` in a loop keeps an abandoned prompt going.
* Old prompts are kept in memory (up to 8 GiB) unless `cache_ram_mib` is 0.
* Sampling defaults are not neutral, and a missing parameter takes them. Hence every one is sent.
* `repeat_last_n: -1` is refused. Hence the context's size.
* A character of several tokens is one event, which names only the last of them.
* With stop strings a token's reported text is what was let go with it, not its own.
* A JSON schema or a regular expression that llguidance refuses leaves the answer unconstrained. Hence `shapes.grammar`.
* A damaged file ends in one and the same RuntimeError; the reason is on standard error only.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from llm_deploy.dialects.types import FinishReason, Token
from llm_deploy.serving import gguf
from llm_deploy.serving.engine import Ending, EngineFacts, EngineFailureError, Json, Piece, Task
from llm_deploy.serving.library import SPARE_HTTP_THREADS, Foreign, Library, refusal

_BATCH_TOKENS = 256
_OK = 200
_BROKEN = "\ufffd"
_REASONS: dict[str, FinishReason] = {"limit": "length", "eos": "eos", "word": "stop"}
_SAMPLERS = ["penalties", "temperature", "top_k", "top_p", "typ_p", "min_p"]
_NEUTRAL = {
    "samplers": _SAMPLERS,
    "dynatemp_range": 0.0,
    "xtc_probability": 0.0,
    "top_n_sigma": -1.0,
    "dry_multiplier": 0.0,
    "mirostat": 0,
    "ignore_eos": False,
    "n_keep": 0,
    "min_keep": 0,
    "logit_bias": [],
    "cache_prompt": True,
    "stream": True,
    "return_tokens": True,
    "post_sampling_probs": False,
}


class LlamaCpp:
    """An `Engine` over one GGUF file.

    Args:
        path: The model file.
        context_tokens: Prompt and answer of one generation together; cut to what the model was trained for.
        parallel: Generations at the same time; each has a context of its own.
        threads: Of OpenMP. More than one is faster only on a machine that does nothing else.
    """

    def __init__(self, path: Path, *, context_tokens: int = 2048, parallel: int = 4, threads: int = 1) -> None:
        facts = gguf.read_facts(path)
        context = min(context_tokens, facts.context_tokens or context_tokens)
        self._path = path
        self._threads = threads
        self._facts = EngineFacts(model=facts.name or path.stem, context_tokens=context, parallel=parallel)
        self._library = Library()
        self._control = facts.control_tokens
        self._texts: dict[int, str] = {}

    @property
    def ready(self) -> bool:
        """Whether the model is loaded."""
        return self._library.ready

    @property
    def facts(self) -> EngineFacts:
        """Limits that hold."""
        return self._facts

    @property
    def socket(self) -> Path:
        """Where llama.cpp's own HTTP server listens; only this user can connect."""
        return self._library.socket

    def load(self) -> None:
        """Load the model; blocks for half a second or more.

        Raises:
            ModelFileError: llama.cpp refuses the file.
            MissingExtraError: xllamacpp is not installed.
        """
        self._library.start(self._path, self._set)

    def _set(self, parameters: Foreign) -> None:
        facts = self._facts
        parameters.n_parallel = facts.parallel
        parameters.n_ctx = facts.parallel * facts.context_tokens
        parameters.n_batch = parameters.n_ubatch = _BATCH_TOKENS
        parameters.n_threads_http = facts.parallel + SPARE_HTTP_THREADS
        parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = self._threads

    async def tokenize(self, text: str) -> list[Token]:
        """Split a prompt; special tokens written out in it count as such."""
        document = {"content": text, "add_special": True, "parse_special": True, "with_pieces": True}
        answer = await self._ask("/tokenize", document)
        return [Token(text=_piece_text(entry["piece"]), id=entry["id"]) for entry in answer["tokens"]]

    async def apply_template(self, messages: Sequence[dict[str, Any]]) -> str:
        """Write a conversation with the template in the model file."""
        answer = await self._ask("/apply-template", {"messages": list(messages)})
        return str(answer["prompt"])

    async def busy(self) -> int:
        """Count the slots that are processing."""
        _, slots = await self._library.call("GET", "/slots")
        return sum(bool(slot["is_processing"]) for slot in slots)

    async def generate(self, task: Task) -> AsyncGenerator[Piece | Ending, None]:
        """Yield pieces, then an `Ending`; closing the iterator frees the slot."""
        async with self._library.exchange("POST", "/completion", self.document(task)) as answer:
            if await answer.status() != _OK:
                raise refusal(await answer.read())
            rest = b""
            async for block in answer.blocks():
                *events, rest = (rest + block).split(b"\n\n")
                for event in events:
                    if event.startswith(b"data: "):
                        item = _item(json.loads(event[6:]))
                        if isinstance(item, Ending):
                            yield item
                            return
                        yield await self._with_own_text(item, may_hold=bool(task.stop))
                    elif event.startswith(b"error"):
                        raise refusal(event.partition(b":")[2])
        raise EngineFailureError("The engine ended its answer without saying why.")

    async def _with_own_text(self, piece: Piece, *, may_hold: bool) -> Piece:
        """Correct a token's text where llama.cpp reports what it let go instead of what it generated.

        Special tokens have no text there. With stop strings, tokens are held back, and the text of a token is what is
        let go with it: nothing, or that of several tokens.
        """
        token_id = piece.token.id
        if token_id is None:
            return piece
        if token_id in self._control:
            piece.token = replace(piece.token, text=self._control[token_id], special=True)
        elif may_hold:
            own = next((token.text for token in piece.top if token.id == token_id), None)
            if own is None:
                own = await self._text_of(token_id)
            if _BROKEN not in own:  # else it is the last part of a character, which llama.cpp has put together
                piece.token = replace(piece.token, text=own)
        return piece

    async def _text_of(self, token_id: int) -> str:
        if token_id not in self._texts:
            answer = await self._ask("/detokenize", {"tokens": [token_id]})
            self._texts[token_id] = str(answer["content"])
        return self._texts[token_id]

    def close(self) -> None:
        """Stop llama.cpp and remove its socket."""
        self._library.close()

    def remove_socket(self) -> None:
        """Remove the private directory; running requests keep their connections."""
        self._library.remove_socket()

    def document(self, task: Task) -> dict[str, Any]:
        """Write a task as the body of llama.cpp's `/completion`; the benchmark sends it to the bare engine too."""
        sampling = task.sampling
        document = {
            **_NEUTRAL,
            "prompt": list(task.prompt),
            "n_predict": task.max_new_tokens,
            "temperature": sampling.temperature,
            "top_k": sampling.top_k,
            "top_p": sampling.top_p,
            "typical_p": sampling.typical_p,
            "min_p": sampling.min_p,
            "repeat_penalty": sampling.repetition_penalty,
            "repeat_last_n": self._facts.context_tokens,
            "frequency_penalty": sampling.frequency_penalty,
            "presence_penalty": sampling.presence_penalty,
            "seed": sampling.seed,
            "stop": list(task.stop),
            "n_probs": task.probabilities,
        }
        if task.json_schema is not None:
            document["json_schema"] = task.json_schema
        if task.grammar is not None:
            document["grammar"] = task.grammar
        return document

    async def _ask(self, target: str, document: dict[str, Any]) -> Json:
        return await self._library.ask(target, document)


def _piece_text(piece: str | list[int]) -> str:
    """A piece that is no valid UTF-8 by itself comes as a list of bytes."""
    return piece if isinstance(piece, str) else bytes(piece).decode(errors="replace")


def _item(event: dict[str, Any]) -> Piece | Ending:
    if "error" in event:
        raise refusal(json.dumps(event).encode())
    if event["stop"]:
        return Ending(
            reason=_REASONS.get(event["stop_type"], "unknown"),
            prompt_tokens=event["tokens_evaluated"],
            generated_tokens=event["tokens_predicted"],
            text=event["content"],
            stop_string=event["stopping_word"] or None,
        )
    text, ids = event["content"], event["tokens"]
    probabilities = event.get("completion_probabilities")
    if not probabilities:
        return Piece(text, Token(text, ids[-1] if ids else None), (), event["tokens_predicted"])
    chosen = probabilities[-1]
    top = tuple([Token(entry["token"], entry["id"], entry["logprob"]) for entry in chosen["top_logprobs"]])
    token = Token(chosen["token"], chosen["id"], chosen["logprob"])
    return Piece(text, token, top, event["tokens_predicted"])
