"""What happens to an endpoint after something was asked of it.

One task for each endpoint goes on from whatever the stored document says, so that a cloud that was killed goes on where
it was: `Creating` and `Updating` documents carry the moment until which AWS would still be at it (`due`).
"""

from __future__ import annotations

import asyncio

from llm_deploy.emulator import ledger
from llm_deploy.emulator.containers.fleet import Fleet
from llm_deploy.emulator.sagemaker import rollout
from llm_deploy.emulator.sagemaker.hosting import ASYNC, ENDPOINT, Hosting, only
from llm_deploy.emulator.sagemaker.role_use import pull_problem, with_role
from llm_deploy.emulator.sagemaker.standin import container_spec
from llm_deploy.emulator.store import Document

LEAST_WINDOW_S = 20.0
"""Real seconds that a container has at least before it counts as failed: a process here needs the time that it needs.
Ledger: `sm.endpoint.health-window`."""


class EndpointLife:
    """Brings endpoints to the state that their documents ask for."""

    def __init__(self, hosting: Hosting) -> None:
        self._hosting = hosting
        self._clock = hosting.cloud.clock
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def resume(self) -> None:
        """At the cloud's start: give every endpoint its processes back, and go on with what was under way."""
        for document in self._hosting.cloud.store.all(ENDPOINT):
            if document["EndpointStatus"] not in ("Creating", "Failed", "Deleting"):
                self._serve(document)
            self.go_on(document["EndpointName"])

    def go_on(self, name: str) -> None:
        """Work on an endpoint until its status is a resting one."""
        self._tasks[name] = self._hosting.cloud.spawn(self._go_on(name), f"endpoint {name}")

    async def _go_on(self, name: str) -> None:
        document = self._hosting.endpoint(name)
        status = document["EndpointStatus"]
        if status not in ("Creating", "Updating", "RollingBack", "Deleting"):
            return
        await self._clock.until(document["due"])
        if status == "Creating":
            await self._create(name)
        elif status == "Deleting":
            await self._delete(name)
        elif status == "RollingBack":
            self._rolled_back(name)
        elif document.get("pending"):
            await self._replace(name)
        else:
            await self._scale(name)

    async def _create(self, name: str) -> None:
        document = self._hosting.endpoint(name)
        if problem := self._pull_problem(document):
            document.update(EndpointStatus="Failed", FailureReason=problem)
            self._hosting.save_endpoint(document)
            return
        for variant in document["variants"]:
            self._take_instances(variant)
        fleets = self._serve(document)
        failed = await self._first_not_ready(document, fleets)
        if failed:
            await self._stop(fleets)
            document["EndpointStatus"] = "Failed"
            document["FailureReason"] = ledger.text("sm.endpoint.ping", variant=failed)
        else:
            document["EndpointStatus"] = "InService"
        self._hosting.save_endpoint(document)

    def _pull_problem(self, document: Document) -> str | None:
        """The first image that cannot be pulled, in AWS's words."""
        containers = [each["container"] for each in document["variants"] if each.get("container")]
        found = (pull_problem(self._hosting, each, document["EndpointArn"]) for each in containers)
        return next((problem for problem in found if problem), None)

    async def _replace(self, name: str) -> None:
        """The new fleet comes up beside the old one and takes over, step by step; then the old one goes."""
        pending = self._hosting.endpoint(name)["pending"]
        for variant in pending["variants"]:
            self._take_instances(variant)
        fleets = {owner: self._new_fleet(owner, variant, name) for owner, variant in _owners(name, pending["variants"])}
        expires = pending.get("expires", float("inf"))
        new = {"EndpointName": name, "variants": pending["variants"]}
        failed = await self._first_not_ready(new, fleets, until=expires)
        if failed:
            late = self._clock.now() >= expires
            reason = self._too_late(pending) if late else ledger.text("sm.endpoint.ping", variant=failed)
            await self._roll_back(name, fleets, reason)
            return
        old: dict[str, Fleet | None] = {}
        for step in rollout.steps(pending["deployment"], _most(pending["variants"])):
            if step["capacity"] == "full" and not old:
                old = {owner: self._hosting.fleets.put(owner, fleet) for owner, fleet in fleets.items()}
            reason = await self._bake(name, step)
            if reason:
                for owner, fleet in old.items():
                    if fleet:
                        self._hosting.fleets.put(owner, fleet)
                await self._roll_back(name, fleets, reason)
                return
        await self._switch(name, pending["variants"], fleets, old)

    async def _bake(self, name: str, step: Document) -> str:
        """Watch the alarms for the time of a step; the reason to go back, if any. Ledger: `sm.update.alarm`."""
        document = self._hosting.endpoint(name)
        pending = document["pending"]
        pending.update(step=step, since=self._clock.now())
        self._hosting.save_endpoint(document)
        end = self._clock.deadline(step["wait_s"])
        while step["wait_s"]:
            if tripped := self._hosting.cloud.hooks.alarms_on(rollout.alarms(pending["deployment"])):
                return ledger.text("sm.update.alarm", names=", ".join(tripped))
            if self._clock.now() >= pending.get("expires", float("inf")):
                return self._too_late(pending)
            if self._clock.now() >= end:
                break
            look = self._clock.deadline(rollout.LOOK_EVERY_S, least_real_s=rollout.LOOK_LEAST_S)
            await self._clock.until(min(end, look))
        return ""

    def _too_late(self, pending: Document) -> str:
        return ledger.text("sm.update.timeout", seconds=rollout.limit_s(pending["deployment"]))

    async def _switch(
        self, name: str, variants: list[Document], fleets: dict[str, Fleet], old: dict[str, Fleet | None]
    ) -> None:
        document = self._hosting.endpoint(name)
        before = dict(_owners(name, document["variants"]))
        _keep_instances(document["variants"], variants)
        for variant in variants:
            variant.pop("extra", None)
        document.update(
            EndpointConfigName=document["pending"]["EndpointConfigName"], variants=variants, EndpointStatus="InService"
        )
        del document["pending"]
        self._hosting.save_endpoint(document)
        await asyncio.gather(*(self._hosting.fleets.discard(fleet) for fleet in old.values() if fleet))
        await asyncio.gather(*(self._hosting.fleets.stop(owner) for owner in before.keys() - fleets.keys()))

    async def _roll_back(self, name: str, fleets: dict[str, Fleet], reason: str) -> None:
        """Let the old fleet go on alone. Ledger: `sm.update.rollback`."""
        document = self._hosting.endpoint(name)
        document["EndpointStatus"] = "RollingBack"
        document["FailureReason"] = reason
        document["due"] = self._clock.deadline(ledger.duration_s("sm.update.rollback"))
        self._hosting.save_endpoint(document)
        await self._stop(fleets)
        await self._clock.until(document["due"])
        self._rolled_back(name)

    def _rolled_back(self, name: str) -> None:
        document = self._hosting.endpoint(name)
        document.pop("pending", None)
        document["EndpointStatus"] = "InService"
        self._hosting.save_endpoint(document)

    async def _scale(self, name: str) -> None:
        document = self._hosting.endpoint(name)
        for variant in document["variants"]:
            self._take_instances(variant)
            variant["CurrentWeight"] = variant["DesiredWeight"]
        fleets = self._serve(document)
        # The copies that were there serve on; new ones that never get ready are restarted for ever, as at AWS.
        await self._first_not_ready(document, fleets)
        document["EndpointStatus"] = "InService"
        self._hosting.save_endpoint(document)

    async def _delete(self, name: str) -> None:
        document = self._hosting.endpoint(name)
        await asyncio.gather(
            *(self._hosting.fleets.stop(owner) for owner, _ in _owners(name, document["variants"])),
            *(
                self._hosting.fleets.stop(f"inference-component/{each['InferenceComponentName']}")
                for each in self._hosting.components_of(name)
            ),
        )
        self._hosting.forget(ENDPOINT, name.lower(), document["EndpointArn"])

    def _take_instances(self, variant: Document) -> None:
        """Give a variant as many instances as it wants."""
        wanted = variant["DesiredInstanceCount"]
        instances = variant["instances"][:wanted]
        instances += [new_instance(self._hosting) for _ in range(wanted - len(instances))]
        variant["instances"] = instances
        variant["CurrentInstanceCount"] = wanted

    def _serve(self, document: Document) -> dict[str, Fleet]:
        """Have the right number of copies for every variant that runs a model; returns at once."""
        name = document["EndpointName"]
        fleets = {}
        for owner, variant in _owners(name, document["variants"]):
            fleet = self._hosting.fleets.serving(owner) or self._new_fleet(owner, variant, name)
            fleet.scale(_streams(variant))
            self._hosting.fleets.put(owner, fleet)
            fleets[owner] = fleet
        return fleets

    def _new_fleet(self, owner: str, variant: Document, endpoint: str) -> Fleet:
        group, source = f"/aws/sagemaker/Endpoints/{endpoint}", self._hosting.arn("endpoint", endpoint)
        spec = container_spec(self._hosting, variant["container"], group, source)
        fleet = self._hosting.fleets.new(owner, spec)
        fleet.scale(_streams(variant))
        return fleet

    async def _first_not_ready(
        self, document: Document, fleets: dict[str, Fleet], *, until: float = float("inf")
    ) -> str | None:
        """Wait for every fleet; the name of a variant that did not get ready in time."""
        for owner, variant in _owners(document["EndpointName"], document["variants"]):
            window = min(until, health_window(self._hosting, variant["config"]))
            if not await fleets[owner].ready(window):
                return str(variant["VariantName"])
        return None

    async def _stop(self, fleets: dict[str, Fleet]) -> None:
        for owner, fleet in fleets.items():
            if self._hosting.fleets.serving(owner) is fleet:
                await self._hosting.fleets.stop(owner)
            else:
                await self._hosting.fleets.discard(fleet)


def new_variants(hosting: Hosting, config: Document) -> list[Document]:
    """The variants of a config as an endpoint keeps them; each knows whether its endpoint is asynchronous.

    Raises:
        ServiceError: A model does not exist any more.
    """
    variants = [_new_variant(hosting, variant) for variant in config["ProductionVariants"]]
    return [{**each, **only(config, ASYNC)} for each in variants]


def _new_variant(hosting: Hosting, config: Document) -> Document:
    """A variant with its container as the model was at this moment.

    Raises:
        ServiceError: The model does not exist any more.
    """
    count = config["InitialInstanceCount"]
    variant: Document = {
        "VariantName": config["VariantName"],
        "config": config,
        "CurrentWeight": config["InitialVariantWeight"],
        "DesiredWeight": config["InitialVariantWeight"],
        "CurrentInstanceCount": 0,
        "DesiredInstanceCount": count,
        "instances": [],
    }
    if "ModelName" in config:
        model = hosting.model(config["ModelName"])
        container = model.get("PrimaryContainer") or model["Containers"][0]
        variant["container"] = with_role(container, model.get("ExecutionRoleArn"))
        if image := container.get("Image"):
            image_seen = {"SpecifiedImage": image, "ResolvedImage": image, "ResolutionTime": hosting.cloud.clock.now()}
            variant["DeployedImages"] = [image_seen]
    return variant


def new_instance(hosting: Hosting) -> str:
    """An id for a new instance."""
    return f"i-{hosting.cloud.random.getrandbits(68):017x}"


def wanted_instances(hosting: Hosting, instance_type: str) -> int:
    """Instances of a type that endpoints have or asked for, the ones of running updates included."""
    return sum(
        variant.get("extra", max(variant["DesiredInstanceCount"], variant["CurrentInstanceCount"]))
        for endpoint in hosting.cloud.store.all(ENDPOINT)
        for variant in [*endpoint["variants"], *endpoint.get("pending", {}).get("variants", ())]
        if variant["config"]["InstanceType"] == instance_type
    )


def health_window(hosting: Hosting, limits: Document) -> float:
    """The moment at which a container that does not answer /ping counts as failed."""
    asked = limits.get("ContainerStartupHealthCheckTimeoutInSeconds", 0)
    window_s = max(asked, ledger.duration_s("sm.endpoint.health-window"))
    return hosting.cloud.clock.deadline(window_s, least_real_s=LEAST_WINDOW_S)


def _most(variants: list[Document]) -> int:
    """Instances of the largest variant, whose steps are the most."""
    return max(int(variant["DesiredInstanceCount"]) for variant in variants)


def owner_of(endpoint: str, variant: str) -> str:
    """Under which name the fleet of a variant serves."""
    return f"endpoint/{endpoint}/{variant}"


def _owners(endpoint: str, variants: list[Document]) -> list[tuple[str, Document]]:
    return [(owner_of(endpoint, each["VariantName"]), each) for each in variants if each.get("container")]


def _streams(variant: Document) -> list[tuple[str, str]]:
    return [(instance, f"{variant['VariantName']}/{instance}") for instance in variant["instances"]]


def _keep_instances(old: list[Document], new: list[Document]) -> None:
    """Endpoints of inference components keep the instances that their components lie on."""
    before = {variant["VariantName"]: variant for variant in old}
    for variant in new:
        same = before.get(variant["VariantName"])
        if same and not variant.get("container"):
            variant["instances"] = same["instances"]
            variant["CurrentInstanceCount"] = len(same["instances"])
            variant["DesiredInstanceCount"] = len(same["instances"])
