"""`llmdeploy rag`: ingest documents, search them, ask a model about them, measure it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_deploy.cli import options

if TYPE_CHECKING:
    from llm_deploy.client.inference import AsyncInference
    from llm_deploy.rag.config import RagConfig
    from llm_deploy.rag.ingest import Outcome
    from llm_deploy.rag.passages import Hit
    from llm_deploy.rag.retrieval import AsyncContextRetriever
    from llm_deploy.rag.service import RagAnswer, RagService

app = typer.Typer(no_args_is_help=True, help="Answer questions from documents, over Qdrant.")

SHOWN_CHARACTERS = 160
MIB = 1024 * 1024
COMFORT = {"edge": 100_000, "local": 5_000}
"""Passages up to which an embedded index answers well. Source: docs/explanation/rag-evaluation.md."""

Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="YAML with a section rag:; else the defaults.")
]
Collection = Annotated[str | None, typer.Option("--collection", metavar="NAME", help="Instead of the config's.")]
Qdrant = Annotated[
    str | None, typer.Option("--qdrant", metavar="URL", help="A Qdrant server; else the config's, else embedded.")
]
Results = Annotated[int | None, typer.Option("-k", "--k", metavar="N", min=1, max=50, help="Most passages.")]
Where = Annotated[
    list[str] | None,
    typer.Option("--where", metavar="FIELD=VALUE", help="Narrow the search, e.g. kind=pdf; may be repeated."),
]
Model = Annotated[str, typer.Option("--llm", metavar="NAME|URL", help="Who answers: a deployment, or a URL.")]


@app.command("ingest")
def ingest(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A folder, or a file.")],
    config: Config = None,
    collection: Collection = None,
    qdrant: Qdrant = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="What sources begin with; else the folder's name.")
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="PATTERN", help="As in .gitignore; may be repeated; !PATTERN takes back."),
    ] = None,
    largest_mib: Annotated[
        float, typer.Option("--largest", metavar="MIB", min=0.001, help="Leave out files above this size.")
    ] = 20.0,
    anew: Annotated[
        bool, typer.Option("--anew", help="Also when nothing of what is stored of this folder is there any more.")
    ] = False,
    dry_run: options.DryRun = False,
    as_json: options.AsJson = False,
) -> None:
    """Bring a collection in line with a folder: what is new or changed goes in, what disappeared goes out.

    Interrupted anywhere, the same command goes on from there.
    """
    from llm_deploy.rag.files import Walk

    settings = _config(config, collection, qdrant)
    walk = Walk(path, name=name, exclude=exclude or [], largest_bytes=int(largest_mib * MIB))
    outcomes: list[Outcome] = []

    async def work(retriever: AsyncContextRetriever) -> None:
        from llm_deploy.rag.ingest import Ingestion

        run = Ingestion(settings, retriever.embedder, await retriever.index()).run(walk, dry=dry_run, anew=anew)
        await _follow(run, outcomes, quiet=as_json)

    _with_retriever(settings, work)
    _show_totals(outcomes, settings.collection, dry_run=dry_run, as_json=as_json)


@app.command("search")
def search(
    query: Annotated[str, typer.Argument(metavar="QUERY")],
    k: Results = None,
    where: Where = None,
    config: Config = None,
    collection: Collection = None,
    qdrant: Qdrant = None,
    as_json: options.AsJson = False,
) -> None:
    """Find the passages that fit a query, best first."""
    from llm_deploy.cli import screen

    settings = _config(config, collection, qdrant)

    async def work(retriever: AsyncContextRetriever) -> Any:  # noqa: ANN401 - a `Retrieval`, imported late
        await retriever.ready()
        return await retriever.search(query, k, filters=_filters(where))

    found = _with_retriever(settings, work)
    if as_json:
        hits = [{"score": hit.score, **screen.json_of(hit.passage)} for hit in found.hits]
        screen.write_json(
            {"queries": list(found.queries), "hits": hits, "notes": list(found.notes), "timings_s": found.timings}
        )
        return
    for number, hit in enumerate(found.hits, 1):
        typer.echo(_hit_line(number, hit))
    screen.say("  " + _timings(found.timings))


@app.command("ask")
def ask(
    query: Annotated[str, typer.Argument(metavar="QUERY")],
    llm: Model,
    target: options.Target = None,
    k: Results = None,
    where: Where = None,
    config: Config = None,
    collection: Collection = None,
    qdrant: Qdrant = None,
    as_json: options.AsJson = False,
) -> None:
    """Answer a question from the collection, with the passages that it was made from."""
    settings = _config(config, collection, qdrant)

    async def work(service: RagService) -> RagAnswer:
        await service.ready()
        if as_json:
            return await service.answer(query, k, _filters(where))
        return await _shown(service.stream(query, k, _filters(where)))

    answer = _with_service(settings, llm, target, work)
    _show_answer(answer, as_json=as_json)


@app.command("eval")
def evaluate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Questions with the sources that answer them, as YAML.")],
    k: Results = None,
    ablate: Annotated[
        bool, typer.Option("--ablate", help="Measure the configuration with each step switched, one by one.")
    ] = False,
    llm: Annotated[
        str | None, typer.Option("--llm", metavar="NAME|URL", help="Also answer, and measure how grounded that is.")
    ] = None,
    target: options.Target = None,
    config: Config = None,
    collection: Collection = None,
    qdrant: Qdrant = None,
    as_json: options.AsJson = False,
) -> None:
    """Measure how well searches find what answers the questions: recall, MRR, nDCG, and time of each step."""
    from llm_deploy.cli import screen
    from llm_deploy.rag import evaluation

    settings = _config(config, collection, qdrant)
    questions = evaluation.load_questions(file)

    async def searched(retriever: AsyncContextRetriever) -> list[evaluation.Report]:
        await retriever.ready()
        return await evaluation.compare(retriever, questions, k or settings.k, ablate=ablate)

    async def answered(service: RagService) -> list[evaluation.Report]:
        await service.ready()
        reports = await evaluation.compare(service.retriever, questions, k or settings.k, ablate=ablate)
        return [await evaluation.with_answers(reports[0], service, questions), *reports[1:]]

    reports = _with_service(settings, llm, target, answered) if llm else _with_retriever(settings, searched)
    if as_json:
        screen.write_json([each.document() for each in reports])
        return
    for line in screen.table([each.row() for each in reports], evaluation.HEADERS):
        typer.echo(line)


@app.command("status")
def status(
    config: Config = None, collection: Collection = None, qdrant: Qdrant = None, as_json: options.AsJson = False
) -> None:
    """Say what the collection holds, and where it is."""
    from llm_deploy.cli import screen

    settings = _config(config, collection, qdrant)

    async def work(retriever: AsyncContextRetriever) -> dict[str, Any]:
        index = await retriever.index()
        await index.check()
        stored = await index.inventory()
        return {
            "collection": index.collection,
            "where": index.connection.where,
            "embedding": index.embedding,
            "dimensions": index.dimensions,
            "documents": len(stored),
            "passages": sum(each.digests.total() for each in stored.values()),
            "incomplete": sorted(name for name, each in stored.items() if not each.is_whole(next(iter(each.digests)))),
        }

    found = _with_retriever(settings, work)
    if as_json:
        screen.write_json(found)
        return
    for name, value in found.items():
        typer.echo(f"{name:<11} {', '.join(value) or 'none' if isinstance(value, list) else value}")
    comfort = COMFORT[settings.store.engine]
    if not settings.store.url and found["passages"] > comfort:
        screen.say(f"  above {comfort} passages something else is faster: see docs/how-to/rag.md")


@app.command("drop")
def drop(config: Config = None, collection: Collection = None, qdrant: Qdrant = None, yes: options.Yes = False) -> None:
    """Delete the collection with all that was ingested."""
    from llm_deploy.cli import screen
    from llm_deploy.rag.connection import connect

    settings = _config(config, collection, qdrant)
    screen.agree(f"Delete the collection {settings.collection!r}?", yes=yes, can_look=False)

    async def work() -> bool:
        connection = connect(settings.store)
        try:
            there = await connection.call("collection_exists", collection_name=settings.collection)
            if there:
                await connection.call("delete_collection", collection_name=settings.collection)
            return bool(there)
        finally:
            await connection.aclose()

    name = settings.collection
    typer.echo(f"Deleted {name}." if _run(work()) else f"There is no collection {name}; nothing was deleted.")


def _config(path: Path | None, collection: str | None, qdrant: str | None) -> RagConfig:
    from llm_deploy.rag.config import load_config

    found = load_config(path, collection=collection)
    if qdrant is None:
        return found
    return load_config(path, collection=collection, store=found.store.model_dump(exclude_unset=True) | {"url": qdrant})


def _llm(llm: str, target: str | None) -> AsyncInference:
    from llm_deploy.client import connect
    from llm_deploy.client.addresses import is_url

    if is_url(llm):
        return connect.open_async(llm)
    from llm_deploy.targets import registry

    return connect.open_async(llm, session=registry.connect(target).session)


def _filters(where: list[str] | None) -> dict[str, Any]:
    """`["kind=pdf", "tags=a", "tags=b", "page=3"]` as filters; a field given twice means any of its values."""
    from llm_deploy.errors import SpecError

    found: dict[str, list[Any]] = {}
    for each in where or []:
        name, separator, value = each.partition("=")
        if not separator or not value:
            raise SpecError(f"--where {each}: expected FIELD=VALUE, for example --where kind=pdf")
        found.setdefault(name.strip(), []).append(int(value) if name == "page" and value.isdecimal() else value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _run(work: Awaitable[Any]) -> Any:  # noqa: ANN401 - what the work gives
    import asyncio

    async def main() -> Any:  # noqa: ANN401 - as above
        return await work

    return asyncio.run(main())


def _with_retriever(settings: RagConfig, work: Callable[[AsyncContextRetriever], Awaitable[Any]]) -> Any:  # noqa: ANN401
    from llm_deploy.rag.retrieval import AsyncContextRetriever

    async def main() -> Any:  # noqa: ANN401 - as above
        async with AsyncContextRetriever(settings) as retriever:
            return await work(retriever)

    return _run(main())


def _with_service(
    settings: RagConfig, llm: str, target: str | None, work: Callable[[RagService], Awaitable[Any]]
) -> Any:  # noqa: ANN401 - as above
    from llm_deploy.rag.service import build

    async def main() -> Any:  # noqa: ANN401 - as above
        async with build(settings.model_copy(update={"model": llm}), _llm(llm, target)) as service:
            return await work(service)

    return _run(main())


async def _follow(run: AsyncIterator[Outcome], outcomes: list[Outcome], *, quiet: bool) -> None:
    import sys

    from llm_deploy.cli import screen

    live = sys.stderr.isatty() and not quiet
    async for outcome in run:
        outcomes.append(outcome)
        if live:
            typer.echo(f"\r\x1b[K  {len(outcomes)} files, now {outcome.source[-80:]}", nl=False, err=True)
        if (outcome.note or outcome.status in {"skipped", "deleted"}) and not quiet:
            screen.say(("\r\x1b[K" if live else "") + f"  {outcome.status} {outcome.source} {outcome.note}".rstrip())
    if live:
        typer.echo("\r\x1b[K", nl=False, err=True)


def _show_totals(outcomes: list[Outcome], collection: str, *, dry_run: bool, as_json: bool) -> None:
    from llm_deploy.cli import screen
    from llm_deploy.rag.ingest import totals

    found = totals(outcomes)
    if as_json:
        screen.write_json({"collection": collection, "dry_run": dry_run, "totals": found,
                           "documents": [screen.json_of(each) for each in outcomes]})  # fmt: skip
        return
    counts = ", ".join(f"{number} {name}" for name, number in found.items() if name != "passages")
    passages = "" if dry_run else f"; {found.get('passages', 0)} passages"
    typer.echo(f"{'Would be: ' if dry_run else ''}{counts or 'no files'}{passages} in {collection}.")


async def _shown(events: Any) -> RagAnswer:  # noqa: ANN401 - an async generator of events, imported late
    from contextlib import aclosing

    from llm_deploy.errors import StreamBrokenError

    async with aclosing(events):
        async for event in events:
            if event.kind == "token":
                typer.echo(event.text, nl=False)
            if event.answer is not None:
                typer.echo()
                return event.answer  # type: ignore[no-any-return]
    raise StreamBrokenError("the answer ended before it was whole")


def _show_answer(answer: RagAnswer, *, as_json: bool) -> None:
    from llm_deploy.cli import screen

    if as_json:
        screen.write_json(screen.json_of(answer))
        return
    named = {each.n for each in answer.cited}
    for each in answer.citations:
        place = " > ".join(part for part in (each.title, each.section) if part)
        page = f", page {each.page}" if each.page else ""
        screen.say(f"  [{each.n}]{'*' if each.n in named else ' '} {each.source}{page}  {place}")
    for note in answer.notes:
        screen.say(f"  {note}")
    screen.say("  " + _timings(answer.timings))


def _hit_line(number: int, hit: Hit) -> str:
    found = hit.passage
    page = f", page {found.page}" if found.page else ""
    text = " ".join(found.text.split())
    shown = text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS].rsplit(" ", 1)[0] + " ..."
    return f"{number}. {hit.score:.3f}  {found.source}{page}  {found.heading}\n   {shown}"


def _timings(timings: dict[str, float]) -> str:
    return ", ".join(f"{name} {1000 * seconds:.0f} ms" for name, seconds in timings.items())
