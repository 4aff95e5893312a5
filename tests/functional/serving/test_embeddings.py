"""Embeddings and ranks of the real model: what they mean, that they are the same each time, and what is refused."""

from __future__ import annotations

import asyncio
import base64
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import httpx
import pytest

from llm_deploy.errors import InferenceError, InferenceRequestError, ModelFileError
from llm_deploy.serving import models
from llm_deploy.serving.embedding import EmbeddingEngine
from llm_deploy.serving.embedding_app import EmbeddingLimits, EmbeddingServer
from llm_deploy.serving.journal import Journal
from tests.functional.serving.servers import Running, running

PAIRS = {
    "How much rain fell last night?": "The gauge in the garden shows forty millimetres of precipitation since dusk.",
    "When does the shop open?": "We are here for our customers from nine in the morning.",
    "My computer will not start.": "Nothing happens when I press the laptop's power button.",
    "How do bees make honey?": "Nectar is collected by worker insects and thickened in the hive.",
    "Which medicine helps against headache?": "Paracetamol is often taken for pain in the skull.",
    "The train is late again.": "Commuters waited on the platform because the rail service was delayed.",
    "Who painted the Mona Lisa?": "Leonardo da Vinci's most famous portrait hangs in the Louvre.",
    "How can I get my money back?": "Refunds are paid to the card within ten days.",
    "What is the highest mountain?": "Everest rises 8,849 metres above sea level.",
    "The baby cannot sleep.": "Our infant was awake all through the night.",
    "How do I bake bread?": "Knead flour, water, yeast and salt, and put the loaf into a hot oven.",
    "Our team lost the match.": "The home side was beaten three to one in Saturday's game.",
}
DAMAGED = b"\0" * 4096

Client = Callable[..., Any]

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """The event loop that the server runs on."""
    return "asyncio"


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The embedding model's file."""
    return models.pull("minilm")


@pytest.fixture(scope="session")
def encoder(minilm: Path) -> Iterator[EmbeddingEngine]:
    """The encoder in this process."""
    it = EmbeddingEngine(minilm)
    it.load()
    yield it
    it.close()


@pytest.fixture
def embeddings(encoder: EmbeddingEngine) -> Client:
    """The application in this process."""

    @asynccontextmanager
    async def make(engine: EmbeddingEngine = encoder, **limits: Any) -> AsyncIterator[httpx.AsyncClient]:  # noqa: ANN401 - fields
        app = EmbeddingServer(engine, EmbeddingLimits(**limits), Journal(time.monotonic), model="tiny")
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://server", timeout=60
        ) as client:
            yield client

    return make


def cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


@pytest.mark.row("T7")
async def test_paraphrases_find_each_other(encoder: EmbeddingEngine) -> None:
    """Of twelve texts, the one that means the same is the nearest for at least ten of twelve queries (chance: one)."""
    queries, texts = await encoder.embed(list(PAIRS)), await encoder.embed(list(PAIRS.values()))
    best = [max(range(len(texts)), key=lambda index: cosine(query, texts[index])) for query in queries]
    assert sum(index == found for index, found in enumerate(best)) >= 10


async def test_a_text_has_one_vector(encoder: EmbeddingEngine) -> None:
    """Alone, in a batch, among others at once, and again: the same direction; its length is 1."""
    texts = [*PAIRS, *PAIRS.values()]
    alone = [(await encoder.embed([text]))[0] for text in texts]
    together = await encoder.embed(texts)
    at_once = await asyncio.gather(*(encoder.embed(texts[:5]) for _ in range(8)))
    assert len(alone[0]) == encoder.dimensions == 384
    for one, other in [*zip(alone, together, strict=True), *((alone[0], each[0]) for each in at_once)]:
        assert cosine(one, other) > 0.99999
        assert cosine(one, one) == pytest.approx(1, abs=1e-6)
    assert await encoder.embed(texts) == together


async def test_known_vectors(encoder: EmbeddingEngine) -> None:
    """The first numbers of a text are those that sentence-transformers computes."""
    (vector,) = await encoder.embed(["Hello world"])
    assert vector[:3] == pytest.approx([-0.0345, 0.0309, 0.0067], abs=2e-4)


@pytest.mark.parametrize(
    "text", ["", " ", "wörld", "你好 世界", "🤖" * 40, "a\0b", "\u202eabc", "[SEP] [CLS]", "x" * 400]
)
async def test_any_unicode_has_a_vector(encoder: EmbeddingEngine, text: str) -> None:
    """Empty, far eastern, unprintable, one endless word, and the model's own special words."""
    (vector,) = await encoder.embed([text])
    assert cosine(vector, vector) == pytest.approx(1, abs=1e-5)
    assert 2 <= await encoder.count_tokens(text) <= encoder.max_tokens


async def test_accents_and_case_do_not_matter(encoder: EmbeddingEngine) -> None:
    """The model is an uncased one."""
    one, other = await encoder.embed(["Ein Café in Köln", "ein cafe in koln"])
    assert one == pytest.approx(other, abs=1e-5)


async def test_half_a_character_is_refused(encoder: EmbeddingEngine) -> None:
    """It cannot be written as UTF-8."""
    with pytest.raises(InferenceRequestError, match="no valid Unicode"):
        await encoder.embed(["fine", "\ud83d"])


async def test_a_long_text_is_refused_by_its_number_or_cut(encoder: EmbeddingEngine) -> None:
    """Nothing is cut in secret; a cut text is its beginning, or its end."""
    words = list(chain.from_iterable(repeat(" ".join([*PAIRS, *PAIRS.values()]).split(), 5)))
    text = " ".join(words)
    with pytest.raises(InferenceRequestError, match=r"Input 2 has \d+ tokens; this model reads 512"):
        await encoder.embed(["short", text])
    right, left = await encoder.run([text], cut="right"), await encoder.run([text], cut="left")
    assert (right.tokens, left.tokens) == (512, 512)
    start = (await encoder.embed([" ".join(words[:250])]))[0]
    assert cosine(right.vectors[0], start) > cosine(left.vectors[0], start)


async def test_a_closed_engine_says_so(minilm: Path) -> None:
    """Not loaded, closed in the middle of a request, closed before one: an error of ours each time, and no hang."""
    engine = EmbeddingEngine(minilm)
    with pytest.raises(InferenceError, match="not loaded"):
        await engine.embed(["a"])
    engine.load()
    under_way = asyncio.create_task(engine.embed(["a long text " * 100] * 400))
    await asyncio.sleep(0.1)
    await asyncio.to_thread(engine.close)
    with pytest.raises(InferenceError, match="embedding engine failed"):
        await asyncio.wait_for(under_way, 20)
    engine.close()
    with pytest.raises(InferenceError, match="not loaded"):
        await engine.count_tokens("a")


def test_other_files_are_refused(model: Path, minilm: Path, tmp_path: Path) -> None:
    """A model that generates, no model, a part of one."""
    with pytest.raises(ModelFileError, match="generates text"):
        EmbeddingEngine(model)
    (tmp_path / "zeros.gguf").write_bytes(DAMAGED)
    with pytest.raises(ModelFileError, match="not a GGUF"):
        EmbeddingEngine(tmp_path / "zeros.gguf")
    (tmp_path / "half.gguf").write_bytes(minilm.read_bytes()[: 20 << 20])
    with pytest.raises(ModelFileError, match=r"llama\.cpp cannot load"):
        EmbeddingEngine(tmp_path / "half.gguf").load()


@pytest.mark.row("T7")
async def test_a_text_with_one_answering_sentence_ranks_first(embeddings: Client) -> None:
    """However much else it says. Scores fall, and lie between 0 and 1; raw ones may lie below."""
    noise = "The committee met on Tuesday. Minutes were taken and filed in the usual place. Lunch was provided."
    texts = [noise, f"{noise} The vaccine must be kept below five degrees. {noise}", "Vaccines were invented long ago."]
    asked = {"query": "At which temperature is the vaccine stored?", "texts": texts, "return_text": True}
    async with embeddings() as client:
        ranks = (await client.post("/rerank", json=asked)).json()
        raw = (await client.post("/rerank", json=asked | {"raw_scores": True, "return_text": False})).json()
    assert [rank["index"] for rank in ranks] == [1, 2, 0]
    assert ranks[0]["text"] == texts[1]
    scores = [rank["score"] for rank in ranks]
    assert 1 >= scores[0] > 0.5 > scores[2] >= 0
    assert [set(rank) for rank in raw] == [{"index", "score"}] * 3


async def test_openais_shape(embeddings: Client, encoder: EmbeddingEngine) -> None:
    """A text, texts, token ids, and base64, which holds the same numbers; the usage counts tokens."""
    (vector,) = await encoder.embed(["Hello world"])
    async with embeddings() as client:

        async def ask(**body: Any) -> dict[str, Any]:  # noqa: ANN401 - a request's fields
            answer = await client.post("/v1/embeddings", json=body)
            assert answer.status_code == 200, answer.text
            document: dict[str, Any] = answer.json()
            return document

        one, ids = await ask(input="Hello world", model="any"), await ask(input=[101, 7592, 2088, 102])
        several = await ask(input=["Hello world", "x"], encoding_format="base64", dimensions=384)
    assert one["data"][0] == ids["data"][0]
    assert one["data"][0]["embedding"] == pytest.approx(vector, abs=1e-6)
    assert one["usage"] == {"prompt_tokens": 4, "total_tokens": 4}
    assert [each["index"] for each in several["data"]] == [0, 1]
    assert several["model"] == "tiny"
    numbers = struct.unpack("<384f", base64.b64decode(several["data"][0]["embedding"]))
    assert numbers == pytest.approx(vector, abs=1e-6)


async def test_teis_shape(embeddings: Client) -> None:
    """Vectors alone; of length 1 unless asked otherwise; cut where asked, or where the server is set up to."""
    async with embeddings() as client, embeddings(truncate=True) as cutting:
        (vector,) = (await client.post("/embed", json={"inputs": "Hello world"})).json()
        (long,) = (await client.post("/embed", json={"inputs": "Hello world", "normalize": False})).json()
        cut = await client.post("/embed", json={"inputs": ["word " * 600], "truncate": True})
        by_default = await cutting.post("/embed", json={"inputs": ["word " * 600]})
    assert cosine(vector, vector) == pytest.approx(1, abs=1e-5)
    assert cosine(long, vector) == pytest.approx(cosine(long, long) ** 0.5, rel=1e-4)
    assert cosine(long, long) > 4
    assert cut.json() == by_default.json()


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/v1/embeddings", {"input": "a", "dimensions": 64}, 400, "384 dimensions"),
        ("/v1/embeddings", {"input": ""}, 400, "cannot be an empty string"),
        ("/v1/embeddings", {"input": []}, 400, "cannot be an empty"),
        ("/v1/embeddings", {"input": [1, "a"]}, 400, "must be a text, a list of texts, or token ids"),
        ("/v1/embeddings", {"input": [[1 << 30]]}, 400, "invalid tokens"),
        ("/v1/embeddings", {"input": "a", "encoding_format": "hex"}, 400, "float or base64"),
        ("/v1/embeddings", {"input": ["a"] * 2049}, 400, "2048"),
        ("/v1/embeddings", {"input": "word " * 600}, 400, "this model reads 512"),
        ("/v1/embeddings", [], 400, "JSON object"),
        ("/v1/chat/completions", {"messages": []}, 400, "generates no text"),
        ("/invocations", {"messages": []}, 400, "generates no text"),
    ],
)
async def test_openais_refusals(embeddings: Client, path: str, body: Any, status: int, words: str) -> None:  # noqa: ANN401 - JSON
    """In OpenAI's error document, with what is wrong."""
    async with embeddings() as client:
        answer = await client.post(path, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, status)
    assert words in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "body", "status", "kind"),
    [
        ("/embed", {"inputs": []}, 400, "Empty"),
        ("/embed", {"inputs": [""]}, 413, "Validation"),
        ("/embed", {"inputs": ["a"] * 33}, 413, "Validation"),
        ("/embed", {"inputs": "word " * 600}, 413, "Validation"),
        ("/embed", {"inputs": "a", "truncate": "yes"}, 422, "Tokenizer"),
        ("/embed", {"inputs": "a", "truncation_direction": "up"}, 422, "Tokenizer"),
        ("/embed", {}, 422, "Tokenizer"),
        ("/invocations", 7, 422, "Tokenizer"),
        ("/rerank", {"query": "a", "texts": []}, 400, "Empty"),
        ("/rerank", {"query": "", "texts": ["a"]}, 422, "Tokenizer"),
        ("/rerank", {"query": "a", "texts": [[1]]}, 422, "Tokenizer"),
        ("/rerank", {"query": "a", "texts": ["A sentence of words. " * 4000]}, 413, "Validation"),
        ("/generate", {"inputs": "a"}, 424, "Backend"),
    ],
)
async def test_teis_refusals(embeddings: Client, path: str, body: Any, status: int, kind: str) -> None:  # noqa: ANN401 - JSON
    """TEI's statuses and error types."""
    async with embeddings() as client:
        answer = await client.post(path, json=body)
    assert (answer.status_code, answer.json()["error_type"]) == (status, kind)


async def test_invocations_dispatch_by_shape(embeddings: Client) -> None:
    """What SageMaker's one route is asked for shows in the body."""
    async with embeddings() as client:

        async def ask(**body: Any) -> Any:  # noqa: ANN401 - JSON both ways
            return (await client.post("/invocations", json=body)).json()

        assert len((await ask(inputs="a"))[0]) == 384
        assert (await ask(input="a"))["object"] == "list"
        assert (await ask(query="a", texts=["b"]))[0]["index"] == 0


async def test_more_than_the_queue_holds_is_told_to_come_later(embeddings: Client) -> None:
    """429 at once instead of a queue without end; what was let in is answered."""
    async with embeddings(max_concurrent_requests=3) as client:
        body = {"inputs": ["a text of some words"] * 32}
        answers = await asyncio.gather(*(client.post("/embed", json=body) for _ in range(12)))
    assert sorted({answer.status_code for answer in answers}) == [200, 429]
    assert answers[-1].json() == {"error": "Model is overloaded", "error_type": "Overloaded"}


async def test_while_it_loads_it_is_not_healthy(minilm: Path, embeddings: Client) -> None:
    """503 everywhere, and still what it will be."""
    async with embeddings(EmbeddingEngine(minilm)) as client:
        assert (await client.get("/ping")).status_code == 503
        assert (await client.post("/embed", json={"inputs": "a"})).json()["error_type"] == "Unhealthy"
        assert (await client.post("/v1/embeddings", json={"input": "a"})).status_code == 503
        info = (await client.get("/info")).json()
    assert (info["max_input_length"], info["max_client_batch_size"]) == (512, 32)


def test_the_server_as_a_process(minilm: Path, tmp_path: Path) -> None:
    """By path or name; environment of TEI's images; a client that leaves ends its work; a kill ends the connection."""
    with running(minilm, tmp_path, "--served-model-name", "mini", MAX_CLIENT_BATCH_SIZE="4") as server:
        with server.client() as client:
            assert client.get("/v1/models").json()["data"][0]["id"] == "mini"
            assert client.post("/embed", json={"inputs": ["a"] * 5}).status_code == 413
            assert "llmdeploy_prompt_tokens_total" in client.get("/metrics").text
        _leave_early(server)
        _kill_in_the_middle(server)


def _leave_early(server: Running) -> None:
    with server.client() as client, pytest.raises(httpx.ReadTimeout):
        client.post("/v1/embeddings", json={"input": ["a long text " * 100] * 200}, timeout=0.3)
    with server.client() as client:
        assert client.post("/embed", json={"inputs": "a"}, timeout=10).status_code == 200
    assert "status=499" in server.log


def _kill_in_the_middle(server: Running) -> None:
    with server.client() as client, pytest.raises(httpx.ReadTimeout):
        client.post("/v1/embeddings", json={"input": ["a long text " * 100] * 200}, timeout=0.3)
    with server.client() as client:
        server.process.kill()
        server.process.wait()
        with pytest.raises(httpx.TransportError):
            client.post("/embed", json={"inputs": "a"})


@pytest.mark.parametrize(("dialect", "status"), [("tgi", 422), ("openai", 400), ("lmi", 424)])
async def test_a_model_that_generates_makes_no_embeddings(application: Client, dialect: str, status: int) -> None:
    """It says so, in its dialect, on every route that embeddings have."""
    async with application(dialect) as client:
        for path, body in (("/invocations", {"input": "a"}), ("/embed", {"inputs": "a"}),
                           ("/rerank", {"query": "a", "texts": ["b"]})):  # fmt: skip
            answer = await client.post(path, json=body)
            assert answer.status_code == status
            assert "does not support Embeddings" in answer.text
        answer = await client.post("/v1/embeddings", json={"input": "a"})
    assert answer.status_code == 400
    assert "does not support Embeddings" in answer.json()["error"]["message"]


@pytest.mark.parametrize("dialect", ["tgi", "openai", "lmi"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/invocations"])
async def test_tools_are_refused_where_the_template_has_none(application: Client, dialect: str, path: str) -> None:
    """A clear 400 in OpenAI's shape, instead of an answer that never calls one."""
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]
    body = {"messages": [{"role": "user", "content": "Rain?"}], "tools": tools, "max_tokens": 1}
    async with application(dialect) as client:
        answer = await client.post(path, json=body)
        without = await client.post(path, json=body | {"tool_choice": "none"})
    assert answer.status_code == 400
    assert "template has no tools" in answer.json()["error"]["message"]
    assert answer.json()["error"]["type"] == "BadRequestError"
    assert without.status_code == 200
