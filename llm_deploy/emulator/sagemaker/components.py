"""Inference components: copies of a model on an endpoint's instances."""

from __future__ import annotations

from llm_deploy.emulator import ledger
from llm_deploy.emulator.sagemaker import rollout
from llm_deploy.emulator.sagemaker.adapters import BASE, base_of, check_adapter, refuse_while_adapters_stand
from llm_deploy.emulator.sagemaker.component_life import ComponentLife
from llm_deploy.emulator.sagemaker.hosting import COMPONENT, CONFIG, Hosting, only, without
from llm_deploy.emulator.sagemaker.listing import Listing
from llm_deploy.emulator.sagemaker.refusals import refusal
from llm_deploy.emulator.sagemaker.role_use import with_role
from llm_deploy.emulator.sagemaker.tags import TagOperations, checked_tags
from llm_deploy.emulator.service import Call, Operation, not_implemented
from llm_deploy.emulator.store import Document

_SUMMARY = (
    "CreationTime",
    "InferenceComponentArn",
    "InferenceComponentName",
    "EndpointArn",
    "EndpointName",
    "VariantName",
    "InferenceComponentStatus",
    "LastModifiedTime",
)
_LISTING = Listing(
    "InferenceComponents",
    "InferenceComponentName",
    _SUMMARY,
    status="InferenceComponentStatus",
    equals=(("EndpointNameEquals", "EndpointName"), ("VariantNameEquals", "VariantName")),
)


class ComponentOperations:
    """Create, Describe, List, Update and Delete of inference components, and of their copy counts."""

    def __init__(self, hosting: Hosting, tags: TagOperations, life: ComponentLife) -> None:
        self._hosting = hosting
        self._tags = tags
        self._life = life

    def operations(self) -> dict[str, Operation]:
        """Handlers by operation."""
        return {
            "CreateInferenceComponent": self.create,
            "DescribeInferenceComponent": self.describe,
            "ListInferenceComponents": self.list_page,
            "UpdateInferenceComponent": self.update,
            "UpdateInferenceComponentRuntimeConfig": self.update_runtime,
            "DeleteInferenceComponent": self.delete,
        }

    async def create(self, call: Call) -> Document:
        """Begin a component."""
        params, clock = call.params, self._hosting.cloud.clock
        name = params["InferenceComponentName"]
        arn = self._hosting.arn("inference-component", name)
        if self._hosting.find_component(name):
            raise refusal("sm.component.exists", arn=arn)
        checked_tags(call)
        endpoint = self._endpoint(params["EndpointName"])
        specification = self._specification(params, endpoint["EndpointName"])
        adapter = BASE in specification
        copies = 0 if adapter else params.get("RuntimeConfig", {}).get("CopyCount", 1)
        if copies < 1 and not adapter:
            raise refusal("sm.component.copies")
        document = {
            "InferenceComponentName": name,
            "InferenceComponentArn": arn,
            "EndpointName": endpoint["EndpointName"],
            "EndpointArn": endpoint["EndpointArn"],
            "VariantName": self._variant(endpoint, params.get("VariantName")),
            "InferenceComponentStatus": "Creating",
            "CreationTime": clock.now(),
            "Specification": specification,
            "container": self._container(specification, endpoint),
            "state": "CREATE_IN_PROGRESS",
            "DesiredCopyCount": copies,
            "CurrentCopyCount": 0,
            "placements": [],
            "due": clock.deadline(ledger.duration_s("sm.component.adapter" if adapter else "sm.component.create")),
        }
        with self._hosting.cloud.store.transaction():
            self._hosting.save_component(document)
            self._tags.set(arn, call)
        self._life.go_on(name)
        return {"InferenceComponentArn": arn}

    async def describe(self, call: Call) -> Document:
        """What a client may see of it."""
        document = self._hosting.component(call.params["InferenceComponentName"])
        return {
            **only(document, *_SUMMARY, "FailureReason", "LastDeploymentConfig"),
            # While an update is under way, the one that is left. Ledger: `sm.update.component`.
            "Specification": _shown(document.get("before", document)["Specification"], document["CreationTime"]),
            **({} if base_of(document) else {"RuntimeConfig": only(document, "DesiredCopyCount", "CurrentCopyCount")}),
        }

    async def list_page(self, call: Call) -> Document:
        """A page of components."""
        return _LISTING.page(self._hosting.cloud.store.all(COMPONENT), call.params)

    async def update(self, call: Call) -> Document:
        """Begin to replace the copies by ones of another specification, or to change their number."""
        params = call.params
        document = self._changeable(params["InferenceComponentName"])
        if "Specification" not in params and "RuntimeConfig" not in params:
            raise refusal("sm.component.nothing")
        if base_of(document) or BASE in params.get("Specification", {}):
            raise not_implemented(self._hosting.cloud, "sagemaker:UpdateInferenceComponent of an adapter")
        deployment = params.get("DeploymentConfig", {})
        copies = params.get("RuntimeConfig", {}).get("CopyCount", document["DesiredCopyCount"])
        rollout.check(deployment, copies)
        if "Specification" in params:
            specification = self._specification(params, document["EndpointName"])
            endpoint = self._hosting.find_endpoint(document["EndpointName"]) or {}
            container = self._container(specification, endpoint)
            before = only(document, "Specification", "container", "DesiredCopyCount", "placements")
            document.update(Specification=specification, container=container, before=before, replace=True)
        document["DesiredCopyCount"] = copies
        document["deployment"] = deployment
        if deployment:
            document["LastDeploymentConfig"] = deployment
        return self._begin(document, "UPDATE_IN_PROGRESS", "sm.component.update")

    async def update_runtime(self, call: Call) -> Document:
        """Begin to change the number of copies; zero is allowed here."""
        document = self._changeable(call.params["InferenceComponentName"])
        if base_of(document):
            raise refusal("sm.component.adapter-copies")
        document["DesiredCopyCount"] = call.params["DesiredRuntimeConfig"]["CopyCount"]
        grows = document["DesiredCopyCount"] > document["CurrentCopyCount"]
        duration = "sm.component.scale-out" if grows else "sm.component.scale-in"
        return self._begin(document, "UPDATE_RC_IN_PROGRESS", duration)

    async def delete(self, call: Call) -> Document:
        """Begin to remove it."""
        document = self._changeable(call.params["InferenceComponentName"], verb="delete")
        refuse_while_adapters_stand(self._hosting, document)
        self._begin(document, "DELETE_IN_PROGRESS", "sm.component.delete", status="Deleting")
        return {}

    def _begin(self, document: Document, state: str, duration: str, *, status: str = "Updating") -> Document:
        document["state"] = state
        document["InferenceComponentStatus"] = status
        document["due"] = self._hosting.cloud.clock.deadline(ledger.duration_s(duration))
        document.pop("FailureReason", None)
        self._hosting.save_component(document)
        self._life.go_on(document["InferenceComponentName"])
        return {"InferenceComponentArn": document["InferenceComponentArn"]}

    def _changeable(self, name: str, *, verb: str = "update") -> Document:
        document = self._hosting.component(name)
        if document["state"].endswith("IN_PROGRESS"):
            arn, state = document["InferenceComponentArn"], document["state"]
            raise refusal("sm.component.in-progress", verb=verb, arn=arn, state=state)
        return document

    def _endpoint(self, name: str) -> Document:
        endpoint = self._hosting.endpoint(name)
        if any(variant.get("container") for variant in endpoint["variants"]):
            raise refusal("sm.component.model-endpoint", arn=endpoint["EndpointArn"])
        if endpoint["EndpointStatus"] not in ("InService", "Updating"):
            raise refusal(
                "sm.component.endpoint-status", arn=endpoint["EndpointArn"], status=endpoint["EndpointStatus"]
            )
        return endpoint

    def _variant(self, endpoint: Document, asked: str | None) -> str:
        names = [str(variant["VariantName"]) for variant in endpoint["variants"]]
        if asked is None:
            return names[0]
        if asked not in names:
            raise refusal("sm.endpoint.no-variant", variant=asked, arn=endpoint["EndpointArn"])
        return asked

    def _specification(self, params: Document, endpoint: str) -> Document:
        if "Specifications" in params:
            raise not_implemented(self._hosting.cloud, "sagemaker:CreateInferenceComponent with Specifications")
        specification: Document | None = params.get("Specification")
        if specification is None:
            raise refusal("sm.component.no-specification")
        if BASE in specification:
            check_adapter(self._hosting, specification, endpoint)
        elif "ComputeResourceRequirements" not in specification:
            raise refusal("sm.component.no-requirements")
        return specification

    def _container(self, specification: Document, endpoint: Document) -> Document:
        """The container, under the role of the endpoint's config."""
        config = self._hosting.cloud.store.get(CONFIG, endpoint.get("EndpointConfigName", "")) or {}
        return with_role(self._found_container(specification), config.get("ExecutionRoleArn"))

    def _found_container(self, specification: Document) -> Document:
        if BASE in specification:
            base: Document = self._hosting.component(specification[BASE])["container"]
            return base
        if "ModelName" in specification:
            model = self._hosting.model(specification["ModelName"])
            container: Document = model.get("PrimaryContainer") or model["Containers"][0]
            return container
        if "Container" in specification:
            return dict(specification["Container"])
        raise refusal("sm.component.no-model")


def _shown(specification: Document, resolved_at: float) -> Document:
    """A specification as Describe answers it: the image becomes a deployed image."""
    shown = without(specification, "Container")
    if "Container" in specification:
        container = without(specification["Container"], "Image")
        if image := specification["Container"].get("Image"):
            container["DeployedImage"] = {
                "SpecifiedImage": image,
                "ResolvedImage": image,
                "ResolutionTime": resolved_at,
            }
        shown["Container"] = container
    return shown
