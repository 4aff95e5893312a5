"""What others' tools left: objects without our tag that bill, or that nothing uses; and adopting one of them.

Reads every endpoint, config, model, component and scalable target of the region. An identity that may look at its own
prefix alone sees only that; what it may not look at is counted, not judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from llm_deploy.aws import Session, aws_errors
from llm_deploy.deploy.claims import Key, named_by
from llm_deploy.deploy.inventory import Found
from llm_deploy.deploy.plan import short_kind
from llm_deploy.errors import AccessDeniedError, ConflictError, NotFoundError, SpecError
from llm_deploy.resource import (
    ENDPOINT,
    ENDPOINT_CONFIG,
    INFERENCE_COMPONENT,
    MODEL,
    SCALABLE_TARGET,
    TAG_DEPLOYMENT,
    owner,
    stack_of,
    tag_list,
)
from llm_deploy.targets.sagemaker.autoscaling import ScalableTargetManager, scaled
from llm_deploy.targets.sagemaker.hosting import (
    EndpointConfigManager,
    EndpointManager,
    HostingManager,
    InferenceComponentManager,
    ModelManager,
)
from llm_deploy.targets.sagemaker.leftovers import listed, on_nothing
from llm_deploy.targets.sagemaker.machines import machines, usd_per_hour


@dataclass(frozen=True, slots=True)
class Stranger:
    """One object that is not ours.

    Attributes:
        why: Why it is told of.
        usd_per_hour: What it bills, at list price; `None` when unknown.
        stack: The CloudFormation stack that owns it; such a thing cannot be adopted.
    """

    kind: str
    name: str
    why: str
    usd_per_hour: float | None
    stack: str | None


@dataclass(frozen=True, slots=True)
class Census:
    """Every hosting object of the region that may be looked at.

    Attributes:
        hidden: How many may not.
    """

    found: Mapping[Key, Found] = field(default_factory=dict)
    hidden: int = 0

    def users(self, key: Key) -> Iterator[Found]:
        """What names an object: of a config its endpoints, of a model its configs and components."""
        return (found for found in self.found.values() if key in set(named_by(found)))


def census(session: Session) -> Census:
    """Look at everything: two calls for each object."""
    found: dict[Key, Found] = {}
    hidden = 0
    for manager in _hosting(session):
        for name in listed(session, manager.noun):
            try:
                item = manager.find(name)
            except AccessDeniedError:
                hidden += 1
                continue
            if item is not None:
                found[item.key] = item
    return Census(found, hidden)


def strangers(session: Session, seen: Census) -> Iterator[Stranger]:
    """What is not ours and bills or dangles. Where something is hidden, what it may use is not told of as unused."""
    for found in seen.found.values():
        why = _why(found, seen)
        if owner(found.tags) is None and why:
            cost = usd_per_hour(machines(session, found), session.region) if found.kind == ENDPOINT else 0.0
            cost = None if found.kind == INFERENCE_COMPONENT else cost
            yield Stranger(short_kind(found.kind), found.name, why, cost, stack_of(found.tags))
    yield from _dangling_targets(session)


def find(session: Session, name: str) -> Found:
    """The one object of a name, `NAME` or `Kind/NAME`; of scalable targets the resource id is the name.

    Raises:
        NotFoundError: There is none.
        SpecError: Several kinds have one of this name.
    """
    kind, slash, rest = name.partition("/")
    managers: list[HostingManager | ScalableTargetManager] = [*_hosting(session), ScalableTargetManager(session)]
    chosen = [manager for manager in managers if slash and short_kind(manager.kind) == kind]
    wanted = rest if chosen else name
    found = [item for item in (_found(manager, wanted) for manager in chosen or managers) if item is not None]
    if not found:
        raise NotFoundError(
            f"there is no object '{wanted}' in {session.region}", hint="`llmdeploy gc --all` lists what can be adopted."
        )
    if len(found) > 1:
        choices = " or ".join(f"{short_kind(item.kind)}/{item.name}" for item in found)
        raise SpecError(f"there are {len(found)} objects named '{wanted}'", hint=f"Say which one: {choices}")
    return found[0]


def new_owner(session: Session, found: Found) -> str:
    """The deployment that an adopted object will belong to: the one that uses it, else one of its own name.

    Raises:
        ConflictError: It is ours already, a stack owns it, or something that is not ours uses it.
        AccessDeniedError: What these credentials may not look at may use it.
    """
    what = f"{short_kind(found.kind)} '{found.name}'"
    if mine := owner(found.tags):
        raise ConflictError(f"{what} is llmdeploy's already, of deployment '{mine}'.", hint=_HANDLED.format(mine))
    if stack := stack_of(found.tags):
        raise ConflictError(f"{what} belongs to the CloudFormation stack '{stack}'.", hint="Delete the stack.")
    users, hidden = _users(session, found)
    for user in users:
        if owner(user.tags) is None:
            raise ConflictError(
                f"{what} is used by {short_kind(user.kind)} '{user.name}', which is not llmdeploy's.",
                hint=f"Adopt that first: `llmdeploy gc --adopt {short_kind(user.kind)}/{user.name}`.",
            )
    if hidden:
        raise AccessDeniedError(
            f"{what} may be in use: {hidden} objects may not be looked at with these credentials.",
            hint="Adopt it with credentials that may describe every hosting object of the region.",
        )
    own_name = scaled(found.name)[1] if found.kind == SCALABLE_TARGET else found.name
    return next((mine for user in users if (mine := owner(user.tags))), own_name)


def adopt(session: Session, found: Found, deployment: str) -> None:
    """Put our tag on exactly this object."""
    with aws_errors(f"tag {short_kind(found.kind)} '{found.name}'"):
        if found.kind == SCALABLE_TARGET:
            client = session.client("application-autoscaling")
            client.tag_resource(ResourceARN=found.attributes["Arn"], Tags={TAG_DEPLOYMENT: deployment})
        else:
            tags = tag_list({TAG_DEPLOYMENT: deployment})
            session.client("sagemaker").add_tags(ResourceArn=found.attributes["Arn"], Tags=tags)


_HANDLED = "`llmdeploy delete-endpoint {}` removes it with its deployment, `llmdeploy gc` when nothing claims it."


def _hosting(session: Session) -> tuple[HostingManager, ...]:
    kinds = (EndpointManager, EndpointConfigManager, ModelManager, InferenceComponentManager)
    return tuple(kind(session) for kind in kinds)


def _found(manager: HostingManager | ScalableTargetManager, name: str) -> Found | None:
    if isinstance(manager, ScalableTargetManager) and not name.startswith(("endpoint/", "inference-component/")):
        return None
    if isinstance(manager, HostingManager) and "/" in name:
        return None
    return manager.find(name)


def _why(found: Found, seen: Census) -> str:
    if found.kind == ENDPOINT:
        return "bills while it stands"
    if found.kind == INFERENCE_COMPONENT:
        stands = (ENDPOINT, str(found.properties["EndpointName"])) in seen.found
        return "" if stands or seen.hidden else "its endpoint is gone"
    if seen.hidden or any(seen.users(found.key)):
        return ""
    return "no endpoint uses it" if found.kind == ENDPOINT_CONFIG else "no endpoint config and no component names it"


def _dangling_targets(session: Session) -> Iterator[Stranger]:
    manager = ScalableTargetManager(session)
    for target in on_nothing(session, manager.registered()):
        try:
            tags = manager.tags(target["ScalableTargetARN"])
        except (AccessDeniedError, NotFoundError):
            continue
        if owner(tags) is None:
            name = target["ResourceId"]
            yield Stranger(short_kind(SCALABLE_TARGET), name, "what it scaled is gone", 0.0, stack_of(tags))


def _users(session: Session, found: Found) -> tuple[Sequence[Found], int]:
    """What stands on an object, or what a component or scalable target stands on: that decides whose it will be.

    Also how many objects may stand on it unseen.
    """
    if found.kind in {MODEL, ENDPOINT_CONFIG}:
        seen = census(session)
        return tuple(seen.users(found.key)), seen.hidden
    on: Found | None = None
    if found.kind == INFERENCE_COMPONENT:
        on = EndpointManager(session).find(str(found.properties["EndpointName"]))
    elif found.kind == SCALABLE_TARGET:
        what, name = scaled(found.name)
        on = (EndpointManager if what == "endpoint" else InferenceComponentManager)(session).find(name)
    return ((on,) if on else ()), 0
