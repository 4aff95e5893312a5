"""Embedders and rerankers over HTTP, by what they send and what they make of answers."""

from __future__ import annotations

import asyncio
import json
import sys
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, strategies as st

from llm_deploy.client.transport import AsyncOpenStream
from llm_deploy.errors import InferenceError, MissingExtraError, ModelFileError, SpecError, WireFormatError
from llm_deploy.rag import embedding, reranking
from llm_deploy.rag.config import EmbeddingConfig, RagConfig, RerankConfig, load_config
from llm_deploy.rag.embedding.remote import RemoteEmbedder
from llm_deploy.rag.reranking.remote import RemoteReranker
from tests.fakes.rag import WordEmbedder


class Answering:
    """See `AsyncTransport`: gives these answers in turn and remembers the requests."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = list(answers)
        self.asked: list[Any] = []

    async def call(self, body: bytes) -> bytes:
        """See `AsyncTransport.call`."""
        self.asked.append(json.loads(body))
        return self._answers.pop(0)

    async def stream(self, body: bytes) -> AsyncOpenStream:
        """Nobody streams vectors."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """See `AsyncTransport.aclose`."""


def tei(**more: object) -> EmbeddingConfig:
    return EmbeddingConfig.model_validate({"kind": "tei", "url": "http://127.0.0.1:1/embed", "batch": 2, **more})


@pytest.mark.row("T7")
def test_tei_is_asked_in_batches() -> None:
    """With its own names, the model's prefix, and texts cut by the server rather than refused."""
    transport = Answering(b"[[1, 0], [0, 2]]", b"[[3, 4]]")
    embedder = RemoteEmbedder(tei(query_prefix="query: "), transport)
    assert asyncio.run(embedder.embed(["a", "b", "c"], "query")) == [[1, 0], [0, 1], [0.6, 0.8]]
    assert transport.asked[0] == {"inputs": ["query: a", "query: b"], "truncate": True}


@pytest.mark.row("T7")
def test_openai_says_the_order() -> None:
    """Vectors come by their index."""
    answer = {"data": [{"index": 1, "embedding": [0, 1]}, {"index": 0, "embedding": [1, 0]}]}
    config = EmbeddingConfig.model_validate({"kind": "openai", "url": "http://127.0.0.1:1/v1/embeddings", "model": "m"})
    transport = Answering(json.dumps(answer).encode())
    assert asyncio.run(RemoteEmbedder(config, transport).embed(["a", "b"], "passage")) == [[1, 0], [0, 1]]
    assert transport.asked[0]["model"] == "m"


@given(
    st.one_of(
        st.binary(max_size=30), st.sampled_from([b"[[1],[2,3]]", b"[[1]]", b'{"data": 3}', b'[["a"],["b"]]', b"[]"])
    )
)
def test_what_are_no_vectors_is_an_error(answer: bytes) -> None:
    """Any bytes: never a vector too few, nor of another length."""
    with pytest.raises(WireFormatError):
        asyncio.run(RemoteEmbedder(tei(), Answering(answer)).embed(["a", "b"], "query"))


def test_the_vectors_length_is_found_out() -> None:
    """Before it is started nobody knows it."""
    embedder = RemoteEmbedder(tei(), Answering(b"[[1, 2, 3]]"))
    with pytest.raises(InferenceError):
        _ = embedder.dimensions
    asyncio.run(embedder.start())
    assert embedder.dimensions == 3


@given(st.text(max_size=400))
def test_a_remote_models_tokens_are_estimated(text: str) -> None:
    """At least a token a word, and the special ones."""
    assert asyncio.run(RemoteEmbedder(tei()).count_tokens([text]))[0] >= len(text.split()) + 2


@pytest.mark.row("T7")
def test_a_rerank_server_scores_each_text() -> None:
    """In the order of the texts, whatever order it answers in."""
    answer = [{"index": 1, "score": 0.9}, {"index": 0, "score": 0.1}]
    config = RerankConfig.model_validate({"kind": "tei", "url": "http://127.0.0.1:1/rerank"})
    transport = Answering(json.dumps(answer).encode())
    assert asyncio.run(RemoteReranker(config, transport).scores("q", ["a", "b"])) == [0.1, 0.9]
    assert transport.asked == [{"query": "q", "texts": ["a", "b"], "truncate": True}]


@given(st.one_of(st.binary(max_size=30), st.sampled_from([b"[]", b'[{"index": 0}]', b'{"a": 1}', b"[1]"])))
def test_what_are_no_scores_is_an_error(answer: bytes) -> None:
    """A passage without a score must not be last in silence."""
    config = RerankConfig.model_validate({"kind": "tei", "url": "http://127.0.0.1:1/rerank"})
    with pytest.raises(WireFormatError):
        asyncio.run(RemoteReranker(config, Answering(answer)).scores("q", ["a"]))


@pytest.mark.parametrize("kind", ["in-process", "tei", "openai", "sagemaker", "sentence-transformers"])
def test_every_kind_of_embedder_is_made_without_loading(kind: str) -> None:
    """Nothing is fetched or asked before `start`."""
    given_ = {"kind": kind, "url": "http://127.0.0.1:1/x", "endpoint_name": "e", "model": "m"}
    assert embedding.make(EmbeddingConfig.model_validate(given_)).name == "m"


@pytest.mark.parametrize("kind", ["late-interaction", "tei", "sagemaker", "cross-encoder"])
def test_every_kind_of_reranker_is_made_without_loading(kind: str) -> None:
    """The same."""
    given_ = {"kind": kind, "url": "http://127.0.0.1:1/x", "endpoint_name": "e", "model": "m"}
    assert reranking.make(RerankConfig.model_validate(given_), WordEmbedder()).name in {"m", "late-interaction"}


def test_a_missing_extra_is_said() -> None:
    """With the command that installs it."""
    try:
        import sentence_transformers  # noqa: F401, PLC0415 - to know whether it is there
    except ImportError:
        config = EmbeddingConfig(kind="sentence-transformers", model="m")
        with pytest.raises(MissingExtraError) as caught:
            asyncio.run(embedding.make(config).start())
        assert "llm-deploy[sentence-transformers]" in (caught.value.hint or "")
    else:
        pytest.skip("sentence-transformers is installed")


class Library(ModuleType):
    """What we use of sentence-transformers: a bi-encoder and a cross-encoder that count letters."""

    class SentenceTransformer:
        """Its vector of a text is its length, and one."""

        max_seq_length = 32

        def __init__(self, name: str) -> None:
            if name == "missing":
                raise OSError("no such model")

        def get_sentence_embedding_dimension(self) -> int:
            """Two."""
            return 2

        def encode(self, texts: list[str], **options: object) -> list[list[float]]:
            """See the class."""
            assert options == {"batch_size": 32, "normalize_embeddings": True, "show_progress_bar": False}
            return [[float(len(text)), 1.0] for text in texts]

        def tokenizer(self, texts: list[str]) -> dict[str, list[list[int]]]:
            """A token a word."""
            return {"input_ids": [[0] * len(text.split()) for text in texts]}

    class CrossEncoder:
        """Likes what is as long as the query."""

        def __init__(self, name: str) -> None:
            """Nothing to load."""

        def predict(self, pairs: list[tuple[str, str]], **_: object) -> list[float]:
            """See the class."""
            return [-abs(len(query) - len(text)) for query, text in pairs]


def test_sentence_transformers_embed_and_rerank(monkeypatch: pytest.MonkeyPatch) -> None:
    """The adapter's side: prefixes, order, lengths, and an error of ours for a model that is not there."""
    monkeypatch.setitem(sys.modules, "sentence_transformers", Library("sentence_transformers"))
    config = EmbeddingConfig(kind="sentence-transformers", model="m", query_prefix="q: ")

    async def main() -> None:
        embedder = embedding.make(config)
        await embedder.start()
        assert (embedder.dimensions, embedder.max_tokens) == (2, 32)
        assert await embedder.embed(["ab", "c"], "query") == [[5, 1], [4, 1]]
        assert await embedder.count_tokens(["a b", "c"]) == [2, 1]
        reranker = reranking.make(RerankConfig(kind="cross-encoder"), embedder)
        assert await reranker.scores("abc", ["a", "abc"]) == [-2, 0]
        with pytest.raises(ModelFileError, match="missing"):
            await embedding.make(config.model_copy(update={"model": "missing"})).start()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("embedding: {kind: tei}", "needs a url"),
        ("chunk: {tokens: 20, overlap: 15}", "half"),
        ("colour: red", "colour"),
        ("rag: {k: 0}", "k: "),
        ("collection: '../x'", "collection"),
        ("[1]", "expected fields"),
        ("a: [", "no YAML"),
    ],
)
def test_a_wrong_configuration_names_the_field(tmp_path: Any, text: str, said: str) -> None:  # noqa: ANN401 - a path
    """And the file."""
    path = tmp_path / "rag.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match=said) as caught:
        load_config(path)
    assert "rag.yaml" in caught.value.message


def test_the_gateways_file_has_a_section(tmp_path: Any) -> None:  # noqa: ANN401 - as above
    """The rest of that file is the gateway's."""
    path = tmp_path / "gateway.yaml"
    path.write_text("models: {}\nrag: {collection: wiki}\n")
    assert load_config(path).collection == "wiki"
    assert load_config(path, collection="other").collection == "other"
    assert load_config(None) == RagConfig()


def test_keys_are_not_shown() -> None:
    """Neither in a configuration's text nor in its JSON."""
    config = RagConfig.model_validate({"store": {"url": "http://h", "api_key": "very-secret"}})
    assert "very-secret" not in f"{config!r}{config.model_dump_json()}"
