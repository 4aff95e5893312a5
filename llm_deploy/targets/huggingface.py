"""The seed's way in from Python: a strategy over a service over a resource manager, and `create_endpoint`.

    SagemakerHuggingfaceStrategy(DeploymentService(ResourceManager())).deploy(spec)
    create_endpoint(endpoint_type=EndpointType.INFERENCE_COMPONENT_BASED)

Both do what `llmdeploy deploy-endpoint --yes` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from pydantic import ValidationError

from llm_deploy.catalog import load_spec
from llm_deploy.deploy.apply import Step
from llm_deploy.deploy.receipt import Receipt
from llm_deploy.deploy.service import DEFAULT_TIMEOUT_S, DeploymentService
from llm_deploy.errors import SpecError
from llm_deploy.settings import load_settings
from llm_deploy.spec import DeploymentSpec, EndpointType, Resources
from llm_deploy.targets import deployment
from llm_deploy.targets.registry import Connection, connect

OnStep = Callable[[Step], None]

_LIMITS = {
    "MAX_INPUT_LENGTH": "max_input_tokens",
    "MAX_INPUT_TOKENS": "max_input_tokens",
    "MAX_TOTAL_TOKENS": "max_total_tokens",
    "MAX_BATCH_TOTAL_TOKENS": "max_batch_total_tokens",
    "MAX_BATCH_PREFILL_TOKENS": "max_batch_prefill_tokens",
}
"""The seed's container variables that are fields of a spec."""


class DeploymentStrategy(Protocol):
    """Turns a spec into a running endpoint."""

    def deploy(self, spec: DeploymentSpec) -> Receipt:
        """Make or update it, wait, ask it one question."""
        ...


class SagemakerHuggingfaceStrategy:
    """Deploys on the SageMaker target (AWS's or the local cloud's), given a service over its resource manager."""

    def __init__(self, deployment_service: DeploymentService) -> None:
        manager = deployment_service.resource_manager
        if not isinstance(manager, deployment.ResourceManager):
            raise TypeError("SagemakerHuggingfaceStrategy needs DeploymentService(ResourceManager())")
        self._service, self._manager = deployment_service, manager

    def deploy(
        self,
        spec: DeploymentSpec | None = None,
        *,
        on_step: OnStep = lambda _: None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        **seed_arguments: Any,  # noqa: ANN401 - the seed's call has arguments of many types
    ) -> Receipt:
        """Make or update an endpoint and wait until it has answered one request.

        Args:
            spec: What to deploy; or leave it out and give the seed's arguments.
            on_step: Called as the work proceeds.
            timeout_s: Longest time for the whole.
            **seed_arguments: `role_arn, llm_image, config, endpoint_name, endpoint_config_name, gpu_instance_type,
                resources, endpoint_type`, as `spec_from_seed` takes them.

        Raises:
            SpecError, ConflictError, QuotaError, DeployError, WaitTimeoutError, InferenceError: As the command.
        """
        if (spec is None) == (not seed_arguments):
            raise TypeError("deploy() takes a DeploymentSpec, or the seed's keyword arguments, not both")
        spec = spec or spec_from_seed(**seed_arguments)
        return _deploy(spec, self._manager.connection, on_step, timeout_s, self._service)


def create_endpoint(
    endpoint_type: EndpointType = EndpointType.MODEL_BASED,
    *,
    target: str | None = None,
    on_step: OnStep = lambda _: None,
) -> Receipt:
    """Deploy what `.env` describes (the Twin, where it says nothing), as the seed's function of this name."""
    settings = load_settings()
    spec = load_spec(None, settings=settings, endpoint_type=endpoint_type).spec
    connection = connect(target, settings=settings)
    return _deploy(spec, connection, on_step, DEFAULT_TIMEOUT_S, deployment.service_for(connection))


def spec_from_seed(
    *,
    role_arn: str | None = None,
    llm_image: str | None = None,
    config: Mapping[str, Any],
    endpoint_name: str,
    endpoint_config_name: str | None = None,
    gpu_instance_type: str,
    resources: object = None,
    endpoint_type: object = EndpointType.MODEL_BASED,
) -> DeploymentSpec:
    """The spec that the seed's arguments describe. Pure.

    `config` is the container's environment, `resources` a `ResourceRequirements` of ours or of the SDK.

    Raises:
        SpecError: What any spec with these values would be refused for.
    """
    environment = {name: str(value) for name, value in config.items() if value is not None}
    model = environment.pop("HF_MODEL_ID", None)
    if model is None:
        raise SpecError("config: HF_MODEL_ID is missing.")
    limits = {field: environment.pop(name) for name, field in _LIMITS.items() if name in environment}
    reserved = Resources() if resources is None else Resources.from_any(resources)
    gpus = environment.pop("SM_NUM_GPUS", None)
    document = {
        "name": endpoint_name,
        "endpoint_config_name": endpoint_config_name,
        "model": model,
        "image": llm_image,
        "execution_role_arn": role_arn,
        "instance": gpu_instance_type,
        "endpoint_type": EndpointType.from_any(endpoint_type),
        "resources": reserved.model_dump() if gpus is None else reserved.model_dump() | {"num_accelerators": gpus},
        "limits": limits,
        "quantize": environment.pop("HF_MODEL_QUANTIZE", None),
        "environment": environment,
    }
    try:
        return DeploymentSpec.model_validate(document)
    except ValidationError as error:
        lines = (f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors(include_input=False))
        raise SpecError("\n".join(lines)) from None


def _deploy(
    spec: DeploymentSpec, connection: Connection, on_step: OnStep, timeout_s: float, service: DeploymentService
) -> Receipt:
    started_s = service.clock.now_s()
    deployed = deployment.plan_deployment(spec, connection, service=service)
    steps: list[Step] = []
    for step in deployment.apply_deployment(deployed, connection, timeout_s=timeout_s, service=service):
        steps.append(step)
        on_step(step)
    answer = deployment.smoke(deployed, connection)
    return deployment.receipt(deployed, connection, steps, service.clock.now_s() - started_s, answer)
