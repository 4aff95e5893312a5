"""`llmdeploy bench`: load an endpoint or an address, and say what it carries."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from llm_deploy.cli import options

if TYPE_CHECKING:
    from llm_deploy.bench.document import Report, Target, Workload
    from llm_deploy.bench.prompts import Prompts
    from llm_deploy.bench.service import Measured, Plan

MOST = 1e6


def bench(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME|URL", help="A deployment, or the address of a server.")
    ] = None,
    target: options.Target = None,
    rate: Annotated[
        str | None,
        typer.Option(metavar="R[,R]", help="Requests per second, whatever comes back."),
    ] = None,
    users: Annotated[str | None, typer.Option(metavar="N[,N]", help="Users who each wait for their answer.")] = None,
    trace: Annotated[
        Path | None,
        typer.Option(metavar="FILE", exists=True, dir_okay=False, help="Replay times (and lengths) of a CSV or JSONL."),
    ] = None,
    speed: Annotated[float, typer.Option(min=0.001, help="Replay the trace so many times as fast.")] = 1.0,
    arrivals: Annotated[
        Literal["poisson", "constant"], typer.Option(help="How requests of a rate follow each other.")
    ] = "poisson",
    duration_s: Annotated[
        float, typer.Option("--duration", metavar="SECONDS", min=0.1, help="Of each load that is tried.")
    ] = 20.0,
    requests: Annotated[int | None, typer.Option(metavar="N", min=1, help="Most requests of each load.")] = None,
    warm_up_s: Annotated[
        float | None, typer.Option("--warm-up", metavar="SECONDS", min=0, help="Left out; else found by itself.")
    ] = None,
    in_flight: Annotated[
        int, typer.Option("--in-flight", metavar="N", min=1, max=20_000, help="Most requests at once.")
    ] = 1024,
    timeout_s: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0.1, help="Longest time for an answer.")
    ] = 120.0,
    prompts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", exists=True, dir_okay=False, help="One a line, or JSONL: prompt or messages."),
    ] = None,
    input_tokens: Annotated[
        str, typer.Option(metavar="LENGTHS", help="Of made-up prompts: 128, uniform:64-256, normal:200,50, ...")
    ] = "128",
    output_tokens: Annotated[str, typer.Option(metavar="LENGTHS", help="Most new tokens, in the same words.")] = "64",
    chat: Annotated[bool, typer.Option("--chat", help="Ask through the model's chat template.")] = False,
    no_stream: Annotated[bool, typer.Option("--no-stream", help="Ask for whole answers.")] = False,
    seed: Annotated[int, typer.Option(help="Same seed: same prompts and arrivals.")] = 0,
    slo: Annotated[
        str | None, typer.Option(metavar="LIMITS", help="Of a good answer: ttft=500ms,tpot=50ms,gap=1s,total=10s.")
    ] = None,
    share: Annotated[
        float, typer.Option(metavar="PERCENT", min=1, max=100, help="So many answers must be good.")
    ] = 99.0,
    precision: Annotated[
        float, typer.Option(metavar="PERCENT", min=1, max=100, help="Of the rate that is searched for.")
    ] = 10.0,
    component: Annotated[
        str | None, typer.Option("--component", metavar="NAME", help="Inference component, where there are several.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(metavar="VARIABLE", help="Environment variable with the API key of a URL.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="The model's name, where the server of a URL wants one.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Write the report as a page.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", dir_okay=False, help="Write the report as JSON.")
    ] = None,
    as_json: options.AsJson = False,
    dry_run: options.DryRun = False,
    self_test: Annotated[
        bool, typer.Option("--self-test", help="Measure the load generator itself; nothing is called.")
    ] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of the report.")] = False,
) -> None:
    """Load an endpoint or an address, and report latencies, throughput and the largest rate that meets the SLO.

    Latencies count from when a request was due, so what a slow model delays is not left out. Ctrl-C ends the test and
    reports what was measured.

    \b
    llmdeploy bench twin --slo ttft=500ms,tpot=50ms --html report.html
    llmdeploy bench twin --rate 1,2,4 --duration 60 --output-tokens lognormal:128,2
    llmdeploy bench http://127.0.0.1:8080/v1 --users 1,8,32 --json
    """  # noqa: D301 - \b keeps click from joining the lines
    from llm_deploy.bench.load import Bounds
    from llm_deploy.bench.service import Plan
    from llm_deploy.bench.slo import slo as slo_of
    from llm_deploy.cli import bench_screen, screen
    from llm_deploy.errors import SpecError

    if schema:
        from llm_deploy.bench.document import Report

        screen.write_json(Report.model_json_schema())
        return
    if self_test:
        _self_test(as_json=as_json)
        return
    if name is None:
        raise SpecError("bench needs the name of a deployment or an address", hint="`llmdeploy list` shows names.")
    plan = Plan(
        bounds=Bounds(duration_s, in_flight, timeout_s, min(timeout_s, 60.0), requests),
        slo=slo_of(slo, share / 100),
        rates_per_s=_numbers("--rate", rate, float),
        users=tuple(map(int, _numbers("--users", users, int))),
        trace_path=trace,
        speed=speed,
        process=arrivals,
        warm_up_s=warm_up_s,
        seed=seed,
        precision=precision / 100,
    )
    if sum(map(bool, (plan.rates_per_s, plan.users, plan.trace_path))) > 1:
        raise SpecError("--rate, --users and --trace exclude each other")
    asked = _Asked(prompts, input_tokens, output_tokens, seed, chat=chat, streamed=not no_stream)
    if dry_run:
        bench_screen.show_plan(name, plan, asked.workload(), as_json=as_json)
        return
    bench_screen.check_writable(html, output)
    place = _Place(name, target, component, key, model)
    bench_screen.write(place.measured(plan, asked), html=html, output=output, as_json=as_json)


class _Asked:
    """What is asked, read and checked before anything is sent."""

    def __init__(
        self, path: Path | None, input_tokens: str, output_tokens: str, seed: int, *, chat: bool, streamed: bool
    ) -> None:
        from llm_deploy.bench.prompts import lengths, read

        self._path, self._seed, self._chat = path, seed, chat
        self._texts = None if path is None else read(path)
        self._input = lengths(input_tokens, "--input-tokens")
        self._output = lengths(output_tokens, "--output-tokens")
        self.streamed = streamed

    def prompts(self) -> Prompts:
        """The requests of one phase."""
        from llm_deploy.bench.prompts import Prompts

        return Prompts(
            seed=self._seed,
            output_tokens=self._output,
            input_tokens=self._input,
            texts=self._texts,
            chat=self._chat,
        )

    def workload(self) -> Workload:
        """For the report."""
        from llm_deploy.bench.document import Workload

        return Workload(
            prompts="made up" if self._path is None else self._path.name,
            input_tokens=str(self._input) if self._path is None else None,
            output_tokens=str(self._output),
            seed=self._seed,
            chat=self._chat,
            streamed=self.streamed,
        )


class _Place:
    """What is loaded: a deployment by its name, or an address."""

    def __init__(
        self, name: str, target: str | None, component: str | None, key: str | None, model: str | None
    ) -> None:
        from llm_deploy.errors import SpecError

        self._name, self._component, self._model = name, component, model
        self._is_url = name.startswith(("http://", "https://"))
        self._key = None if key is None else os.environ.get(key)
        if key is not None and not self._key:
            raise SpecError(f"--key {key}: the environment has no such variable")
        if not self._is_url:
            options.checked_name(name)
            from llm_deploy.targets.registry import connect

            self._connection = connect(target)

    def measured(self, plan: Plan, asked: _Asked) -> Report:
        """Run the test and make its report."""
        from llm_deploy.bench.service import report

        described, notes = self._described()
        measured = asyncio.run(self._run(plan, asked))
        return report(measured, plan, described, asked.workload(), notes)

    async def _run(self, plan: Plan, asked: _Asked) -> Measured:
        from llm_deploy.bench.service import LoadTest, asker
        from llm_deploy.cli import bench_screen
        from llm_deploy.client import connect
        from llm_deploy.client.patience import Patience

        stop = asyncio.Event()
        model = connect.open_async(
            self._name,
            inference_component_name=self._component,
            session=None if self._is_url else self._connection.session,
            api_key=self._key,
            model=self._model,
            patience=Patience(attempts=1),
        )
        test = LoadTest(
            plan, asker(model, streamed=asked.streamed), asked.prompts, stop=stop, on_phase=bench_screen.say_phase
        )
        with suppress(NotImplementedError):  # not on Windows, where Ctrl-C ends it without a report
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
        watching = asyncio.create_task(bench_screen.watch(test))
        try:
            return await test.run()
        finally:
            watching.cancel()
            await model.aclose()

    def _described(self) -> tuple[Target, list[str]]:
        """What is known of it, and what a reader should know."""
        from llm_deploy.bench.document import Target
        from llm_deploy.errors import LlmDeployError, NotFoundError

        if self._is_url:
            from llm_deploy.client.addresses import without_login

            return Target(name=without_login(self._name)[0], kind="url", model=self._model), []
        try:
            return self._deployment(), []
        except NotFoundError:  # every request would fail
            raise
        except LlmDeployError as error:  # a caller who may only invoke can still measure
            note = f"Copies and price are unknown: {error.message}"
            return Target(name=self._name, kind="endpoint"), [note]

    def _deployment(self) -> Target:
        from llm_deploy.bench.document import Target
        from llm_deploy.targets.sagemaker.machines import usd_per_hour
        from llm_deploy.targets.sagemaker.overview import deployment_status

        found = deployment_status(self._connection.session, self._name)
        copies = sum(component.copies or 0 for component in found.components)
        machines = sum(int(each["count"]) for each in found.instances)
        return Target(
            name=self._name,
            kind="endpoint",
            model=found.model,
            copies=copies or machines or None,
            machines=", ".join(f"{each['count']} {each['type']}" for each in found.instances) or None,
            usd_per_hour=usd_per_hour(found.instances, self._connection.region),
        )


def _numbers(option: str, text: str | None, kind: type[float | int]) -> tuple[float, ...]:
    from llm_deploy.errors import SpecError

    try:
        found = tuple(kind(part) for part in (text or "").split(",") if part.strip())
    except ValueError as error:
        raise SpecError(f"{option} {text}: expected numbers, for example 1,2,4") from error
    if any(not 0 < number < MOST for number in found):
        raise SpecError(f"{option} {text}: expected numbers above 0 and below {MOST:g}")
    return found


def _self_test(*, as_json: bool) -> None:
    from dataclasses import asdict

    from llm_deploy.bench import null_model
    from llm_deploy.cli import bench_screen, screen

    async def measured() -> tuple[null_model.Cost, list[null_model.Accuracy]]:
        return await null_model.cost(), [await null_model.accuracy(rate) for rate in null_model.RATES_PER_S]

    cost, rows = asyncio.run(measured())
    if as_json:
        screen.write_json({"cost": asdict(cost), "accuracy": [asdict(row) for row in rows]})
    else:
        bench_screen.show_self_test(cost, rows)
