"""What the user wants, as one document; nothing secret in it, nothing left to guess about its meaning."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Engine = Literal["tgi", "vllm", "sglang", "lmi", "llamacpp"]
Dialect = Literal["tgi", "openai", "lmi"]


class EndpointType(Enum):
    """The two shapes of a SageMaker endpoint, under the SDK's names and values."""

    MODEL_BASED = "ModelBased"
    INFERENCE_COMPONENT_BASED = "InferenceComponentBased"


class Document(BaseModel):
    """Base of every part of a spec: immutable, and a misspelt field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class HubModel(Document):
    """A model on the Hugging Face Hub, pinned."""

    id: str
    revision: str | None = None


class S3Model(Document):
    """A prefix with the uncompressed files of a model (`config.json`, `*.safetensors`, ...): no token, no egress."""

    s3_uri: str
    accept_eula: bool = False


class Instance(Document):
    """The machines behind the endpoint."""

    type: str = "ml.g5.2xlarge"
    initial_count: int = 1
    min_count: int | None = None
    max_count: int | None = None
    volume_size_gib: int | None = None
    inference_ami_version: str | None = None


class Resources(Document):
    """What one copy of the model reserves (`ResourceRequirements` in the SDK). `memory_mib` is a reservation."""

    copies: int = 1
    num_accelerators: int = 1
    num_cpus: float = 2
    memory_mib: int = 1024


class Limits(Document):
    """Token limits of the engine; `None` leaves a limit to the engine."""

    max_input_tokens: int | None = None
    max_total_tokens: int | None = None
    max_batch_prefill_tokens: int | None = None
    max_batch_total_tokens: int | None = None


class Generation(Document):
    """Default sampling parameters of the clients of this deployment."""

    temperature: float = 0.01
    top_p: float = 0.9
    max_new_tokens: int = 150


class TargetTracking(Document):
    """Keep a metric near a target by changing the number of copies (or instances)."""

    min_copies: int = 1
    max_copies: int = 2
    metric: str | None = None
    target: float = 5.0
    scale_in_cooldown_s: int = 300
    scale_out_cooldown_s: int = 300
    disable_scale_in: bool = False


class Network(Document):
    """Where the containers live."""

    security_group_ids: tuple[str, ...] = ()
    subnets: tuple[str, ...] = ()
    isolation: bool = False


class Timeouts(Document):
    """Seconds that SageMaker allows a copy; `None` leaves it to SageMaker."""

    model_download_s: int | None = None
    container_startup_s: int | None = None


class DeploymentSpec(Document):
    """One deployment. Every field is explained in `docs/reference/spec.md`."""

    name: str
    engine: Engine = "tgi"
    model: HubModel | S3Model
    endpoint_type: EndpointType = EndpointType.INFERENCE_COMPONENT_BASED
    inference_component_name: str | None = None
    endpoint_config_name: str | None = None
    instance: Instance = Instance()
    resources: Resources = Resources()
    limits: Limits = Limits()
    quantize: str | None = None
    environment: Annotated[dict[str, str], Field(default_factory=dict)]
    allow_token_in_environment: bool = False
    image: str | None = None
    execution_role_arn: str | None = None
    autoscaling: TargetTracking | None = None
    generation: Generation = Generation()
    network: Network = Network()
    kms_key_id: str | None = None
    timeouts: Timeouts = Timeouts()
    routing_strategy: Literal["LEAST_OUTSTANDING_REQUESTS", "RANDOM"] = "LEAST_OUTSTANDING_REQUESTS"
    variant_name: str = "AllTraffic"
    tags: Annotated[dict[str, str], Field(default_factory=dict)]
    description: str | None = None

    @property
    def endpoint_config_base(self) -> str:
        """What endpoint config names begin with; always the deployment's name, so that lists find them."""
        chosen = self.endpoint_config_name or self.name
        return chosen if chosen.startswith(self.name) else f"{self.name}-{chosen}"


class Place(Document):
    """Where a deployment goes: what the cloud, not the user, decides."""

    partition: str = "aws"
    region: str
    account: str


class ResolvedSpec(Document):
    """A spec with nothing left open: what a strategy reads.

    Attributes:
        spec: The spec as given.
        place: Partition, region and account.
        execution_role_arn: The role that the containers run under.
        image_uri: The container image for this region.
        dialect: What the engine in that image speaks on `/invocations`.
        inference_ami_version: Set when the image's CUDA needs another driver than the instance's default.
        environment: The container's whole environment, engine variables first, the user's own last.
        component_name: Name of the inference component; `None` for a model-based endpoint.
        usd_per_hour: Price of one instance, `None` when unknown; `price_note` says date, region and grade.
        notes: What the user should know before deploying (TGI is in maintenance mode, ...).
    """

    spec: DeploymentSpec
    place: Place
    execution_role_arn: str
    image_uri: str
    dialect: Dialect
    inference_ami_version: str | None = None
    environment: dict[str, str]
    component_name: str | None = None
    usd_per_hour: float | None = None
    price_note: str | None = None
    notes: tuple[str, ...] = ()


Provenance = dict[str, Any]
