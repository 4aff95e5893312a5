"""`llmdeploy rag` as a person runs it, with the real embedding model, the real index and real processes."""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT, Terminal

pytestmark = pytest.mark.xdist_group("rag")

TEXTS = {
    "refunds.md": "---\ntags: [money]\n---\n# Refunds\n\nA refund takes nine days after the goods have come back.\n",
    "shipping.md": "# Shipping\n\nParcels leave the warehouse at six.\n\n## Abroad\n\nCustoms takes a week.\n",
    "returns.html": "<title>Returns</title><h1>Returns</h1><p>Goods can be sent back within thirty days.</p>",
    "stock.py": 'def reorder_level(item):\n    """When new stock is bought."""\n    return 3\n',
}


@pytest.fixture
def shop(terminal: Terminal) -> Terminal:
    """A terminal beside a folder of documents."""
    documents(terminal.folder / "shop", TEXTS)
    return terminal


def documents(folder: Path, texts: dict[str, str]) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text)


@pytest.mark.row("T7")
def test_ingest_search_status_drop(shop: Terminal) -> None:
    """The whole life of a collection: what is found answers the question, also in other words than the document's."""
    assert "Would be: 4 added" in shop.run("rag", "ingest", "shop", "--dry-run").out
    assert "4 added" in shop.run("rag", "ingest", "shop").out
    best = shop.run("rag", "search", "how long until I get my money back", "--json").json["hits"][0]
    assert (best["source"], best["title"], best["tags"]) == ("shop/refunds.md", "Refunds", ["money"])
    assert "shop/stock.py" in shop.run("rag", "search", "reorder_level", "-k", "1").out
    narrowed = shop.run("rag", "search", "goods", "--where", "kind=html", "--json").json["hits"]
    assert {hit["source"] for hit in narrowed} == {"shop/returns.html"}
    (shop.folder / "shop" / "stock.py").unlink()
    again = shop.run("rag", "ingest", "shop", "--json").json
    assert again["totals"] == {"unchanged": 3, "deleted": 1, "passages": 4}
    status = shop.run("rag", "status", "--json").json
    assert (status["documents"], status["incomplete"], status["embedding"]) == (3, [], "minilm")
    assert "Deleted docs." in shop.run("rag", "drop", "--yes").out


@pytest.mark.row("T7")
def test_killed_in_the_middle_and_run_again(shop: Terminal) -> None:
    """SIGKILL while it writes: the same command ends like one that was never cut off, and nothing is there twice."""
    many = {f"{n}.md": f"# Page {n}\n\n" + " ".join(f"Sentence {m} of page {n}." for m in range(80)) for n in range(10)}
    documents(shop.folder / "shop", many)
    running = shop.start("rag", "ingest", "shop")
    index = shop.folder / "home" / "rag" / "edge" / "docs" / "collection.json"
    deadline_s = time.monotonic() + 60
    while not index.is_file() and time.monotonic() < deadline_s:
        time.sleep(0.02)
    time.sleep(0.5)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert running.returncode == -signal.SIGKILL
    again = shop.run("rag", "ingest", "shop", "--json").json
    status = shop.run("rag", "status", "--json").json
    assert status["incomplete"] == []
    assert status["documents"] == len(many) + len(TEXTS)
    assert status["passages"] == again["totals"]["passages"]
    assert shop.run("rag", "ingest", "shop", "--json").json["totals"].keys() == {"unchanged", "passages"}


def test_faults_are_said_in_a_line(shop: Terminal) -> None:
    """No traceback: a missing folder, a server that is not there, a wrong filter, another model, a wrong file."""
    assert "nothing at" in shop.run("rag", "ingest", "nowhere", code=6).err
    down = shop.run("rag", "search", "x", "--qdrant", "http://127.0.0.1:9", code=29)
    assert "does not answer" in down.err
    assert "Traceback" not in down.err
    shop.run("rag", "ingest", "shop")
    assert "no passage has a field 'colour'" in shop.run("rag", "search", "x", "--where", "colour=red", code=3).err
    (shop.folder / "other.yaml").write_text("rag: {embedding: {kind: tei, url: 'http://127.0.0.1:9/embed'}}")
    assert "no connection" in shop.run("rag", "search", "x", "--config", "other.yaml", code=12).err
    (shop.folder / "wrong.yaml").write_text("rag: {k: many}")
    assert "wrong.yaml: k" in shop.run("rag", "search", "x", "--config", "wrong.yaml", code=3).err


def test_two_processes_do_not_share_an_embedded_index(shop: Terminal) -> None:
    """The second one is told what holds it and what to do; the first one goes on."""
    documents(shop.folder / "shop", {f"{n}.md": "A sentence of this page. " * 300 for n in range(9)})
    running = shop.start("rag", "ingest", "shop")
    lock = shop.folder / "home" / "rag" / "edge" / "docs" / "collection.json"
    while not lock.is_file() and running.poll() is None:
        time.sleep(0.02)
    second = shop.run("rag", "search", "page", code=29)
    assert "one process at a time" in second.err
    assert "Qdrant server" in second.err
    assert running.poll() is None
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert "running the same command again goes on from here" in said


@pytest.mark.slow
@pytest.mark.row("T7")
def test_the_projects_own_documents_are_found(terminal: Terminal) -> None:
    """Ingested as the how-to says, searched with the real model: words and vectors together find more than vectors."""
    terminal.run("rag", "ingest", str(ROOT / "docs" / "decisions"), "--name", "docs/decisions")
    questions = terminal.folder / "q.yaml"
    questions.write_text(
        "questions:\n"
        "- {q: Why is there no lock table in DynamoDB?, sources: [docs/decisions/0056-the-endpoint-is-the-lock.md]}\n"
        "- {q: xllamacpp, sources: [docs/decisions/0030-one-adapter-over-llama-cpp.md]}\n".replace("?,", ",")
    )
    reports = terminal.run("rag", "eval", str(questions), "--ablate", "--json").json
    by_name = {each["name"]: each for each in reports}
    assert by_name["as configured"]["recall"] == 1
    assert by_name["as configured"]["mrr"] >= by_name["vectors only"]["mrr"]
    assert "vectors only" in terminal.run("rag", "eval", str(questions), "--ablate").out


@pytest.mark.row("T7")
def test_a_deployed_model_answers_from_documents(local_cloud: Terminal) -> None:
    """Over an endpoint of the local cloud: an answer of real tokens, with the passages that it was made from.

    What the stand-in of 135 million parameters says is not judged.
    """
    documents(local_cloud.folder / "shop", TEXTS)
    local_cloud.run("rag", "ingest", "shop")
    local_cloud.run("deploy-endpoint", str(ROOT / "configs" / "twin.yaml"), "--set", "name=librarian", "--yes")
    try:
        options = ("How long does a refund take?", "--llm", "librarian", "-k", "2")
        answer = local_cloud.run("rag", "ask", *options, "--json").json
        assert answer["answer"].strip()
        assert answer["citations"][0]["source"] == "shop/refunds.md"
        assert answer["usage"]["generated"] > 0
        assert {"embed", "retrieve", "context", "generate"} <= answer["timings"].keys()
        streamed = local_cloud.run("rag", "ask", *options)
        assert streamed.out.strip()
        assert "[1]" in streamed.err
        assert "shop/refunds.md" in streamed.err
    finally:
        local_cloud.run("delete-endpoint", "librarian", "--yes")


@pytest.mark.slow
@pytest.mark.row("T7")
def test_embedding_and_rerank_servers(shop: Terminal) -> None:
    """TEI's and OpenAI's shapes over real HTTP, answered by our own server of the same model."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serving = shop.start("serve", "minilm", "--port", str(port))
    try:
        wait_for_port(port)
        base = f"http://127.0.0.1:{port}"
        for kind, path in (("tei", "embed"), ("openai", "v1/embeddings")):
            (shop.folder / "rag.yaml").write_text(
                f"rag:\n  embedding: {{kind: {kind}, url: '{base}/{path}', model: remote}}\n"
                f"  rerank: {{kind: tei, url: '{base}/rerank'}}\n  steps: {{rerank: true}}\n"
            )
            shop.run("rag", "ingest", "shop", "--config", "rag.yaml")
            found = shop.run("rag", "search", "when is my money back", "--config", "rag.yaml", "--json").json
            assert found["hits"][0]["source"] == "shop/refunds.md"
            assert "rerank" in found["timings_s"]
    finally:
        serving.terminate()
        serving.communicate(timeout=60)


def wait_for_port(port: int) -> None:
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise TimeoutError(port)
