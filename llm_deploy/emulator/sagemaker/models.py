"""Models: what a container runs and under which role."""

from __future__ import annotations

from urllib.parse import urlsplit

from llm_deploy.emulator.sagemaker.hosting import MODEL, Hosting, without
from llm_deploy.emulator.sagemaker.listing import Listing
from llm_deploy.emulator.sagemaker.refusals import refusal
from llm_deploy.emulator.sagemaker.role_use import may_read
from llm_deploy.emulator.sagemaker.tags import TagOperations, checked_tags
from llm_deploy.emulator.service import Call, Operation
from llm_deploy.emulator.store import Document

_LISTING = Listing("Models", "ModelName", ("ModelName", "ModelArn", "CreationTime"))


class ModelOperations:
    """CreateModel, DescribeModel, ListModels, DeleteModel."""

    def __init__(self, hosting: Hosting, tags: TagOperations) -> None:
        self._hosting = hosting
        self._tags = tags

    def operations(self) -> dict[str, Operation]:
        """Handlers by operation."""
        return {
            "CreateModel": self.create,
            "DescribeModel": self.describe,
            "ListModels": self.list_page,
            "DeleteModel": self.delete,
        }

    async def create(self, call: Call) -> Document:
        """Make a model after looking at its role and its data, as SageMaker does."""
        name = call.params["ModelName"]
        arn = self._hosting.arn("model", name)
        self._refuse_taken(name, arn)
        checked_tags(call)
        await self._check(call.params, arn)
        # Others may have run while the role and the data were looked up.
        self._refuse_taken(name, arn)
        document = {
            "EnableNetworkIsolation": False,
            **without(call.params, "Tags"),
            "ModelArn": arn,
            "CreationTime": self._hosting.cloud.clock.now(),
        }
        with self._hosting.cloud.store.transaction():
            self._hosting.cloud.store.put(MODEL, name, document)
            self._tags.set(arn, call)
        return {"ModelArn": arn}

    async def describe(self, call: Call) -> Document:
        """The document as it was given."""
        return self._hosting.model(call.params["ModelName"])

    async def list_page(self, call: Call) -> Document:
        """A page of models."""
        return _LISTING.page(self._hosting.cloud.store.all(MODEL), call.params)

    async def delete(self, call: Call) -> Document:
        """Remove a model; an endpoint that runs it goes on. Ledger: `sm.model.delete-in-use`."""
        document = self._hosting.model(call.params["ModelName"])
        self._hosting.forget(MODEL, document["ModelName"], document["ModelArn"])
        return {}

    def _refuse_taken(self, name: str, arn: str) -> None:
        if self._hosting.cloud.store.get(MODEL, name):
            raise refusal("sm.model.exists", arn=arn)

    async def _check(self, params: Document, arn: str) -> None:
        containers = [params["PrimaryContainer"]] if "PrimaryContainer" in params else params.get("Containers", [])
        if not containers:
            raise refusal("sm.model.no-container")
        if any("Image" not in container and "ModelPackageName" not in container for container in containers):
            raise refusal("sm.model.no-image")
        role = params.get("ExecutionRoleArn")
        if role is None:
            raise refusal("sm.model.no-role")
        if not await self._hosting.cloud.hooks.role_lookup(role, arn):
            raise refusal("sm.model.role", role=role)
        for container in containers:
            await self._check_data(container, role, arn)

    async def _check_data(self, container: Document, role: str, arn: str) -> None:
        source = container.get("ModelDataSource", {}).get("S3DataSource", {})
        uri = source.get("S3Uri") or container.get("ModelDataUrl")
        if uri is None:
            return
        if source.get("S3DataType") == "S3Prefix" and not uri.endswith("/"):
            raise refusal("sm.model.prefix", uri=uri)
        place = urlsplit(uri)
        if not await self._hosting.cloud.hooks.s3_has_objects(place.netloc, place.path.lstrip("/")):
            raise refusal("sm.model.data", uri=uri)
        if not may_read(self._hosting, role, arn, uri):
            raise refusal("sm.model.access", uri=uri, role=role, region=self._hosting.cloud.settings.region)
