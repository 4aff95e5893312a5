"""CloudWatch: alarms that are kept, metrics that are recorded; over the JSON protocol and the older query protocol."""

from __future__ import annotations

from collections.abc import Mapping

from llm_deploy.emulator import ledger
from llm_deploy.emulator.app import WRONG_REGION, refuse_xml
from llm_deploy.emulator.cloudwatch.alarms import Alarms
from llm_deploy.emulator.cloudwatch.metrics import MetricOperations
from llm_deploy.emulator.cloudwatch.query import answer_query
from llm_deploy.emulator.cloudwatch.series import RETENTION_S, Metrics, metric_key
from llm_deploy.emulator.http import Request
from llm_deploy.emulator.service import Cloud, JsonService, ServiceError

NAMESPACE = "AWS/SageMaker"
SAVE_EVERY_S = 2.0
"""Real seconds of datapoints that a SIGKILL may cost."""


def install(cloud: Cloud) -> None:
    """Answer CloudWatch, and take the datapoints of SageMaker's own metrics."""
    metrics, alarms = Metrics(cloud.random), Alarms(cloud)
    service = JsonService(
        model="cloudwatch",
        target_prefix="GraniteServiceVersion20100801",
        operations=alarms.operations() | MetricOperations(cloud, metrics).operations(),
        json_version="1.0",
    )
    cloud.registry.add_json(service)
    cloud.tags["cloudwatch"] = alarms.tags_of

    async def answer_form(request: Request) -> None:
        here = cloud.settings.region
        if request.signature is not None and request.signature.region != here:
            words = ledger.text("local.wrong-region", here=here, asked=request.signature.region)
            await refuse_xml(request, ServiceError(WRONG_REGION, words), wrapped=True)
            return
        await answer_query(cloud, service, request)

    def record(name: str, dimensions: Mapping[str, str], value: float, unit: str) -> None:
        metrics.record(metric_key(NAMESPACE, name, dimensions), value, cloud.clock.now(), unit=unit)

    async def begin() -> None:
        metrics.load(cloud.store)
        cloud.spawn(_keep(cloud, metrics), "cloudwatch metrics")

    async def end() -> None:
        metrics.save(cloud.store)

    cloud.registry.add_raw("monitoring", answer_form)
    cloud.hooks.metric = record
    cloud.at_start.append(begin)
    cloud.at_stop.append(end)


async def _keep(cloud: Cloud, metrics: Metrics) -> None:
    """Save and forget in the background."""
    while True:
        await cloud.clock.until(cloud.clock.deadline(0.0, least_real_s=SAVE_EVERY_S))
        metrics.save(cloud.store)
        metrics.forget_before(cloud.clock.now() - RETENTION_S, cloud.store)
