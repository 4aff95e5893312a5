"""Rules between fields, and limits that are not a field's own. Pure; every finding at once.

Source: SageMaker's API documentation (botocore 1.44.5), TGI's launcher, and the refusals that AWS was seen to give.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llm_deploy.spec.fields import ENVIRONMENT_KEY_PATTERN, EXPECTED

if TYPE_CHECKING:
    from llm_deploy.spec.documents import DeploymentSpec

Path = tuple[str | int, ...]

ENVIRONMENT_ENTRIES = 100
ENVIRONMENT_ENTRY_BYTES = 1024
ENVIRONMENT_TOTAL_BYTES = 32 * 1024
TAG_LIMIT = 50
OWN_TAGS = 10
"""Of AWS's 50 tags an object, these are kept for ownership and what may follow it."""
TAG_KEY_LENGTH = 128
TAG_VALUE_LENGTH = 256

TOKEN_NAMES = frozenset(
    {
        "HF_TOKEN",
        "HF_API_TOKEN",
        "HUGGING_FACE_HUB_TOKEN",
        "HUGGINGFACE_HUB_TOKEN",
        "HUGGINGFACEHUB_API_TOKEN",
        "HUGGINGFACE_ACCESS_TOKEN",
        "HUGGING_FACE_TOKEN",
        "HUGGINGFACE_TOKEN",
        "HUGGING_FACE_ACCESS_TOKEN",
    }
)
NEVER_IN_ENVIRONMENT = frozenset({"AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_SESSION_TOKEN"})

METRICS_OF_COPIES = {
    "invocations": "SageMakerInferenceComponentInvocationsPerCopy",
    "concurrency": "SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution",
}
METRICS_OF_INSTANCES = {
    "invocations": "SageMakerVariantInvocationsPerInstance",
    "concurrency": "SageMakerVariantConcurrentRequestsPerModelHighResolution",
}

TOKEN_SHAPE = re.compile(r"\bhf_[A-Za-z0-9]{16,}")
"""Hub tokens have 34 characters after the prefix; shorter words such as `hf_transfer` are none."""
_TAG_TEXT = re.compile(r"[\w .:/=+\-@]*")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        path: The field to look at.
        message: What is wrong and what was expected; never a secret.
        involves: Other fields that the rule read; when one of them is wrong by itself, this finding is moot.
    """

    path: Path
    message: str
    involves: tuple[Path, ...] = ()

    def __str__(self) -> str:
        return f"{dotted(self.path)}: {self.message}"


def dotted(path: Path) -> str:
    """`("network", "subnets", 0)` as `network.subnets[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f"{'.' if text else ''}{part}"
    return text


def check(spec: DeploymentSpec) -> tuple[Finding, ...]:
    """Everything that is wrong between the fields of a spec whose fields are right one by one."""
    rules = (
        _token_limits,
        _environment,
        _tags,
        _network,
        _scaling,
        _copies,
        _managed_instances,
        _tensor_parallel,
        _nothing_for_a_template,
    )
    return tuple(finding for rule in rules for finding in rule(spec))


def metric_name(metric: str | None, *, component_based: bool) -> str:
    """SageMaker's name of a metric that is given by our word, by SageMaker's, or not at all."""
    names = METRICS_OF_COPIES if component_based else METRICS_OF_INSTANCES
    return names.get(metric or "invocations", metric or "")


def check_environment(environment: Mapping[str, str]) -> Iterator[Finding]:
    """SageMaker's limits on a container's environment; sizes are in bytes of UTF-8."""
    if len(environment) > ENVIRONMENT_ENTRIES:
        yield Finding(("environment",), f"{len(environment)} variables; SageMaker takes {ENVIRONMENT_ENTRIES}")
    total = sum(len(key.encode()) + len(value.encode()) for key, value in environment.items())
    if total > ENVIRONMENT_TOTAL_BYTES:
        yield Finding(("environment",), f"{total} bytes in all; SageMaker takes {ENVIRONMENT_TOTAL_BYTES}")
    for key, value in environment.items():
        yield from _environment_entry(key, value)


def _environment_entry(key: str, value: str) -> Iterator[Finding]:
    path = ("environment", key)
    if not re.fullmatch(ENVIRONMENT_KEY_PATTERN, key):
        yield Finding(path, f"not a variable's name: {EXPECTED[ENVIRONMENT_KEY_PATTERN]}")
    if len(key.encode()) > ENVIRONMENT_ENTRY_BYTES:
        yield Finding(path, f"the name has {len(key.encode())} bytes; SageMaker takes {ENVIRONMENT_ENTRY_BYTES}")
    if len(value.encode()) > ENVIRONMENT_ENTRY_BYTES:
        yield Finding(
            path,
            f"the value has {len(value.encode())} bytes; SageMaker takes {ENVIRONMENT_ENTRY_BYTES}. "
            "Put long values into a file in the model's S3 prefix",
        )
    if "\x00" in value:
        yield Finding(path, "the value holds a NUL character")


def _environment(spec: DeploymentSpec) -> Iterator[Finding]:
    yield from check_environment(spec.environment)
    yield from _secrets(spec)
    both = {"MAX_INPUT_LENGTH", "MAX_INPUT_TOKENS"}
    if spec.engine == "tgi" and both <= spec.environment.keys():
        yield Finding(("environment", "MAX_INPUT_TOKENS"), "set together with MAX_INPUT_LENGTH, which TGI refuses")
    for key in both & spec.environment.keys():
        if spec.engine == "tgi" and spec.limits.max_input_tokens is not None:
            yield Finding(
                ("environment", key),
                "contradicts limits.max_input_tokens; TGI refuses to start with both. Keep limits.max_input_tokens",
                involves=(("limits", "max_input_tokens"),),
            )


def _secrets(spec: DeploymentSpec) -> Iterator[Finding]:
    way_out = (
        "DescribeModel would show it. Stage the model to S3 (`model: s3://bucket/prefix/`), which needs no token, "
        "or accept this with `allow_token_in_environment: true`"
    )
    for key, value in spec.environment.items():
        path = ("environment", key)
        if key.upper() in NEVER_IN_ENVIRONMENT:
            yield Finding(path, "an AWS credential; the container has its execution role and needs none")
        elif spec.allow_token_in_environment:
            continue
        elif key.upper() in TOKEN_NAMES:
            yield Finding(path, f"a Hub token in the container's environment: {way_out}")
        elif TOKEN_SHAPE.search(value):
            yield Finding(path, f"the value looks like a Hub token (hf_...): {way_out}")


def _token_limits(spec: DeploymentSpec) -> Iterator[Finding]:
    limits = spec.limits
    inputs, total, batch = limits.max_input_tokens, limits.max_total_tokens, limits.max_batch_total_tokens
    if inputs is not None and total is not None and inputs >= total:
        yield Finding(
            ("limits", "max_input_tokens"),
            f"{inputs} must be below max_total_tokens ({total}), or no room is left for an answer",
            involves=(("limits", "max_total_tokens"),),
        )
    if total is not None and batch is not None and total > batch:
        yield Finding(
            ("limits", "max_total_tokens"),
            f"{total} must not exceed max_batch_total_tokens ({batch}), or no request fits into a batch",
            involves=(("limits", "max_batch_total_tokens"),),
        )
    if inputs is not None and total is None and batch is not None and inputs >= batch:
        yield Finding(
            ("limits", "max_input_tokens"),
            f"{inputs} must be below max_batch_total_tokens ({batch})",
            involves=(("limits", "max_batch_total_tokens"),),
        )


def _tags(spec: DeploymentSpec) -> Iterator[Finding]:
    most = TAG_LIMIT - OWN_TAGS
    if len(spec.tags) > most:
        yield Finding(("tags",), f"{len(spec.tags)} tags; at most {most} (AWS takes {TAG_LIMIT}, we need some)")
    for key, value in spec.tags.items():
        for message in _tag_problems(key, value):
            yield Finding(("tags", key), message)


def _tag_problems(key: str, value: str) -> Iterator[str]:
    if not 1 <= len(key) <= TAG_KEY_LENGTH:
        yield f"the key has {len(key)} characters; AWS takes 1 to {TAG_KEY_LENGTH}"
    if len(value) > TAG_VALUE_LENGTH:
        yield f"the value has {len(value)} characters; AWS takes {TAG_VALUE_LENGTH}"
    if key.lower().startswith("aws:"):
        yield "keys that begin with aws: belong to AWS"
    if key.lower().startswith("llmdeploy:"):
        yield "keys that begin with llmdeploy: say whose an object is; llmdeploy sets them itself"
    if not _TAG_TEXT.fullmatch(key) or not _TAG_TEXT.fullmatch(value):
        yield "AWS takes letters, digits, spaces and _ . : / = + - @ in tags"
    if TOKEN_SHAPE.search(value):
        yield "the value looks like a Hub token (hf_...); tags are readable by everyone in the account"


def _network(spec: DeploymentSpec) -> Iterator[Finding]:
    network = spec.network
    if bool(network.subnets) != bool(network.security_group_ids):
        missing, given = (
            ("subnets", "security_group_ids") if network.security_group_ids else ("security_group_ids", "subnets")
        )
        yield Finding(("network", missing), f"needed with {given}: a VPC takes both or none", (("network", given),))
    if network.isolation and not hasattr(spec.model, "s3_uri"):
        yield Finding(
            ("network", "isolation"),
            "an isolated container cannot reach the Hub; use a model in S3 (`model: s3://bucket/prefix/`)",
            involves=(("model",),),
        )


def component_based(spec: DeploymentSpec) -> bool:
    """Whether copies are inference components (by value: this module does not import the documents)."""
    return spec.endpoint_type.value == "InferenceComponentBased"


def _scaling(spec: DeploymentSpec) -> Iterator[Finding]:
    tracking = spec.autoscaling
    if tracking is None:
        return
    if tracking.min_copies > tracking.max_copies:
        yield Finding(
            ("autoscaling", "min_copies"),
            f"{tracking.min_copies} is more than max_copies ({tracking.max_copies})",
            involves=(("autoscaling", "max_copies"),),
        )
    yield from _metric(spec)


def _metric(spec: DeploymentSpec) -> Iterator[Finding]:
    tracking = spec.autoscaling
    metric = tracking.metric if tracking else None
    names = METRICS_OF_COPIES if component_based(spec) else METRICS_OF_INSTANCES
    if metric is None or metric in names or metric in names.values():
        return
    other = METRICS_OF_INSTANCES if component_based(spec) else METRICS_OF_COPIES
    word = next((word for word, name in other.items() if name == metric), None)
    kind = "an inference component" if component_based(spec) else "a model-based endpoint"
    reason = f"{metric} does not exist on {kind}" if word else f"'{metric}' is no predefined metric"
    choices = [word] if word else [*names, *names.values()]
    yield Finding(
        ("autoscaling", "metric"),
        f"{reason}; {'use' if word else 'one of'} {', '.join(choices)}",
        involves=(("endpoint_type",),),
    )


def _copies(spec: DeploymentSpec) -> Iterator[Finding]:
    resources, tracking = spec.resources, spec.autoscaling
    if resources.max_memory_mib is not None and resources.max_memory_mib < resources.memory_mib:
        yield Finding(
            ("resources", "max_memory_mib"),
            f"{resources.max_memory_mib} is less than memory_mib ({resources.memory_mib})",
            involves=(("resources", "memory_mib"),),
        )
    if not component_based(spec) and resources.copies > 1:
        yield Finding(
            ("resources", "copies"),
            "a model-based endpoint runs one copy on each instance; use instance.initial_count",
            involves=(("endpoint_type",),),
        )
    path: Path = ("resources", "copies") if component_based(spec) else ("instance", "initial_count")
    start = resources.copies if component_based(spec) else spec.instance.initial_count
    if tracking is not None and start > tracking.max_copies:
        yield Finding(
            path,
            f"{start} is more than autoscaling.max_copies ({tracking.max_copies})",
            involves=(("autoscaling", "max_copies"), ("endpoint_type",)),
        )


def _managed_instances(spec: DeploymentSpec) -> Iterator[Finding]:
    instance = spec.instance
    for field in ("min_count", "max_count"):
        if getattr(instance, field) is not None and not component_based(spec):
            yield Finding(
                ("instance", field),
                "ManagedInstanceScaling exists on inference component endpoints only; "
                "use autoscaling.min_copies and max_copies, which count instances here",
                involves=(("endpoint_type",),),
            )
    if instance.min_count is not None and instance.min_count > instance.initial_count:
        yield Finding(
            ("instance", "min_count"),
            f"{instance.min_count} is more than initial_count ({instance.initial_count})",
            involves=(("instance", "initial_count"),),
        )
    if instance.max_count is not None and instance.max_count < instance.initial_count:
        yield Finding(
            ("instance", "max_count"),
            f"{instance.max_count} is less than initial_count ({instance.initial_count})",
            involves=(("instance", "initial_count"),),
        )


TENSOR_PARALLEL_VARIABLES = (
    "SM_NUM_GPUS",
    "NUM_SHARD",
    "SM_VLLM_TENSOR_PARALLEL_SIZE",
    "SM_SGLANG_TP",
    "SM_SGLANG_TP_SIZE",
    "TENSOR_PARALLEL_DEGREE",
    "OPTION_TENSOR_PARALLEL_DEGREE",
)


def _tensor_parallel(spec: DeploymentSpec) -> Iterator[Finding]:
    wanted = str(spec.resources.num_accelerators)
    for key in TENSOR_PARALLEL_VARIABLES:
        value = spec.environment.get(key)
        if value is not None and value.strip() != wanted:
            yield Finding(
                ("environment", key),
                f"{value!r} contradicts resources.num_accelerators ({wanted}), which is the tensor parallel degree",
                involves=(("resources", "num_accelerators"),),
            )


STACK_SYMBOL = "${AWS::"
REFERENCE = "Ref"


def _nothing_for_a_template(spec: DeploymentSpec) -> Iterator[Finding]:
    """A spec is the same deployment through calls and through a template, so no text of it may mean more in one."""
    for path, text in _texts((), spec.model_dump(exclude={"description"})):
        if STACK_SYMBOL in text:
            yield Finding(
                path, f"{STACK_SYMBOL}...}} means something in a CloudFormation template only; write the value"
            )
    if REFERENCE in spec.environment:
        yield Finding(
            ("environment", REFERENCE),
            "CloudFormation takes a member of this name for a reference; choose another name",
        )


def _texts(path: Path, value: object) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        yield from (found for key, item in value.items() for found in _texts((*path, key), item))
    elif isinstance(value, list | tuple):
        yield from (found for index, item in enumerate(value) for found in _texts((*path, index), item))
