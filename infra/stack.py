"""One deployment as a CDK stack: the rendered template, included. It defines no resource of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.node import use_node
from llm_deploy.render import cloudformation
from llm_deploy.resource import ACCOUNT_OF_STACK, ENDPOINT, INFERENCE_COMPONENT
from llm_deploy.targets.blueprint import Blueprint

use_node()  # before the CDK is imported, which starts Node

import aws_cdk as cdk  # noqa: E402 - as said above
from aws_cdk import aws_iam as iam  # noqa: E402
from aws_cdk.cloudformation_include import CfnInclude  # noqa: E402
from constructs import Construct  # noqa: E402

from infra.findings import acknowledge  # noqa: E402 - it imports the CDK

INVOKING = ("sagemaker:InvokeEndpoint", "sagemaker:InvokeEndpointWithResponseStream")


class LlmEndpointStack(cdk.Stack):
    """A deployment: model, config, endpoint, component and scaling; roles where the blueprint has them.

    The region is in the template, since the image's registry is; the account is, where the blueprint names one.

    Args:
        scope: The app or stage.
        construct_id: The stack's id.
        blueprint: What `llm_deploy.targets.blueprint.draft` makes of a spec file.
        options: Whatever else a stack takes (`stack_name`, `termination_protection`, ...).
    """

    def __init__(self, scope: Construct, construct_id: str, blueprint: Blueprint, **options: Any) -> None:  # noqa: ANN401 - passed on
        place = blueprint.resolved.place
        account = None if place.account == ACCOUNT_OF_STACK else place.account
        super().__init__(
            scope,
            construct_id,
            synthesizer=cdk.BootstraplessSynthesizer(),  # there are no assets, so nothing of a bootstrap is needed
            env=cdk.Environment(account=account, region=place.region),
            **options,
        )
        self._blueprint = blueprint
        self._included = _include(self, blueprint.template())
        acknowledge(self._included, blueprint.resources)

    @property
    def endpoint_name(self) -> str:
        """What clients call; whoever uses it is made after the endpoint."""
        return str(cdk.Token.as_string(self._of_kind(ENDPOINT)[0].get_att("EndpointName")))

    @property
    def endpoint_arn(self) -> str:
        """The endpoint's ARN, which is what `Ref` of it gives."""
        return str(self._of_kind(ENDPOINT)[0].ref)

    def grant_invoke(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let a role, a function or a service call this deployment, streaming or not, and nothing else."""
        called = [*self._of_kind(ENDPOINT), *self._of_kind(INFERENCE_COMPONENT)]
        return iam.Grant.add_to_principal(
            grantee=grantee, actions=list(INVOKING), resource_arns=[resource.ref for resource in called]
        )

    def _of_kind(self, kind: str) -> list[cdk.CfnResource]:
        ids = [resource.id for resource in self._blueprint.resources if resource.kind == kind]
        return [self._included.get_resource(logical_id) for logical_id in ids]


def _include(stack: cdk.Stack, template: Mapping[str, Any]) -> CfnInclude:
    """The template in the stack under its own logical ids. CfnInclude takes files only, and reads them at once."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "template.json"
        file.write_text(cloudformation.to_json(template), "utf-8")
        return CfnInclude(stack, "Template", template_file=str(file), preserve_logical_ids=True)
