"""What the user wants, as one document; nothing secret in it, nothing left to guess about its meaning."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from llm_deploy.spec import rules, short_forms
from llm_deploy.spec.document import Document
from llm_deploy.spec.fields import (
    ENGINE_VERSION_PATTERN,
    QUANTIZE_PATTERN,
    BaseName,
    Count,
    HubId,
    ImageUri,
    InstanceName,
    KmsKey,
    Name,
    Revision,
    RoleArn,
    S3Prefix,
    SecurityGroup,
    Subnet,
    TimeoutSeconds,
    Ttl,
)

Engine = Literal["tgi", "vllm", "sglang", "lmi", "llamacpp"]
Dialect = Literal["tgi", "openai", "lmi"]

RULES_LATER = "rules_later"
"""Validation context key: the loader checks the cross-field rules itself, to report them with the field errors."""


class EndpointType(Enum):
    """The two shapes of a SageMaker endpoint, under the SDK's names and values."""

    MODEL_BASED = "ModelBased"
    INFERENCE_COMPONENT_BASED = "InferenceComponentBased"

    @classmethod
    def from_any(cls, value: object) -> EndpointType:
        """From ours, the SDK's enum (v2 or v3, by value), its value, or `model` / `inference-component`.

        Raises:
            ValueError: None of these.
        """
        return cls(short_forms.endpoint_type(value))


class HubModel(Document):
    """A model on the Hugging Face Hub, pinned."""

    id: HubId
    """Owner and name, such as `mlabonne/TwinLlama-3.1-8B-DPO`."""
    revision: Revision | None = None
    """Commit hash, tag or branch. Only a commit hash is a pin; without one the model may change between two starts."""


class S3Model(Document):
    """A prefix with the uncompressed files of a model (`config.json`, `*.safetensors`, ...): no token, no egress."""

    s3_uri: S3Prefix
    """`s3://bucket/prefix/`, ending with a slash; SageMaker mounts its files at `/opt/ml/model`."""
    accept_eula: bool = False
    """Accept the licence of a gated model of SageMaker JumpStart (`ModelAccessConfig.AcceptEula`)."""


class Instance(Document):
    """The machines behind the endpoint."""

    type: InstanceName = "ml.g5.2xlarge"
    """A SageMaker instance type of the catalogue."""
    initial_count: Count = 1
    """How many machines the endpoint starts with."""
    min_count: Annotated[int, Field(ge=0, le=10_000)] | None = None
    """Fewest machines that SageMaker keeps (inference components only). 0: machines go away when nothing runs."""
    max_count: Count | None = None
    """Most machines that SageMaker starts for copies (inference components only)."""
    volume_size_gib: Annotated[int, Field(ge=1, le=512)] | None = None
    """Size of the EBS volume. Only families without NVMe disks take one."""
    inference_ami_version: str | None = None
    """GPU driver image. Chosen from the container's CUDA version when left out."""

    @model_validator(mode="before")
    @classmethod
    def _from_short_form(cls, value: Any) -> Any:  # noqa: ANN401 - raw input
        return short_forms.instance(value)


class Resources(Document):
    """What one copy of the model reserves (`ResourceRequirements` in the SDK)."""

    copies: Count = 1
    """Copies of the model at the start (inference components only)."""
    num_accelerators: Annotated[int, Field(ge=1, le=64)] = 1
    """Accelerators of one copy. It is the tensor parallel degree as well."""
    num_cpus: Annotated[float, Field(ge=0.25, le=1024)] = 2
    """Virtual CPUs reserved for one copy."""
    memory_mib: Annotated[int, Field(ge=128, le=33_554_432)] = 1024
    """Host memory reserved for one copy: a reservation, not a cap. Large values are refused by small machines."""
    max_memory_mib: Annotated[int, Field(ge=128, le=33_554_432)] | None = None
    """Cap of the host memory of one copy; none by default."""

    @model_validator(mode="before")
    @classmethod
    def _from_short_form(cls, value: Any) -> Any:  # noqa: ANN401 - raw input
        return short_forms.resources(value)

    @classmethod
    def from_any(cls, value: object) -> Resources:
        """From ours, a mapping of fields, our `ResourceRequirements`, or the SDK's of v2 or v3 (by its attributes).

        Raises:
            SpecError: Memory is missing, or a value is out of its range.
        """
        from llm_deploy.spec.requirements import resources_from_any  # noqa: PLC0415 - it builds on this module

        return resources_from_any(value)


class Limits(Document):
    """Token limits of the engine; `None` leaves a limit to the engine."""

    max_input_tokens: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Longest prompt. Must be below `max_total_tokens`."""
    max_total_tokens: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Longest prompt and answer together: the model's context length in this deployment."""
    max_batch_prefill_tokens: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    """Most prompt tokens that are processed at once."""
    max_batch_total_tokens: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    """Most tokens of all running requests together (TGI only). At least `max_total_tokens`."""


class Generation(Document):
    """Default sampling parameters of the clients of this deployment."""

    temperature: Annotated[float, Field(ge=0, le=100)] = 0.01
    """0 or close to it: the likeliest answer, always."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Sample from the likeliest tokens that make up this share."""
    max_new_tokens: Annotated[int, Field(ge=1, le=10_000_000)] = 150
    """Longest answer."""


class TargetTracking(Document):
    """Keep a metric near a target by changing the number of copies (of instances, on a model-based endpoint)."""

    min_copies: Count = 1
    """Fewest copies. Scaling to zero needs a rule that wakes the endpoint again, which is not built yet."""
    max_copies: Count = 2
    """Most copies."""
    metric: str | None = None
    """`invocations` (a minute, for each copy; the default), `concurrency` (requests at once, for each copy; better for
    long answers), or SageMaker's own name of a predefined metric that fits the endpoint type."""
    target: Annotated[float, Field(gt=0, le=1_000_000)] = 5.0
    """The metric's value for one copy that scaling aims at."""
    scale_in_cooldown_s: Annotated[int, Field(ge=0, le=86_400)] = 300
    """Seconds after a scale-in before the next one."""
    scale_out_cooldown_s: Annotated[int, Field(ge=0, le=86_400)] = 300
    """Seconds after a scale-out before the next one."""
    disable_scale_in: bool = False
    """Only ever add copies."""


class Network(Document):
    """Where the containers live."""

    security_group_ids: Annotated[tuple[SecurityGroup, ...], Field(max_length=5)] = ()
    """1 to 5 security groups of a VPC; with subnets or not at all."""
    subnets: Annotated[tuple[Subnet, ...], Field(max_length=16)] = ()
    """1 to 16 subnets of a VPC; with security groups or not at all."""
    isolation: bool = False
    """No network for the container at all. The model must then come from S3."""


class Timeouts(Document):
    """Seconds that SageMaker allows a copy; `None` leaves it to SageMaker."""

    model_download_s: TimeoutSeconds | None = None
    """For fetching the model from S3."""
    container_startup_s: TimeoutSeconds | None = None
    """For the container's first healthy answer; a download from the Hub happens inside this time."""


def _one_model(value: object) -> object:
    value = short_forms.model(value)
    if value is None:
        raise PydanticCustomError("model", "empty; expected owner/name or s3://bucket/prefix/")
    if isinstance(value, dict) and {"id", "s3_uri"} <= value.keys():
        raise PydanticCustomError("model", "has both id and s3_uri; a model comes from one place")
    return value


def _kind_of_model(value: object) -> str:
    return "s3" if isinstance(value, S3Model) or (isinstance(value, dict) and "s3_uri" in value) else "hub"


Model = Annotated[
    Annotated[HubModel, Tag("hub")] | Annotated[S3Model, Tag("s3")],
    Discriminator(_kind_of_model),
    BeforeValidator(_one_model),
]


class DeploymentSpec(Document):
    """One deployment."""

    name: BaseName
    """Name of the endpoint, and the beginning of every other name. 54 characters, so that content hashes fit."""
    engine: Engine = "tgi"
    """What serves the model inside the container."""
    engine_version: Annotated[str, Field(pattern=ENGINE_VERSION_PATTERN, max_length=64)] | None = None
    """Version of the engine's container (`3.3.6`, `0.29`, `huggingface-vllm:0.29.0`); the newest when left out."""
    model: Model
    """`owner/name`, `owner/name@revision` or `s3://bucket/prefix/`; or the fields below."""
    endpoint_type: Annotated[
        EndpointType,
        BeforeValidator(short_forms.endpoint_type),
        WithJsonSchema({"enum": [*short_forms.ENDPOINT_TYPE_WORDS, *short_forms.ENDPOINT_TYPE_WORDS.values()]}),
    ] = EndpointType.INFERENCE_COMPONENT_BASED
    """`inference-component` (copies of models share machines) or `model` (one model, whole machines)."""
    inference_component_name: Name | None = None
    """Name of the inference component; the deployment's name when left out."""
    endpoint_config_name: BaseName | None = None
    """Part of the endpoint configuration's name, `<name>-<this>-<hash>`; `<name>-<hash>` when left out."""
    instance: Instance = Instance()
    resources: Resources = Resources()
    limits: Limits = Limits()
    quantize: Annotated[str, Field(pattern=QUANTIZE_PATTERN, max_length=64)] | None = None
    """Quantisation that the engine applies or expects, in the engine's word (`awq`, `bitsandbytes-nf4`, `fp8`, ...)."""
    environment: Annotated[dict[str, str], BeforeValidator(short_forms.texts), Field(default_factory=dict)]
    """More variables for the container. Anyone who may describe the model can read them: no secrets."""
    allow_token_in_environment: bool = False
    """Let the Hub token into the container's environment, where DescribeModel shows it. Staging to S3 is safer."""
    image: ImageUri | None = None
    """Container image to use in place of the catalogue's."""
    execution_role_arn: RoleArn | None = None
    """Role of the containers; from `AWS_ARN_ROLE` or `sagemaker_execution_role.json` when left out."""
    autoscaling: TargetTracking | None = None
    """Scaling by target tracking; none when left out."""
    generation: Generation = Generation()
    network: Network = Network()
    kms_key_id: KmsKey | None = None
    """Key for the instances' EBS volume. Only families without NVMe disks take one."""
    timeouts: Timeouts = Timeouts()
    routing_strategy: Literal["LEAST_OUTSTANDING_REQUESTS", "RANDOM"] = "LEAST_OUTSTANDING_REQUESTS"
    """How SageMaker spreads requests over the copies."""
    variant_name: Name = "AllTraffic"
    """Name of the production variant."""
    ttl: Ttl | None = None
    """How long the endpoint is to live after it was last deployed (`8h`, `2d`, `PT8H`); `llmdeploy reap --expired`
    deletes it then. Forever when left out."""
    tags: Annotated[dict[str, str], BeforeValidator(short_forms.texts), Field(default_factory=dict)]
    """Tags for everything that is made, beside the ownership tags."""
    description: Annotated[str, Field(max_length=1024)] | None = None
    """For people; not sent anywhere."""

    @property
    def endpoint_config_base(self) -> str:
        """What the content-hashed name of the endpoint configuration begins with."""
        return self.endpoint_config_name or self.name

    @model_validator(mode="after")
    def _holds_the_rules(self, info: ValidationInfo) -> DeploymentSpec:
        if not (info.context or {}).get(RULES_LATER):
            found = rules.check(self)
            if found:
                raise PydanticCustomError("rules", "{text}", {"text": "; ".join(str(finding) for finding in found)})
        return self


class Place(Document):
    """Where a deployment goes: what the cloud, not the user, decides."""

    partition: str = "aws"
    region: str
    account: str


class ResolvedSpec(Document):
    """A spec with nothing left open: what a strategy reads.

    Attributes:
        spec: The spec as given, with what follows from it filled in (the metric's name, instance bounds).
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
    execution_role_arn: Annotated[str, Field(min_length=1)]
    image_uri: str
    dialect: Dialect
    inference_ami_version: str | None = None
    environment: dict[str, str]
    component_name: str | None = None
    usd_per_hour: float | None = None
    price_note: str | None = None
    notes: tuple[str, ...] = ()
