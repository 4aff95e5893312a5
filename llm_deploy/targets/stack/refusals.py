"""What a deployment through a stack refuses before anything is changed. Pure."""

from __future__ import annotations

from collections.abc import Container, Sequence

from llm_deploy.deploy.inventory import Found, Inventory
from llm_deploy.deploy.plan import Action, Change, Plan, not_ours, refuse_what_cannot_change, short_kind
from llm_deploy.errors import ConflictError
from llm_deploy.resource import TAG_DEPLOYMENT, Resource
from llm_deploy.targets.stack.changes import is_member
from llm_deploy.targets.stack.stacks import Member, Stack


def refuse_foreign(stack: Stack | None, members: Sequence[Member], inventory: Inventory) -> None:
    """Raise ConflictError for a stack of somebody else's.

    One without tags is ours if all that it holds is: an import takes no tags, and the update after it may fail.
    """
    if stack is None or stack.tags.get(TAG_DEPLOYMENT) == inventory.deployment:
        return
    if sum(is_member(each, members) for each in inventory.ours()) < len(members):
        raise not_our_stack(stack, inventory.deployment)


def not_our_stack(stack: Stack, name: str) -> ConflictError:
    """The error for a stack that has our stack's name."""
    return ConflictError(
        f"stack '{stack.name}' exists already and is not ours: it does not carry the tag {TAG_DEPLOYMENT}={name}.",
        hint=f"Choose another name than '{name}', or delete the stack with the tool that made it.",
    )


def refuse_additions(stack: Stack, name: str, members: Sequence[Member], kinds: Container[str]) -> None:
    """Raise ConflictError for a stack of ours that somebody has put other kinds of resources into.

    Args:
        stack: What is to be deleted.
        name: The deployment's name.
        members: What the stack holds.
        kinds: What deployments are made of.
    """
    added = [member for member in members if member.kind not in kinds]
    if added:
        raise holds_more(stack, name, added)


def holds_more(stack: Stack, name: str, more: Sequence[Member]) -> ConflictError:
    """The error for a stack whose deletion would take away what is not the deployment's."""
    shown = ", ".join(f"{short_kind(member.kind)} {member.logical_id}" for member in more)
    return ConflictError(
        f"stack '{stack.name}' holds '{name}' and more: {shown}.",
        hint="Take that out first: update the stack with `DeletionPolicy: Retain` on it, then with a template without "
        "it. Or delete all of it with the tool that made it, or with "
        f"`aws cloudformation delete-stack --stack-name {stack.name}`.",
    )


def stuck(stack: Stack) -> ConflictError:
    """The error for a stack that could not go back."""
    return ConflictError(
        f"stack '{stack.name}' is {stack.status}: {stack.reason or 'CloudFormation gives no reason'}",
        hint=f"`aws cloudformation continue-update-rollback --stack-name {stack.name}` tries again to go back, with "
        "--resources-to-skip without what blocks it; or `llmdeploy delete-endpoint` removes everything.",
    )


def strangers(wanted: Sequence[Resource], inventory: Inventory, members: Sequence[Member]) -> list[Found]:
    """What stands at wanted names outside the stack. Raises ConflictError for what is not this deployment's at all."""
    standing = [found for each in wanted if (found := inventory.get(each)) and not is_member(found, members)]
    for found in standing:
        if found.owned_by != inventory.deployment:
            raise not_ours(found, inventory.deployment)
    return standing


def made_otherwise(found: Sequence[Found], name: str) -> ConflictError:
    """The error for objects of ours that were made without the stack."""
    shown = ", ".join(f"{short_kind(each.kind)} {each.name}" for each in found)
    return ConflictError(
        f"'{name}' was deployed without CloudFormation; its stack does not hold {shown}.",
        hint="Add --import-existing to take it into a stack as it is, or go on without --via.",
    )


def refuse_to_import(changing: Sequence[Change], name: str) -> None:
    """Raise ConflictError where anything is not as wanted.

    An import changes nothing, and the update after it compares templates: a difference would never be seen again.
    """
    unlike = [change for change in changing if change.action is not Action.DELETE]
    if unlike:
        shown = ", ".join(f"{short_kind(change.kind)} {change.name}" for change in unlike)
        raise ConflictError(
            f"'{name}' is not as wanted, so a stack cannot take it in: {shown}.",
            hint="Bring it up to date first, without --via; then import it.",
        )


def refuse_what_no_update_can(plan: Plan) -> None:
    """Raise ConflictError for what SageMaker would refuse in the middle of an update."""
    for change in plan.changes:
        if change.resource is None:
            continue
        refuse_what_cannot_change(change.resource, change.differences)
        if any(item.path.removeprefix("Tags.") in change.resource.replace_on for item in change.differences):
            raise ConflictError(
                f"CloudFormation cannot change the machine of '{plan.deployment}' in one update: AWS changes none of a "
                "variant that may scale, and a stack takes scaling rules away only at the end.",
                hint="Deploy once with `--set autoscaling=null`, then with the new machine and autoscaling again.",
            )
