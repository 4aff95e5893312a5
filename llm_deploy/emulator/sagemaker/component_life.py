"""What happens to an inference component after something was asked of it; see `endpoint_life`."""

from __future__ import annotations

from llm_deploy.emulator import ledger
from llm_deploy.emulator.containers.fleet import Fleet
from llm_deploy.emulator.sagemaker.adapters import base_of
from llm_deploy.emulator.sagemaker.endpoint_life import health_window, new_instance
from llm_deploy.emulator.sagemaker.hosting import COMPONENT, ENDPOINT, Hosting
from llm_deploy.emulator.sagemaker.instances import needed, place
from llm_deploy.emulator.sagemaker.role_use import pull_problem
from llm_deploy.emulator.sagemaker.standin import container_spec
from llm_deploy.emulator.store import Document


class ComponentLife:
    """Brings inference components to the state that their documents ask for."""

    def __init__(self, hosting: Hosting) -> None:
        self._hosting = hosting
        self._clock = hosting.cloud.clock

    def resume(self) -> None:
        """At the cloud's start: give every component its copies back, and go on with what was under way."""
        for document in self._hosting.cloud.store.all(COMPONENT):
            own_copies = document["state"] != "DELETE_IN_PROGRESS" and base_of(document) is None
            if own_copies and self._hosting.find_endpoint(document["EndpointName"]):
                self._serve(document)
            self.go_on(document["InferenceComponentName"])
        for endpoint in self._hosting.cloud.store.all(ENDPOINT):
            self._release_idle_later(endpoint["EndpointName"])

    def go_on(self, name: str) -> None:
        """Work on a component until its status is a resting one."""
        self._hosting.cloud.spawn(self._go_on(name), f"inference component {name}")

    async def _go_on(self, name: str) -> None:
        document = self._hosting.find_component(name)
        if document is None or not document["state"].endswith("IN_PROGRESS"):
            return
        if document["state"] == "DELETE_IN_PROGRESS":
            await self._delete(name)
        elif self._hosting.find_endpoint(document["EndpointName"]) is None:
            self._rest(name, "sm.component.no-endpoint")
        elif problem := pull_problem(self._hosting, document["container"], document["InferenceComponentArn"]):
            await self._clock.until(document["due"])
            document = self._hosting.component(name)
            document["placements"] = []
            self._hosting.save_component(document)
            self._rest(name, "sm.component.pull", reason=problem)
        elif base := base_of(document):
            # Its base's copies answer for it. Ledger: `sm.component.adapter`.
            await self._clock.until(document["due"])
            self._rest(name, None if self._hosting.find_component(base) else "sm.component.adapter-base-gone")
        else:
            await self._bring_up(name)

    async def _bring_up(self, name: str) -> None:
        """Place the copies, start them, and wait both for AWS's time and for the processes."""
        problem = None if await self._placed(name) else "sm.component.no-room"
        document = self._hosting.component(name)
        fleet, replaces = self._copies(document), bool(document.get("replace"))
        window = health_window(self._hosting, document["Specification"].get("StartupParameters", {}))
        await self._clock.until(document["due"])
        # A component whose copies never answer is InService for nobody; the old ones of an update serve on.
        ready = await fleet.ready(window)
        if replaces:
            await self._switch(name, fleet, ready=ready)
        await self._settle(name, problem or (None if ready else "sm.component.ping"))

    def _copies(self, document: Document) -> Fleet:
        """The fleet with a copy for each place. A new component gets all of its copies or none."""
        if document["state"] == "CREATE_IN_PROGRESS" and len(document["placements"]) < document["DesiredCopyCount"]:
            document["placements"] = []
            self._hosting.save_component(document)
        return self._serve(document, replace=bool(document.get("replace")))

    async def _settle(self, name: str, problem: str | None) -> None:
        """Come to rest; without the endpoint, which may have been deleted meanwhile, nothing may run on."""
        endpoint = self._hosting.component(name)["EndpointName"]
        gone = self._hosting.find_endpoint(endpoint) is None
        self._rest(name, "sm.component.no-endpoint" if gone else problem)
        if gone or self._hosting.component(name)["InferenceComponentStatus"] == "Failed":
            await self._hosting.fleets.stop(owner_of(name))
        self._release_idle_later(endpoint)

    async def _placed(self, name: str) -> bool:
        """Find room for every copy, with more instances where managed scaling allows; says whether all have it."""
        if self._place(name):
            return True
        if self._add_instance(name):
            await self._clock.until(self._clock.deadline(ledger.duration_s("sm.endpoint.instances")))
            return await self._placed(name)
        return False

    def _place(self, name: str) -> bool:
        """Keep the copies that have a place and find one for the others; says whether all have one now."""
        component = self._hosting.component(name)
        endpoint = self._hosting.find_endpoint(component["EndpointName"])
        if endpoint is None:
            return False
        variant = _variant(endpoint, component["VariantName"])
        wanted = component["DesiredCopyCount"]
        component["placements"] = [each for each in component["placements"] if each in variant["instances"]][:wanted]
        self._hosting.save_component(component)
        component["placements"] += place(
            variant["config"]["InstanceType"],
            variant["instances"],
            self._hosting.components_of(endpoint["EndpointName"]),
            needed(component),
            wanted - len(component["placements"]),
        )
        self._hosting.save_component(component)
        return bool(len(component["placements"]) == wanted)

    def _add_instance(self, name: str) -> bool:
        """One more instance, if managed scaling is on and below its maximum."""
        component = self._hosting.component(name)
        endpoint = self._hosting.find_endpoint(component["EndpointName"])
        if endpoint is None:
            return False
        variant = _variant(endpoint, component["VariantName"])
        scaling = variant["config"].get("ManagedInstanceScaling", {})
        most = scaling.get("MaxInstanceCount", 0) if scaling.get("Status") == "ENABLED" else 0
        if len(variant["instances"]) >= most:
            return False
        variant["instances"].append(new_instance(self._hosting))
        _count(variant)
        self._hosting.save_endpoint(endpoint)
        return True

    def _serve(self, document: Document, *, replace: bool = False) -> Fleet:
        """Have one copy for each placement; returns at once. A replacement does not serve yet."""
        name = document["InferenceComponentName"]
        fleet = None if replace else self._hosting.fleets.serving(owner_of(name))
        if fleet is None:
            group = f"/aws/sagemaker/InferenceComponents/{name}"
            source = document["InferenceComponentArn"]
            spec = container_spec(self._hosting, document["container"], group, source)
            fleet = self._hosting.fleets.new(owner_of(name), spec)
        fleet.scale([(each, f"{document['VariantName']}/{each}") for each in document["placements"]])
        if not replace:
            self._hosting.fleets.put(owner_of(name), fleet)
        return fleet

    async def _switch(self, name: str, fleet: Fleet, *, ready: bool) -> None:
        document = self._hosting.component(name)
        document.pop("replace", None)
        self._hosting.save_component(document)
        old = self._hosting.fleets.put(owner_of(name), fleet) if ready else fleet
        if old:
            await self._hosting.fleets.discard(old)

    def _rest(self, name: str, problem: str | None, **values: object) -> None:
        """Write the resting state: in service, or failed for a reason of the ledger."""
        document = self._hosting.component(name)
        was_up = document["state"] != "CREATE_IN_PROGRESS"
        document["CurrentCopyCount"] = len(document["placements"])
        document["state"] = "RESTING"
        document["InferenceComponentStatus"] = "InService" if problem is None or was_up else "Failed"
        if problem:
            document["FailureReason"] = ledger.text(problem, name=name, **values)
        if document["InferenceComponentStatus"] == "Failed":
            document["CurrentCopyCount"] = 0
            document["placements"] = []
        self._hosting.save_component(document)

    async def _delete(self, name: str) -> None:
        document = self._hosting.component(name)
        await self._hosting.fleets.stop(owner_of(name))
        await self._clock.until(document["due"])
        self._hosting.forget(COMPONENT, name, document["InferenceComponentArn"])
        self._release_idle_later(document["EndpointName"])

    def _release_idle_later(self, endpoint: str) -> None:
        self._hosting.cloud.spawn(self._release_idle(endpoint), f"idle instances of {endpoint}")

    async def _release_idle(self, endpoint: str) -> None:
        """Give instances without copies back, down to managed scaling's minimum. Ledger: `sm.endpoint.idle-release`."""
        await self._clock.until(self._clock.deadline(ledger.duration_s("sm.endpoint.idle-release")))
        document = self._hosting.find_endpoint(endpoint)
        components = self._hosting.components_of(endpoint)
        # An instance that was just added for a component is not idle; that component looks again when it rests.
        under_way = any(each["state"].endswith("IN_PROGRESS") for each in components)
        if document is None or document["EndpointStatus"] != "InService" or under_way:
            return
        used = {each for component in components for each in component["placements"]}
        for variant in document["variants"]:
            scaling = variant["config"].get("ManagedInstanceScaling", {})
            if scaling.get("Status") == "ENABLED":
                busy = [each for each in variant["instances"] if each in used]
                idle = [each for each in variant["instances"] if each not in used]
                least = scaling.get("MinInstanceCount", variant["config"]["InitialInstanceCount"])
                variant["instances"] = busy + idle[: max(0, least - len(busy))]
                _count(variant)
        self._hosting.save_endpoint(document)


def owner_of(name: str) -> str:
    """Under which name the fleet of a component serves."""
    return f"inference-component/{name}"


def _variant(endpoint: Document, name: str) -> Document:
    found: Document = next(each for each in endpoint["variants"] if each["VariantName"] == name)
    return found


def _count(variant: Document) -> None:
    variant["CurrentInstanceCount"] = variant["DesiredInstanceCount"] = len(variant["instances"])
