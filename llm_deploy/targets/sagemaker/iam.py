"""The identities as resources: an execution role, a deploy role, who may only invoke, and on request a user. Pure.

    execution role   containers run under it; only SageMaker, acting for this account, may assume it
    deploy role      people and pipelines assume it; one managed policy a feature, and no IAM write but PassRole
    invoke policy    for other services; part of the deploy role as well
    user, key        on request, for where roles cannot be assumed; the deploy role's policies and nothing else

Statements come from `statements`, filled with the prefix; one that the wish does not need (a model bucket, a VPC, a
key) is left out, so no permission is granted for a feature that is not used.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from llm_deploy.catalog import image_uri
from llm_deploy.resource import (
    ACCESS_KEY,
    MANAGED_POLICY,
    ROLE,
    SERVICE_LINKED_ROLE,
    TAG_CONTENT,
    TAG_DEPLOYMENT,
    USER,
    Ref,
    Resource,
    content_hash,
)
from llm_deploy.spec import Engine, Place
from llm_deploy.targets.sagemaker.statements import Document, Scope, policy, purpose, statements, template

ENGINES: tuple[Engine, ...] = ("tgi", "vllm", "sglang", "lmi", "llamacpp")
DEPLOY_POLICIES = (
    "deploy-read",
    "deploy-models",
    "deploy-endpoints",
    "deploy-components",
    "deploy-scaling",
    "deploy-alarms",
    "deploy-logs",
    "deploy-stack",
    "invoke",
)
"""The templates of the deploy role, a managed policy each."""
INVOKE_POLICY = "invoke"
STACK_POLICY = "deploy-stack"
"""What deploying through CloudFormation needs besides."""

SESSION_S = 4 * 3600
"""Longest session of the deploy role: an hour of waiting for an endpoint several times over. A pipeline's sign-in by
OIDC cannot be renewed while it runs; sessions of `llmdeploy` itself are renewed every hour."""

AUTOSCALING_SERVICE = "sagemaker.application-autoscaling.amazonaws.com"
AUTOSCALING_ROLE = "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
"""Source: Application Auto Scaling user guide, "Service-linked roles"."""


@dataclass(frozen=True, slots=True)
class RolesWish:
    """What the identities are for.

    Attributes:
        prefix: What names of endpoints, models, configs and components begin with; nothing else may be touched.
        model_bucket, model_prefix: Where own weights lie, when they do.
        kms_key: A key's id or ARN, when deployments use one. No alias: IAM does not grant by alias.
        subnet_ids, security_group_ids: Those of the VPC, when deployments use one.
        repositories: ARNs of own image repositories, beside those of the engines.
        alarms: Whether alarms are to roll updates back.
        trusted_principals: ARNs of who may assume the deploy role. None here and no `oidc_provider`: whoever the
            account's own policies allow to.
        oidc_provider, oidc_subjects: ARN of an OpenID Connect provider of the account, and whole subjects.
        permissions_boundary: ARN of a policy that bounds every role and the user.
        user: Whether an IAM user with one access key is made.
    """

    place: Place
    prefix: str
    model_bucket: str | None = None
    model_prefix: str = "models"
    kms_key: str | None = None
    subnet_ids: tuple[str, ...] = ()
    security_group_ids: tuple[str, ...] = ()
    repositories: tuple[str, ...] = ()
    alarms: bool = True
    trusted_principals: tuple[str, ...] = ()
    oidc_provider: str | None = None
    oidc_subjects: tuple[str, ...] = ()
    permissions_boundary: str | None = None
    user: bool = False

    @property
    def deployment(self) -> str:
        """The name that owns these objects."""
        return f"llmdeploy-{self.prefix}"

    @property
    def execution_role_arn(self) -> str:
        """The role that containers run under."""
        return self._arn("role", execution_role_name(self.deployment))

    @property
    def deploy_role_arn(self) -> str:
        """The role to deploy with."""
        return self._arn("role", deployer_name(self.deployment))

    def policy_arn(self, template_name: str) -> str:
        """The managed policy of a template."""
        return self._arn("policy", policy_name(self.deployment, template_name))

    @property
    def account_root(self) -> str:
        """The account itself: whoever its administrators allow to."""
        return f"arn:{self.place.partition}:iam::{self.place.account}:root"

    def _arn(self, kind: str, name: str) -> str:
        return f"arn:{self.place.partition}:iam::{self.place.account}:{kind}/{name}"


def execution_role_name(deployment: str) -> str:
    """The role that the containers run under."""
    return f"{deployment}-execution"


def deployer_name(deployment: str) -> str:
    """The role to deploy with, and the user, where there is one."""
    return f"{deployment}-deployer"


def policy_name(deployment: str, template_name: str) -> str:
    """The managed policy of a template: `llmdeploy-twin-hosting`."""
    return f"{deployment}-{template_name.removeprefix('deploy-')}"


def resources(wish: RolesWish) -> tuple[Resource, ...]:
    """The execution role, the deploy role with its policies, the invoke-only policy and, if wished, user and key."""
    found = [_execution_role(wish), *(_managed_policy(wish, name) for name in DEPLOY_POLICIES), _deploy_role(wish)]
    if wish.user:
        found += [_user(wish), access_key(wish)]
    return tuple(found)


def settled(found: Sequence[Resource], wish: RolesWish) -> tuple[Resource, ...]:
    """The list with the ARNs that policies have or will have, so that a plan sees which are attached."""
    arns = {_policy_id(name): wish.policy_arn(name) for name in DEPLOY_POLICIES}
    return tuple(
        replace(item, properties={**item.properties, "ManagedPolicyArns": [arns[ref.resource] for ref in attached]})
        if (attached := item.properties.get("ManagedPolicyArns"))
        else item
        for item in found
    )


def service_linked_role() -> Resource:
    """The account's role for autoscaling of SageMaker: of no deployment, so made where it is absent and never removed.

    Where it exists, registering a scalable target needs no IAM right at all. Not part of `resources`: CloudFormation
    fails where it exists already.
    """
    return Resource(
        "AutoscalingRole",
        SERVICE_LINKED_ROLE,
        AUTOSCALING_ROLE,
        {"AWSServiceName": AUTOSCALING_SERVICE},
        purpose="the account's own: Application Auto Scaling changes SageMaker's machines under it",
    )


def scope(wish: RolesWish) -> Scope:
    """What the wish's policies are about: everything with the prefix."""
    named = f"{wish.prefix}*"
    return Scope(
        wish.place,
        prefix=wish.prefix,
        endpoint=named,
        config=named,
        model=named,
        component=named,
        alarm=named,
        deployment=named,
        execution_role_arn=wish.execution_role_arn,
        repositories=tuple(sorted({*repositories(wish.place), *wish.repositories})),
        model_bucket=wish.model_bucket,
        model_prefix=wish.model_prefix,
        kms_key=wish.kms_key,
        subnet_ids=wish.subnet_ids,
        security_group_ids=wish.security_group_ids,
        alarms=wish.alarms,
    )


def execution_templates(of: Scope) -> tuple[str, ...]:
    """The templates of the execution role that this scope needs."""
    network = bool(of.subnet_ids and of.security_group_ids)
    optional = {
        "execution-alarms": of.alarms,
        "execution-weights": of.model_bucket is not None,
        "execution-kms": of.kms_key is not None,
        "execution-vpc": network,
    }
    return ("execution-base", *(name for name, needed in optional.items() if needed))


def execution_statements(of: Scope) -> list[Document]:
    """What a container may do: read its weights, pull its image, write its log and its metrics."""
    return [statement for name in execution_templates(of) for statement in statements(name, of)]


def execution_trust(wish: RolesWish) -> Document:
    """Only SageMaker, acting for this account, may assume the execution role."""
    place = wish.place
    values = {"Partition": [place.partition], "Region": [place.region], "Account": [place.account]}
    return template("execution-trust", values)


def deploy_trust(wish: RolesWish) -> Document:
    """Who may assume the deploy role: those who are named, else whoever the account's own policies allow to."""
    found: list[Document] = []
    principals = wish.trusted_principals or (() if wish.oidc_provider else (wish.account_root,))
    if principals:
        found += template("deploy-trust", {"TrustedPrincipal": principals})["Statement"]
    if wish.oidc_provider:
        issuer = wish.oidc_provider.partition(":oidc-provider/")[2]
        values = {"OidcProvider": [wish.oidc_provider], "OidcIssuer": [issuer], "OidcSubject": wish.oidc_subjects}
        found += template("deploy-trust-oidc", values)["Statement"]
    return policy(found)


def repositories(place: Place, engines: Sequence[Engine] = ENGINES) -> Iterable[str]:
    """ARNs of the image repositories of engines in this region."""
    return (repository_arn(image_uri(engine, place.region).uri, place) for engine in engines)


def repository_arn(image: str, place: Place) -> str:
    """The repository of an image in ECR: `account.dkr.ecr.region.amazonaws.com/name:tag`."""
    registry, _, rest = image.partition("/")
    account, *_, region = registry.split(".")[:4]
    name = rest.partition("@")[0].partition(":")[0]
    return f"arn:{place.partition}:ecr:{region}:{account}:repository/{name}"


def access_key(wish: RolesWish) -> Resource:
    """The user's key."""
    name = deployer_name(wish.deployment)
    return Resource(
        "DeployerKey",
        ACCESS_KEY,
        name,
        {"UserName": name},
        depends_on=("Deployer",),
        purpose="the user's one key; its secret goes to a file that only you can read",
    )


def _execution_role(wish: RolesWish) -> Resource:
    name = execution_role_name(wish.deployment)
    document = {
        "RoleName": name,
        "Description": "What containers of llmdeploy run under",
        "AssumeRolePolicyDocument": execution_trust(wish),
        "Policies": [{"PolicyName": "execution", "PolicyDocument": policy(execution_statements(scope(wish)))}],
    }
    return _identity(wish, "ExecutionRole", ROLE, document, "the containers run under it: weights, image, log, metrics")


def _deploy_role(wish: RolesWish) -> Resource:
    document = {
        "RoleName": deployer_name(wish.deployment),
        "Description": f"Deploy, watch and delete LLM endpoints named {wish.prefix}*",
        "AssumeRolePolicyDocument": deploy_trust(wish),
        "ManagedPolicyArns": _policies(),
        "MaxSessionDuration": SESSION_S,
    }
    return _identity(wish, "DeployRole", ROLE, document, "who deploys assumes it; it has these policies and no other")


def _user(wish: RolesWish) -> Resource:
    document = {"UserName": deployer_name(wish.deployment), "ManagedPolicyArns": _policies()}
    return _identity(wish, "Deployer", USER, document, "deploys where no role can be assumed; it has the same policies")


def _policies() -> list[Ref]:
    """In the order of their ARNs, as managers find them."""
    return [Ref(_policy_id(name), "Arn") for name in sorted(DEPLOY_POLICIES, key=lambda name: policy_name("", name))]


def _policy_id(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("-")) + "Policy"


def _managed_policy(wish: RolesWish, name: str) -> Resource:
    what = purpose(name)
    return Resource(
        _policy_id(name),
        MANAGED_POLICY,
        policy_name(wish.deployment, name),
        {
            "ManagedPolicyName": policy_name(wish.deployment, name),
            "Description": f"For names that begin with {wish.prefix}: {what}",
            "PolicyDocument": policy(statements(name, scope(wish))),
        },
        tags={TAG_DEPLOYMENT: wish.deployment},
        purpose=what,
        # AWS takes a description when a policy is made and never again.
        write_only=frozenset({"Description"}),
    )


def _identity(wish: RolesWish, logical_id: str, kind: str, document: Document, what: str) -> Resource:
    """A role or the user: bounded where that is wished, and depending on the policies that it names."""
    if wish.permissions_boundary:
        document |= {"PermissionsBoundary": wish.permissions_boundary}
    # IAM tells everything but what is wished no longer: a boundary that is to go is a property that is absent.
    tags = {TAG_DEPLOYMENT: wish.deployment, TAG_CONTENT: content_hash(dict.fromkeys(document))}
    needed = tuple(ref.resource for ref in document.get("ManagedPolicyArns", ()))
    name = document.get("RoleName") or document["UserName"]
    return Resource(logical_id, kind, name, document, tags=tags, depends_on=needed, purpose=what)
