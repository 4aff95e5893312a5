"""What the operations of SageMaker hosting share: the cloud, the fleets, and where documents are kept."""

from __future__ import annotations

from dataclasses import dataclass, field

from llm_deploy.emulator.containers.fleets import Fleets
from llm_deploy.emulator.sagemaker.refusals import refusal
from llm_deploy.emulator.service import Cloud
from llm_deploy.emulator.store import Document

MODEL = "sagemaker:model"
CONFIG = "sagemaker:endpoint-config"
ENDPOINT = "sagemaker:endpoint"
COMPONENT = "sagemaker:inference-component"
TAGS = "sagemaker:tags"
SCALABLE_KIND = "autoscaling:target"
SCALABLE_VARIANT = "sagemaker:variant:DesiredInstanceCount|endpoint/{endpoint}/variant/{variant}"
"""Where Application Auto Scaling keeps the scalable target of a variant."""

ASYNC = "AsyncInferenceConfig"
"""Member of a config, and of a variant that an endpoint keeps. Ledger: `sm.async.only`."""

IN_PROGRESS = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")


@dataclass(slots=True)
class Hosting:
    """SageMaker hosting of one cloud."""

    cloud: Cloud
    fleets: Fleets = field(repr=False)

    def model(self, name: str) -> Document:
        """A model's document. Raises: ServiceError: there is none."""
        return self._required(MODEL, name, "model", "sm.model.not-found")

    def config(self, name: str) -> Document:
        """An endpoint config's document. Raises: ServiceError: there is none."""
        return self._required(CONFIG, name, "endpoint-config", "sm.config.not-found")

    def endpoint(self, name: str) -> Document:
        """An endpoint's document; the name's case must be right. Raises: ServiceError: there is none."""
        found = self.find_endpoint(name)
        if found is None:
            raise refusal("sm.endpoint.not-found", arn=self.arn("endpoint", name))
        return found

    def find_endpoint(self, name: str) -> Document | None:
        """As `endpoint`, but `None` when there is none."""
        found = self.cloud.store.get(ENDPOINT, name.lower())
        return found if found and found["EndpointName"] == name else None

    def find_component(self, name: str) -> Document | None:
        """An inference component's document, or `None`."""
        return self.cloud.store.get(COMPONENT, name)

    def component(self, name: str) -> Document:
        """As `find_component`. Raises: ServiceError: there is none."""
        return self._required(COMPONENT, name, "inference-component", "sm.component.not-found")

    def components_of(self, endpoint: str) -> list[Document]:
        """The inference components of an endpoint."""
        return [each for each in self.cloud.store.all(COMPONENT) if each["EndpointName"] == endpoint]

    def save_endpoint(self, document: Document) -> None:
        """Write an endpoint, and note when. Names are unique whatever their case (ledger: `sm.endpoint.case`)."""
        document["LastModifiedTime"] = self.cloud.clock.now()
        self.cloud.store.put(ENDPOINT, document["EndpointName"].lower(), document)

    def save_component(self, document: Document) -> None:
        """Write an inference component, and note when."""
        document["LastModifiedTime"] = self.cloud.clock.now()
        self.cloud.store.put(COMPONENT, document["InferenceComponentName"], document)

    def forget(self, kind: str, name: str, arn: str) -> None:
        """Remove a document and its tags."""
        with self.cloud.store.transaction():
            self.cloud.store.delete(kind, name)
            self.cloud.store.delete(TAGS, arn)

    def arn(self, kind: str, name: str) -> str:
        """ARNs of SageMaker have the name in lower case. Ledger: `sm.arn.lower-case`."""
        return self.cloud.arn("sagemaker", f"{kind}/{name.lower()}")

    def _required(self, kind: str, name: str, arn_kind: str, entry_id: str) -> Document:
        found = self.cloud.store.get(kind, name)
        if found is None:
            raise refusal(entry_id, arn=self.arn(arn_kind, name))
        return found


def without(document: Document, *names: str) -> Document:
    """A copy without some members."""
    return {key: value for key, value in document.items() if key not in names}


def only(document: Document, *names: str) -> Document:
    """A copy of some members, where they are set."""
    return {key: document[key] for key in names if document.get(key) is not None}
