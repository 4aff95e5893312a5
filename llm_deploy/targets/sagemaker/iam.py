"""The execution role and the deploy identity as resources. Pure: policy templates in, documents out.

The templates in `data/` are checked against the service authorization reference; a statement that the wish does not
need (a model bucket, a VPC, a key) is left out, so no permission is granted for a feature that is not used.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources as files
from string import Template
from typing import Any

from llm_deploy.catalog import image_uri
from llm_deploy.resource import ACCESS_KEY, MANAGED_POLICY, ROLE, TAG_DEPLOYMENT, USER, Ref, Resource
from llm_deploy.spec import Engine, Place

Document = dict[str, Any]

ENGINES: tuple[Engine, ...] = ("tgi", "vllm", "sglang", "lmi", "llamacpp")
MANAGED_POLICY_CHARACTERS = 6144
"""AWS's limit of one managed policy, white space not counted."""

_NEED_A_BUCKET = frozenset({"ModelObjects", "ModelList", "ModelUpload", "ModelBucket"})


@dataclass(frozen=True, slots=True)
class RolesWish:
    """What the identities are for.

    Attributes:
        prefix: What names of endpoints, models, configs and components begin with; nothing else may be touched.
        model_bucket, model_prefix: Where own weights lie, when they do.
        kms_key: A key's id or ARN, when deployments use one. No alias: IAM does not grant by alias.
        subnet_ids, security_group_ids: Those of the VPC, when deployments use one.
        user: Whether an IAM user with one access key is made for the deploy identity.
    """

    place: Place
    prefix: str
    model_bucket: str | None = None
    model_prefix: str = "models"
    kms_key: str | None = None
    subnet_ids: tuple[str, ...] = ()
    security_group_ids: tuple[str, ...] = ()
    user: bool = True

    @property
    def deployment(self) -> str:
        """The name that owns these objects."""
        return f"llmdeploy-{self.prefix}"


def execution_role_name(deployment: str) -> str:
    """The role that the containers run under."""
    return f"{deployment}-execution"


def deployer_name(deployment: str) -> str:
    """The user and the policy of the deploy identity."""
    return f"{deployment}-deployer"


def resources(wish: RolesWish) -> tuple[Resource, ...]:
    """The execution role, the deployer's policy and, if wished, its user and key."""
    identities = [_execution_role(wish), _deployer_policy(wish)]
    if wish.user:
        identities += [_user(wish), _access_key(wish)]
    return tuple(identities)


def execution_statements(wish: RolesWish) -> list[Document]:
    """What a container may do: read its weights, pull its image, write its log and its metrics."""
    documents = ["execution-base"]
    documents += ["execution-kms"] if wish.kms_key else []
    documents += ["execution-vpc"] if wish.subnet_ids and wish.security_group_ids else []
    found = [statement for name in documents for statement in _statements(name, wish)]
    for statement in found:
        if statement["Sid"] == "EcrPull":
            statement["Resource"] = sorted(_repositories(wish.place))
    return found


def deployer_statements(wish: RolesWish) -> list[Document]:
    """What a deploying person or pipeline may do, on names with the prefix only."""
    return list(_statements("deployer", wish))


def trust(wish: RolesWish) -> Document:
    """Only SageMaker, acting for this account, may assume the execution role."""
    return _template("execution-trust", wish)


def _execution_role(wish: RolesWish) -> Resource:
    name = execution_role_name(wish.deployment)
    return Resource(
        "ExecutionRole",
        ROLE,
        name,
        {
            "RoleName": name,
            "Description": "What containers of llmdeploy run under",
            "AssumeRolePolicyDocument": trust(wish),
            "Policies": [{"PolicyName": "execution", "PolicyDocument": _policy(execution_statements(wish))}],
        },
        tags={TAG_DEPLOYMENT: wish.deployment},
        purpose="the containers run under it: weights, image, log, metrics",
    )


def _deployer_policy(wish: RolesWish) -> Resource:
    name = deployer_name(wish.deployment)
    return Resource(
        "DeployerPolicy",
        MANAGED_POLICY,
        name,
        {
            "ManagedPolicyName": name,
            "Description": f"Deploy, watch and delete LLM endpoints named {wish.prefix}*",
            "PolicyDocument": _policy(deployer_statements(wish)),
        },
        tags={TAG_DEPLOYMENT: wish.deployment},
        purpose=f"deploy, watch and delete what is named {wish.prefix}*; of IAM, pass that role to SageMaker "
        "and make autoscaling's service-linked role",
    )


def _user(wish: RolesWish) -> Resource:
    name = deployer_name(wish.deployment)
    return Resource(
        "Deployer",
        USER,
        name,
        {"UserName": name, "ManagedPolicyArns": [Ref("DeployerPolicy", "Arn")]},
        tags={TAG_DEPLOYMENT: wish.deployment},
        depends_on=("DeployerPolicy",),
        purpose="who deploys; it has that policy and nothing else",
    )


def _access_key(wish: RolesWish) -> Resource:
    name = deployer_name(wish.deployment)
    return Resource(
        "DeployerKey",
        ACCESS_KEY,
        name,
        {"UserName": name},
        depends_on=("Deployer",),
        purpose="the user's one key; its secret goes to a file that only you can read",
    )


def _policy(statements: Iterable[Document]) -> Document:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _statements(name: str, wish: RolesWish) -> Iterable[Document]:
    for statement in _template(name, wish)["Statement"]:
        if wish.model_bucket is None and statement["Sid"] in _NEED_A_BUCKET:
            continue
        yield statement


def _template(name: str, wish: RolesWish) -> Document:
    text = files.files(__package__).joinpath("data", f"{name}.json").read_text("utf-8")
    filled: Document = _filled(json.loads(text), _placeholders(wish))
    return filled


def _filled(value: Any, placeholders: Mapping[str, Sequence[str]]) -> Any:  # noqa: ANN401 - a document's values are of any JSON type
    """Placeholders replaced inside strings of the parsed document, so that no value can change its structure.

    A string of a list whose placeholder has several values becomes as many strings.
    """
    if isinstance(value, str):
        return Template(value).substitute({name: values[0] for name, values in placeholders.items() if values})
    if isinstance(value, list):
        return [_filled(item, choice) for item in value for choice in _choices(item, placeholders)]
    if isinstance(value, dict):
        return {key: _filled(item, placeholders) for key, item in value.items()}
    return value


def _choices(item: object, placeholders: Mapping[str, Sequence[str]]) -> Iterable[Mapping[str, Sequence[str]]]:
    """The placeholders once for each value of the one with several that stands in the string."""
    named = Template(item).get_identifiers() if isinstance(item, str) else []
    several = next((name for name in named if len(placeholders[name]) > 1), None)
    if several is None:
        return [placeholders]
    return [{**placeholders, several: [value]} for value in placeholders[several]]


def _placeholders(wish: RolesWish) -> dict[str, Sequence[str]]:
    single = {
        "Partition": wish.place.partition,
        "Region": wish.place.region,
        "Account": wish.place.account,
        "Prefix": wish.prefix,
        "ExecutionRole": execution_role_name(wish.deployment),
        "ModelBucket": wish.model_bucket or "",
        "ModelPrefix": wish.model_prefix,
        "DlcAccount": "",
        "DlcRepository": "",
        "KeyArn": _key_arn(wish),
    }
    several = {"SubnetId": wish.subnet_ids, "SecurityGroupId": wish.security_group_ids}
    return {**{name: [value] for name, value in single.items()}, **several}


def _key_arn(wish: RolesWish) -> str:
    key, place = wish.kms_key or "", wish.place
    return key if key.startswith("arn:") else f"arn:{place.partition}:kms:{place.region}:{place.account}:key/{key}"


def _repositories(place: Place) -> Iterable[str]:
    """ARNs of the image repositories of every engine in this region."""
    for engine in ENGINES:
        registry, _, rest = image_uri(engine, place.region).uri.partition("/")
        account, repository = registry.split(".")[0], rest.split(":")[0]
        yield f"arn:{place.partition}:ecr:{place.region}:{account}:repository/{repository}"
