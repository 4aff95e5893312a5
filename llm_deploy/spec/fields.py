"""The texts that AWS accepts: one constrained type for each, so that the JSON schema carries the limits as well.

Source of every limit: botocore 1.44.5 service model of SageMaker (documentation, `max` and `pattern`), which botocore
itself does not enforce; `EXPECTED` says each pattern in words.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from llm_deploy.spec import durations
from llm_deploy.spec.durations import DURATION_PATTERN, EXPECTED_DURATION

HASH_SUFFIX_LENGTH = 9
"""A hyphen and eight hexadecimal digits: what `resource.content_name` adds to a name."""

LEAST_TTL_S = 600
"""An empty endpoint takes four minutes, its first component six more. Source: report on g5.xlarge, us-east-1."""

NAME_LENGTH = 63
BASE_NAME_LENGTH = NAME_LENGTH - HASH_SUFFIX_LENGTH

NAME_PATTERN = r"^[a-zA-Z0-9](-*[a-zA-Z0-9])*$"
ENVIRONMENT_KEY_PATTERN = r"^[a-zA-Z_][a-zA-Z0-9_]*$"
HUB_ID_PATTERN = r"^[a-zA-Z0-9][a-zA-Z0-9._-]*/[a-zA-Z0-9._-]*[a-zA-Z0-9_]$"
REVISION_PATTERN = r"^[a-zA-Z0-9][a-zA-Z0-9._/-]*$"
S3_PREFIX_PATTERN = r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/(.*[^/]/)?$"
IMAGE_PATTERN = r"^[a-zA-Z0-9][a-zA-Z0-9._:/@-]*$"
ROLE_PATTERN = r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/[a-zA-Z0-9+=,.@_/-]+$"
KMS_PATTERN = r"^[a-zA-Z0-9:/_-]+$"
QUANTIZE_PATTERN = r"^[a-z0-9_-]+$"
ENGINE_VERSION_PATTERN = r"^[a-z0-9.:-]+$"
INSTANCE_PATTERN = r"^ml\.[a-z0-9-]+\.[a-z0-9]+$"
SECURITY_GROUP_PATTERN = r"^sg-[0-9a-zA-Z]+$"
SUBNET_PATTERN = r"^subnet-[0-9a-zA-Z]+$"

EXPECTED = {
    NAME_PATTERN: "letters, digits and hyphens, beginning and ending with a letter or digit (no underscore, no dot)",
    ENVIRONMENT_KEY_PATTERN: "letters, digits and underscores, not beginning with a digit",
    HUB_ID_PATTERN: "a Hub id such as mlabonne/TwinLlama-3.1-8B-DPO (owner/name), or s3://bucket/prefix/",
    REVISION_PATTERN: "a commit hash, tag or branch of the model's repository",
    S3_PREFIX_PATTERN: "s3://bucket/prefix/ with the model's uncompressed files; it must end with '/'",
    IMAGE_PATTERN: "an image's URI such as 123456789012.dkr.ecr.eu-central-1.amazonaws.com/mine:1",
    ROLE_PATTERN: "a role's ARN such as arn:aws:iam::123456789012:role/llmdeploy-execution",
    KMS_PATTERN: "a key's id, alias or ARN",
    QUANTIZE_PATTERN: "the engine's word in small letters, such as awq or fp8",
    ENGINE_VERSION_PATTERN: "a version such as 3.3.6, or family:version such as huggingface-vllm:0.29.0",
    INSTANCE_PATTERN: "a SageMaker instance type such as ml.g5.2xlarge",
    SECURITY_GROUP_PATTERN: "a security group's id such as sg-0123456789abcdef0",
    SUBNET_PATTERN: "a subnet's id such as subnet-0123456789abcdef0",
    DURATION_PATTERN: EXPECTED_DURATION,
}

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN, min_length=1, max_length=NAME_LENGTH)]
BaseName = Annotated[str, StringConstraints(pattern=NAME_PATTERN, min_length=1, max_length=BASE_NAME_LENGTH)]
"""A name that content-named objects are built on: the hash's nine characters must still fit into AWS's 63."""

HubId = Annotated[str, StringConstraints(pattern=HUB_ID_PATTERN, max_length=200)]
Revision = Annotated[str, StringConstraints(pattern=REVISION_PATTERN, max_length=200)]
S3Prefix = Annotated[str, StringConstraints(pattern=S3_PREFIX_PATTERN, max_length=1024)]
ImageUri = Annotated[str, StringConstraints(pattern=IMAGE_PATTERN, max_length=255)]
RoleArn = Annotated[str, StringConstraints(pattern=ROLE_PATTERN, min_length=20, max_length=2048)]
KmsKey = Annotated[str, StringConstraints(pattern=KMS_PATTERN, max_length=2048)]
InstanceName = Annotated[str, StringConstraints(pattern=INSTANCE_PATTERN, max_length=64)]
SecurityGroup = Annotated[str, StringConstraints(pattern=SECURITY_GROUP_PATTERN, max_length=32)]
Subnet = Annotated[str, StringConstraints(pattern=SUBNET_PATTERN, max_length=32)]


def _long_enough(span: str) -> str:
    try:
        length_s = durations.seconds(span)
    except ValueError as error:
        raise PydanticCustomError("duration", "{reason}", {"reason": str(error)}) from error
    if length_s < LEAST_TTL_S:
        raise PydanticCustomError("duration", "less than ten minutes; AWS needs that long to bring an endpoint up")
    return span


Ttl = Annotated[str, StringConstraints(pattern=DURATION_PATTERN, max_length=40), AfterValidator(_long_enough)]
TimeoutSeconds = Annotated[int, Field(ge=60, le=3600)]
Count = Annotated[int, Field(ge=1, le=10_000)]
