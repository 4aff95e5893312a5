"""One generation from body to last byte: check, tokenise, wait for a slot, run, write."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace

from llm_deploy.dialects.types import GenerationRequest, Token
from llm_deploy.errors import InferenceRequestError, OverloadedError
from llm_deploy.serving.admission import Admission
from llm_deploy.serving.engine import Ending, Engine, EngineFailureError, Json, Piece, Sampling, Task
from llm_deploy.serving.journal import Journal, Record
from llm_deploy.serving.shapes.asked import Answer, Asked, Context, Dialect, Limits, ShapeError
from llm_deploy.serving.wire import Send, send_head, send_json

_RANDOM_SEEDS = (1 << 32) - 1
_OK = 200
_OVERLOADED = 429


@dataclass(frozen=True, slots=True)
class Generator:
    """What every generation needs."""

    engine: Engine
    limits: Limits
    admission: Admission
    journal: Journal
    model: str

    async def respond(self, dialect: Dialect, body: Json, record: Record, send: Send) -> None:
        """Answer one request; refusals are answered too, in the dialect's words."""
        try:
            with self.admission.admitted():
                await self._respond(dialect, body, record, send)
        except ShapeError as error:
            await self._refuse(dialect, error.message, error.status, record, send)
        except OverloadedError as error:
            await self._refuse(dialect, error.message, _OVERLOADED, record, send)
        except InferenceRequestError as error:
            await self._refuse(dialect, error.message, dialect.invalid_status, record, send)
        except EngineFailureError as error:
            await self._refuse(dialect, str(error), dialect.failed_status, record, send)

    async def _refuse(self, dialect: Dialect, message: str, status: int, record: Record, send: Send) -> None:
        record.status = status
        await send_json(send, status, dialect.error(message, status))

    async def _respond(self, dialect: Dialect, body: Json, record: Record, send: Send) -> None:
        asked = dialect.parse(body, self.limits)
        record.stream = asked.stream
        text, tokens = await self._prompt(asked)
        if asked.truncate is not None:
            tokens = tokens[-asked.truncate :]
        record.prompt_tokens = len(tokens)
        limit = dialect.fit(len(tokens), asked, self.limits)
        asked = replace(asked, request=replace(asked.request, max_new_tokens=limit))
        seed = secrets.randbelow(_RANDOM_SEEDS) if asked.request.seed is None else asked.request.seed
        created_s = int(time.time())
        answer = dialect.answer(Context(asked, self.model, record.request_id, created_s, text, tokens, seed))
        task = _task(asked, tokens, limit, seed, answer)
        async with self.admission.slot():
            record.slot_s = self.journal.clock()
            await self._run(task, answer, record, send)

    async def _prompt(self, asked: Asked) -> tuple[str, list[Token]]:
        request = asked.request
        text = request.prompt
        if text is None:
            text = await self.engine.apply_template(request.messages or ())
        tokens = await self.engine.tokenize(text)
        if not tokens:
            raise InferenceRequestError("the prompt has no tokens")
        return text, tokens

    async def _run(self, task: Task, answer: Answer, record: Record, send: Send) -> None:
        async with aclosing(self._items(task, record)) as items:
            if record.stream:
                await _stream(items, answer, record, send)
            else:
                await _whole(items, answer, record, send)

    async def _items(self, task: Task, record: Record) -> AsyncGenerator[Piece | Ending, None]:
        async with aclosing(self.engine.generate(task)) as items:
            async for item in items:
                if isinstance(item, Piece):
                    if record.first_token_s is None:
                        record.first_token_s = self.journal.clock()
                    record.generated_tokens = item.generated
                else:
                    record.generated_tokens, record.finish = item.generated_tokens, item.reason
                yield item


async def _whole(items: AsyncIterator[Piece | Ending], answer: Answer, record: Record, send: Send) -> None:
    pieces: list[Piece] = []
    async for item in items:
        if isinstance(item, Ending):
            record.status = _OK
            await send_json(send, _OK, answer.whole(pieces, item))
            return
        pieces.append(item)


async def _stream(items: AsyncIterator[Piece | Ending], answer: Answer, record: Record, send: Send) -> None:
    """Send events as they come. The head waits for the first token, so that a refusal still has its status."""
    try:
        async for item in items:
            if record.status == 0:
                record.status = _OK
                await send_head(send, _OK, answer.stream_type)
                await _send_event(send, answer.start())
            await _send_event(send, answer.end(item) if isinstance(item, Ending) else answer.piece(item))
    except (EngineFailureError, InferenceRequestError) as error:
        if record.status == 0:
            raise
        record.finish = "broken"
        await _send_event(send, answer.broken(str(error)))
    await send({"type": "http.response.body", "body": b""})


async def _send_event(send: Send, event: bytes) -> None:
    if event:
        await send({"type": "http.response.body", "body": event, "more_body": True})


def _task(asked: Asked, tokens: list[Token], limit: int, seed: int, answer: Answer) -> Task:
    wanted = max(asked.top, 1) if answer.needs_probabilities else 0
    return Task(
        prompt=[token.id for token in tokens if token.id is not None],
        max_new_tokens=limit,
        sampling=_sampling(asked.request, seed),
        stop=asked.request.stop,
        probabilities=wanted,
        json_schema=asked.json_schema,
        grammar=asked.grammar,
    )


def _sampling(request: GenerationRequest, seed: int) -> Sampling:
    """Fill what is not given with neutral values."""
    return Sampling(
        temperature=1.0 if request.temperature is None else request.temperature,
        top_k=request.top_k or 0,
        top_p=1.0 if request.top_p is None else request.top_p,
        typical_p=request.extra.get("typical_p", 1.0),
        min_p=request.extra.get("min_p", 0.0),
        repetition_penalty=request.repetition_penalty or 1.0,
        frequency_penalty=request.frequency_penalty or 0.0,
        presence_penalty=request.extra.get("presence_penalty", 0.0),
        seed=seed,
    )
