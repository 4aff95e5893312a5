"""The types of SageMaker hosting: models, endpoint configs, endpoints, inference components.

`Ref` is the ARN. Ledger: `cfn.ref-is-arn`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llm_deploy.emulator import ledger
from llm_deploy.emulator.backend.stacks.calls import POLL_EVERY_S, CloudCalls, RefusedError, ResourceError
from llm_deploy.emulator.backend.stacks.providers import Document, Made, Stop, generated_name, tag_changes, tag_list

READY = "InService"
IN_PROGRESS = {"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"}
NEVER_AT_CREATION = {
    "Endpoint": ("RetainAllVariantProperties", "ExcludeRetainedVariantProperties", "RetainDeploymentConfig"),
    "InferenceComponent": ("DeploymentConfig", "EndpointArn"),
}
"""Properties that only an update reads. Ledger: `cfn.update-only-properties`."""
AT_UPDATE = {
    "Endpoint": ("EndpointConfigName",),
    "InferenceComponent": ("Specification", "Specifications", "RuntimeConfig"),
}
"""Properties whose change is an update in place; of the others only tags change. Ledger: `cfn.in-place`."""
WITH_UPDATE = {
    "Endpoint": (*NEVER_AT_CREATION["Endpoint"], "DeploymentConfig"),
    "InferenceComponent": ("DeploymentConfig",),
}


@dataclass(frozen=True, slots=True)
class HostingType:
    """One of the four.

    Attributes:
        noun: The stem of operations and members: `CreateModel`, `ModelName`, `ModelArn`.
        named: Whether `Fn::GetAtt` knows the name; of components it does not. Ledger: `cfn.component-has-no-name`.
        lives: Whether it has a status that has to be waited for.
    """

    calls: CloudCalls
    noun: str
    named: bool = True
    lives: bool = False

    @property
    def kind(self) -> str:
        """The type's name."""
        return f"AWS::SageMaker::{self.noun}"

    def create(self, logical_id: str, properties: Document) -> Made:
        """Make it and return at once."""
        name = properties.get(self._name) or generated_name(logical_id)
        never = NEVER_AT_CREATION.get(self.noun, ())
        request = {key: value for key, value in properties.items() if key not in never}
        answer = self.calls.call("sagemaker", f"Create{self.noun}", {**request, self._name: name})
        return self._made(answer[self._arn], name)

    def settle(self, physical_id: str, properties: Document, stop: Stop) -> None:
        """Wait until it is in service, as asked. Ledger: `cfn.waits`, `cfn.rolled-back-endpoint`."""
        if not self.lives:
            return
        described = self._settled(physical_id, self._name_in(physical_id, properties), stop)
        reason = str(described.get("FailureReason", ""))
        if described[f"{self.noun}Status"] != READY:
            raise ResourceError(reason or ledger.text("cfn.not-stabilized", arn=physical_id))
        config = properties.get("EndpointConfigName")
        if self.noun == "Endpoint" and described["EndpointConfigName"] != config:
            raise ResourceError(reason or ledger.text("cfn.not-stabilized", arn=physical_id))

    def update(self, physical_id: str, old: Document, new: Document, stop: Stop) -> None:
        """Change what can be changed in place: config or specification, and tags."""
        changed = {key: new[key] for key in AT_UPDATE.get(self.noun, ()) if key in new and new[key] != old.get(key)}
        if changed:
            more = {key: new[key] for key in WITH_UPDATE[self.noun] if key in new}
            request = {self._name: self._name_in(physical_id, new), **changed, **more}
            self.calls.call("sagemaker", f"Update{self.noun}", request)
            self.settle(physical_id, new, stop)
        wanted, unwanted = tag_changes(old, new)
        if wanted:
            self.calls.call("sagemaker", "AddTags", {"ResourceArn": physical_id, "Tags": tag_list(wanted)})
        if unwanted:
            self.calls.call("sagemaker", "DeleteTags", {"ResourceArn": physical_id, "TagKeys": list(unwanted)})

    def delete(self, physical_id: str, properties: Document) -> None:
        """Remove it and wait until it is gone. What is being changed is waited for."""
        name, asked = self._name_in(physical_id, properties), False
        while self._described(name) is not None:
            if not asked:
                asked = self._begin_deletion(name)
            if not self.lives:
                return
            time.sleep(POLL_EVERY_S)

    def made(self, identifier: Mapping[str, str]) -> Made:
        """The resource of an ARN. Asks nobody."""
        arn = identifier[self._arn]
        return self._made(arn, _name_of(arn))

    def exists(self, identifier: Mapping[str, str]) -> bool:
        """Whether there is a resource of this ARN, which has the name in lower case, so that it cannot be described."""
        try:
            self.calls.call("sagemaker", "ListTags", {"ResourceArn": identifier[self._arn]})
        except RefusedError:
            return False
        return True

    def _made(self, arn: str, name: str) -> Made:
        return Made(arn, {self._arn: arn, **({self._name: name} if self.named else {})})

    def _name_in(self, physical_id: str, properties: Document) -> str:
        """The name; an ARN has it in lower case."""
        return str(properties.get(self._name) or _name_of(physical_id))

    @property
    def _name(self) -> str:
        return f"{self.noun}Name"

    @property
    def _arn(self) -> str:
        return f"{self.noun}Arn"

    def _settled(self, physical_id: str, name: str, stop: Stop) -> dict[str, Any]:
        while True:
            described = self._described(name)
            if described is None:
                raise ResourceError(ledger.text("cfn.not-stabilized", arn=physical_id))
            if described[f"{self.noun}Status"] not in IN_PROGRESS:
                return described
            if stop():
                raise ResourceError(ledger.text("cfn.cancelled"))
            time.sleep(POLL_EVERY_S)

    def _described(self, name: str) -> dict[str, Any] | None:
        try:
            return self.calls.call("sagemaker", f"Describe{self.noun}", {self._name: name})
        except RefusedError as error:
            if error.not_found:
                return None
            raise

    def _begin_deletion(self, name: str) -> bool:
        try:
            self.calls.call("sagemaker", f"Delete{self.noun}", {self._name: name})
        except RefusedError as error:
            if not error.busy and not error.not_found:
                raise
            return False
        return True


def hosting_types(calls: CloudCalls) -> tuple[HostingType, ...]:
    """The four types."""
    return (
        HostingType(calls, "Model"),
        HostingType(calls, "EndpointConfig"),
        HostingType(calls, "Endpoint", lives=True),
        HostingType(calls, "InferenceComponent", named=False, lives=True),
    )


def _name_of(arn: str) -> str:
    return arn.rpartition("/")[2]
