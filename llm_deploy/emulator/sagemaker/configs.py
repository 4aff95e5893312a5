"""Endpoint configs: which instances, and for model-based endpoints which model."""

from __future__ import annotations

from llm_deploy.emulator.sagemaker.hosting import ASYNC, CONFIG, Hosting, without
from llm_deploy.emulator.sagemaker.instances import volume_allowed
from llm_deploy.emulator.sagemaker.listing import Listing
from llm_deploy.emulator.sagemaker.refusals import refusal
from llm_deploy.emulator.sagemaker.tags import TagOperations, checked_tags
from llm_deploy.emulator.service import Call, Operation, not_implemented
from llm_deploy.emulator.store import Document

_LISTING = Listing("EndpointConfigs", "EndpointConfigName", ("EndpointConfigName", "EndpointConfigArn", "CreationTime"))
_ABSENT = ("ServerlessConfig", "InstancePools")
_NO_ZERO_MINIMUM = ("eu-west-3",)
"""Regions where managed scaling to zero instances is refused. Ledger: `sm.config.scaling-minimum`."""


class ConfigOperations:
    """CreateEndpointConfig, DescribeEndpointConfig, ListEndpointConfigs, DeleteEndpointConfig."""

    def __init__(self, hosting: Hosting, tags: TagOperations) -> None:
        self._hosting = hosting
        self._tags = tags

    def operations(self) -> dict[str, Operation]:
        """Handlers by operation."""
        return {
            "CreateEndpointConfig": self.create,
            "DescribeEndpointConfig": self.describe,
            "ListEndpointConfigs": self.list_page,
            "DeleteEndpointConfig": self.delete,
        }

    async def create(self, call: Call) -> Document:
        """Make a config after checking it against the models that exist."""
        params = call.params
        name = params["EndpointConfigName"]
        arn = self._hosting.arn("endpoint-config", name)
        if self._hosting.cloud.store.get(CONFIG, name):
            raise refusal("sm.config.exists", arn=arn)
        checked_tags(call)
        self._check(params)
        document = {
            **without(params, "Tags"),
            "ProductionVariants": [{"InitialVariantWeight": 1.0, **each} for each in params["ProductionVariants"]],
            "EndpointConfigArn": arn,
            "CreationTime": self._hosting.cloud.clock.now(),
        }
        with self._hosting.cloud.store.transaction():
            self._hosting.cloud.store.put(CONFIG, name, document)
            self._tags.set(arn, call)
        return {"EndpointConfigArn": arn}

    async def describe(self, call: Call) -> Document:
        """The document as it was given."""
        return self._hosting.config(call.params["EndpointConfigName"])

    async def list_page(self, call: Call) -> Document:
        """A page of configs."""
        return _LISTING.page(self._hosting.cloud.store.all(CONFIG), call.params)

    async def delete(self, call: Call) -> Document:
        """Remove a config, even one in use. Ledger: `sm.config.delete-in-use`."""
        document = self._hosting.config(call.params["EndpointConfigName"])
        self._hosting.forget(CONFIG, document["EndpointConfigName"], document["EndpointConfigArn"])
        return {}

    def _check(self, params: Document) -> None:
        variants = params["ProductionVariants"]
        names = [variant["VariantName"] for variant in variants]
        if len(set(names)) < len(names):
            raise refusal("sm.config.variant-twice")
        with_model = [variant for variant in variants if "ModelName" in variant]
        if with_model and len(with_model) < len(variants):
            raise refusal("sm.config.mixed")
        if not with_model and "ExecutionRoleArn" not in params:
            raise refusal("sm.config.no-role")
        if ASYNC in params and not with_model:
            raise refusal("sm.async.components")
        for variant in variants:
            self._check_variant(variant)

    def _check_variant(self, variant: Document) -> None:
        for member in _ABSENT:
            if member in variant:
                raise not_implemented(self._hosting.cloud, f"sagemaker:CreateEndpointConfig with {member}")
        if "InstanceType" not in variant or "InitialInstanceCount" not in variant:
            raise refusal("sm.config.no-instances", variant=variant["VariantName"])
        if "ModelName" in variant:
            self._hosting.model(variant["ModelName"])
        if "VolumeSizeInGB" in variant and not volume_allowed(variant["InstanceType"]):
            raise refusal("sm.config.volume")
        self._check_scaling(variant)

    def _check_scaling(self, variant: Document) -> None:
        scaling = variant.get("ManagedInstanceScaling")
        if scaling is None:
            return
        if "ModelName" in variant:
            raise refusal("sm.config.scaling-with-model")
        enabled = scaling.get("Status") == "ENABLED"
        here = self._hosting.cloud.settings.region
        if enabled and scaling.get("MinInstanceCount") == 0 and here in _NO_ZERO_MINIMUM:
            raise refusal("sm.config.scaling-minimum")
