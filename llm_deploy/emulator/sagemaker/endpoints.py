"""Endpoints: what is asked of them. What happens to them then is in `endpoint_life`."""

from __future__ import annotations

from llm_deploy.emulator import ledger
from llm_deploy.emulator.sagemaker import rollout
from llm_deploy.emulator.sagemaker.endpoint_life import EndpointLife, new_variants, wanted_instances
from llm_deploy.emulator.sagemaker.hosting import (
    ASYNC,
    ENDPOINT,
    IN_PROGRESS,
    SCALABLE_KIND,
    SCALABLE_VARIANT,
    Hosting,
    only,
)
from llm_deploy.emulator.sagemaker.listing import Listing
from llm_deploy.emulator.sagemaker.refusals import refusal
from llm_deploy.emulator.sagemaker.tags import TagOperations, checked_tags
from llm_deploy.emulator.service import Call, Operation, ServiceError
from llm_deploy.emulator.store import Document

_SUMMARY = ("EndpointName", "EndpointArn", "CreationTime", "LastModifiedTime", "EndpointStatus")
_LISTING = Listing("Endpoints", "EndpointName", _SUMMARY, status="EndpointStatus")
_VARIANT = (
    "VariantName",
    "CurrentWeight",
    "DesiredWeight",
    "CurrentInstanceCount",
    "DesiredInstanceCount",
    "DeployedImages",
    "VariantStatus",
)
_OF_CONFIG = ("ManagedInstanceScaling", "RoutingConfig")


class EndpointOperations:
    """Create, Describe, List, Update and Delete of endpoints, and of their weights and capacities."""

    def __init__(self, hosting: Hosting, tags: TagOperations, life: EndpointLife) -> None:
        self._hosting = hosting
        self._tags = tags
        self._life = life

    def operations(self) -> dict[str, Operation]:
        """Handlers by operation."""
        return {
            "CreateEndpoint": self.create,
            "DescribeEndpoint": self.describe,
            "ListEndpoints": self.list_page,
            "UpdateEndpoint": self.update,
            "UpdateEndpointWeightsAndCapacities": self.update_capacities,
            "DeleteEndpoint": self.delete,
        }

    async def create(self, call: Call) -> Document:
        """Begin an endpoint."""
        name, store = call.params["EndpointName"], self._hosting.cloud.store
        arn = self._hosting.arn("endpoint", name)
        if store.get(ENDPOINT, name.lower()):
            raise refusal("sm.endpoint.exists", arn=arn)
        checked_tags(call)
        config = self._hosting.config(call.params["EndpointConfigName"])
        variants = new_variants(self._hosting, config)
        self._check_quota(variants)
        now = self._hosting.cloud.clock.now()
        for variant in variants:
            rollout.check(call.params.get("DeploymentConfig", {}), variant["DesiredInstanceCount"])
        document = {
            "EndpointName": name,
            "EndpointArn": arn,
            "EndpointConfigName": config["EndpointConfigName"],
            "EndpointStatus": "Creating",
            "CreationTime": now,
            "variants": variants,
            "due": self._hosting.cloud.clock.deadline(ledger.duration_s("sm.endpoint.instances")),
            **{f"Last{key}": value for key, value in only(call.params, "DeploymentConfig").items()},
        }
        with store.transaction():
            self._hosting.save_endpoint(document)
            self._tags.set(arn, call)
        self._life.go_on(name)
        return {"EndpointArn": arn}

    async def describe(self, call: Call) -> Document:
        """What a client may see of it."""
        document = self._hosting.endpoint(call.params["EndpointName"])
        answer = only(
            document,
            *_SUMMARY,
            "EndpointConfigName",
            "FailureReason",
            "LastDeploymentConfig",
        )
        # While it is being created there is nothing to summarise yet. Ledger: `sm.endpoint.no-variants-yet`.
        if document["EndpointStatus"] not in ("Creating", "Failed"):
            answer["ProductionVariants"] = [_summary(variant) for variant in document["variants"]]
            answer |= only(document["variants"][0], ASYNC)
        if pending := document.get("pending"):
            answer["PendingDeploymentSummary"] = _pending_summary(pending)
        return answer

    async def list_page(self, call: Call) -> Document:
        """A page of endpoints."""
        return _LISTING.page(self._hosting.cloud.store.all(ENDPOINT), call.params)

    async def update(self, call: Call) -> Document:
        """Begin to replace what runs by what a new config says; the old one serves until the new one is up."""
        document = self._changeable(call.params["EndpointName"])
        # The config that is in use must still exist. Ledger: `sm.endpoint.update-old-config`.
        self._hosting.config(document["EndpointConfigName"])
        config = self._hosting.config(call.params["EndpointConfigName"])
        if config["EndpointConfigName"] == document["EndpointConfigName"]:
            raise refusal("sm.endpoint.same-config", arn=document["EndpointArn"])
        variants = new_variants(self._hosting, config)
        self._check_type_kept(document, variants)
        self._check_nothing_scalable_changes(document, variants)
        if call.params.get("RetainAllVariantProperties"):
            _retain(document["variants"], variants, call.params.get("ExcludeRetainedVariantProperties", []))
        deployment = self._deployment(document, variants, call.params)
        self._check_quota(variants)
        clock = self._hosting.cloud.clock
        document["EndpointStatus"] = "Updating"
        document["pending"] = {
            "EndpointConfigName": config["EndpointConfigName"],
            "StartTime": clock.now(),
            "variants": variants,
            "deployment": deployment,
            "step": {},
            "since": clock.now(),
        }
        if (limit_s := rollout.limit_s(deployment)) is not None:
            document["pending"]["expires"] = clock.deadline(limit_s)
        document["due"] = clock.deadline(ledger.duration_s("sm.endpoint.update"))
        document.pop("FailureReason", None)
        if deployment:
            document["LastDeploymentConfig"] = deployment
        self._hosting.save_endpoint(document)
        self._life.go_on(document["EndpointName"])
        return {"EndpointArn": document["EndpointArn"]}

    async def update_capacities(self, call: Call) -> Document:
        """Begin to change weights and instance counts."""
        document = self._changeable(call.params["EndpointName"])
        by_name = {variant["VariantName"]: variant for variant in document["variants"]}
        for wish in call.params["DesiredWeightsAndCapacities"]:
            variant = by_name.get(wish["VariantName"])
            if variant is None:
                raise refusal("sm.endpoint.no-variant", variant=wish["VariantName"], arn=document["EndpointArn"])
            variant["DesiredWeight"] = wish.get("DesiredWeight", variant["DesiredWeight"])
            count = wish.get("DesiredInstanceCount", variant["DesiredInstanceCount"])
            self._check_more(variant["config"]["InstanceType"], count - variant["DesiredInstanceCount"])
            variant["DesiredInstanceCount"] = count
        document["EndpointStatus"] = "Updating"
        document["due"] = self._hosting.cloud.clock.deadline(ledger.duration_s("sm.endpoint.scale"))
        self._hosting.save_endpoint(document)
        self._life.go_on(document["EndpointName"])
        return {"EndpointArn": document["EndpointArn"]}

    async def delete(self, call: Call) -> Document:
        """Begin to remove it. Its inference components stay. Ledger: `sm.endpoint.delete-keeps-components`."""
        document = self._hosting.endpoint(call.params["EndpointName"])
        if document["EndpointStatus"] in IN_PROGRESS:
            raise refusal("sm.endpoint.in-progress", arn=document["EndpointArn"])
        document["EndpointStatus"] = "Deleting"
        document["due"] = self._hosting.cloud.clock.deadline(ledger.duration_s("sm.endpoint.delete"))
        self._hosting.save_endpoint(document)
        self._life.go_on(document["EndpointName"])
        return {}

    def _deployment(self, document: Document, variants: list[Document], params: Document) -> Document:
        """The rollout that is asked for, or retained; empty for AWS's own. Ledger: `sm.update.retain-config`."""
        deployment: Document = params.get("DeploymentConfig", {})
        if params.get("RetainDeploymentConfig") and not deployment:
            deployment = document.get("LastDeploymentConfig", {})
        names = [{variant["VariantName"] for variant in side} for side in (document["variants"], variants)]
        if deployment and names[0] != names[1]:
            raise refusal("sm.update.variant-names", arn=document["EndpointArn"])
        for variant in variants:
            rollout.check(deployment, variant["DesiredInstanceCount"])
            variant["extra"] = rollout.needed_beside(deployment, variant["DesiredInstanceCount"])
        return deployment

    def _check_nothing_scalable_changes(self, document: Document, variants: list[Document]) -> None:
        """A variant that may scale keeps its machine and its place. Ledger: `sm.endpoint.update-scalable-variant`."""
        machines = {variant["VariantName"]: variant["config"].get("InstanceType") for variant in variants}
        for variant in document["variants"]:
            name = variant["VariantName"]
            scalable = SCALABLE_VARIANT.format(endpoint=document["EndpointName"], variant=name)
            changed = machines.get(name) != variant["config"].get("InstanceType")
            if changed and self._hosting.cloud.store.get(SCALABLE_KIND, scalable) is not None:
                raise refusal("sm.endpoint.update-scalable-variant", variant=name, arn=document["EndpointArn"])

    def _changeable(self, name: str) -> Document:
        document = self._hosting.endpoint(name)
        if document["EndpointStatus"] in IN_PROGRESS:
            raise refusal("sm.endpoint.in-progress", arn=document["EndpointArn"])
        if document["EndpointStatus"] == "Failed":
            raise refusal("sm.endpoint.failed", arn=document["EndpointArn"])
        return document

    def _check_type_kept(self, document: Document, variants: list[Document]) -> None:
        had_model = any(variant.get("container") for variant in document["variants"])
        if had_model != any(variant.get("container") for variant in variants):
            raise refusal("sm.endpoint.type-change", arn=document["EndpointArn"])

    def _check_quota(self, variants: list[Document]) -> None:
        asked: dict[str, int] = {}
        for variant in variants:
            kind = variant["config"]["InstanceType"]
            asked[kind] = asked.get(kind, 0) + int(variant.get("extra") or variant["DesiredInstanceCount"])
        for kind, count in asked.items():
            self._check_more(kind, count)

    def _check_more(self, instance_type: str, delta: int) -> None:
        """Refuse instances beyond the account's quota. Ledger: `sm.endpoint.quota`."""
        limit = self._hosting.cloud.hooks.quota(f"{instance_type} for endpoint usage")
        used = wanted_instances(self._hosting, instance_type)
        if limit is not None and delta > 0 and used + delta > limit:
            words = ledger.text("sm.endpoint.quota", type=instance_type, limit=f"{limit:g}", used=used, delta=delta)
            raise ServiceError("ResourceLimitExceeded", words)


def _summary(variant: Document) -> Document:
    return {**only(variant, *_VARIANT), **only(variant["config"], *_OF_CONFIG)}


def _pending_summary(pending: Document) -> Document:
    variants = [
        {
            "VariantName": variant["VariantName"],
            "CurrentWeight": variant["DesiredWeight"],
            "DesiredWeight": variant["DesiredWeight"],
            "CurrentInstanceCount": pending["step"].get("active", 0),
            "DesiredInstanceCount": variant["DesiredInstanceCount"],
            "InstanceType": variant["config"]["InstanceType"],
            "VariantStatus": [rollout.status(pending["step"], variant["DesiredInstanceCount"], pending["since"])],
        }
        for variant in pending["variants"]
    ]
    return {**only(pending, "EndpointConfigName", "StartTime"), "ProductionVariants": variants}


def _retain(old: list[Document], new: list[Document], excluded: list[Document]) -> None:
    """Carry counts and weights over; without it, an update undoes autoscaling. Ledger: `sm.endpoint.retain`."""
    reset = {each["VariantPropertyType"] for each in excluded}
    before = {variant["VariantName"]: variant for variant in old}
    for variant in new:
        for member in ("DesiredInstanceCount", "DesiredWeight"):
            if member not in reset and variant["VariantName"] in before:
                variant[member] = before[variant["VariantName"]][member]
