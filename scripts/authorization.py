"""Write tables of `docs/explanation/iam-enforcement.md` from the local cloud's data; a test holds it to them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from llm_deploy.emulator import ledger
from llm_deploy.emulator.backend.services import SERVICES
from llm_deploy.emulator.iam.requirements import Rule, Service, Source, table

PAGE = Path(__file__).resolve().parent.parent / "docs" / "explanation" / "iam-enforcement.md"
BEGIN, END = "<!-- written by scripts/authorization.py -->\n", "<!-- end of what is written -->\n"
_ONLY_ROLES = ("cloudformation",)
"""Services of which the table knows only which roles they are handed; see its comment."""


def page(text: str) -> str:
    """The page with its tables written anew."""
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{''.join(tables())}{END}{after}"


def tables() -> Iterator[str]:
    """Operations by service, then the services behind, then the behaviours."""
    for name, service in table().items():
        if name not in _ONLY_ROLES:
            yield from _operations(name, service)
    yield "### Behind the cloud\n\n"
    names = ", ".join(f"`{name}`" for name in sorted(SERVICES))
    yield f"All operations of {names}.\n\n"
    yield "## Behaviours, with source and grade\n\n"
    yield "| id | what happens | source | grade |\n| --- | --- | --- | --- |\n"
    for entry in ledger.entries().values():
        if entry.id.startswith("access."):
            yield f"| `{entry.id}` | {_cell(entry.behaviour)} | {_cell(entry.source)} | {entry.grade} |\n"
    yield "\n"


def _operations(name: str, service: Service) -> Iterator[str]:
    yield f"### {name}\n\n"
    yield "| action | resources | condition keys | also needed | grade |\n| --- | --- | --- | --- | --- |\n"
    for operation, rule in service.operations.items():
        keys = [f"`{key}`" for key in rule.keys]
        keys += ["`aws:RequestTag/*`, `aws:TagKeys`"] if rule.tags or rule.request_tags else []
        keys += ["`aws:TagKeys`"] if rule.tag_keys else []
        resources = [f"{_arn(service, kind)}{_named(source)}" for kind, source in rule.on.items()] or ["`*`"]
        also = ", ".join(_also(service, rule))
        action = f"`{service.namespace}:{operation}`"
        yield f"| {action} | {'<br>'.join(resources)} | {'<br>'.join(keys)} | {also} | {rule.grade} |\n"
    yield "\n"


def _arn(service: Service, kind: str) -> str:
    if kind == "arn":
        return "the ARN that is given"
    return f"`{service.resources[kind].split(':', 5)[5].replace('{name}', 'NAME')}`"


def _named(source: Source) -> str:
    return f", else `{source.default}`" if source.default else ""


def _also(service: Service, rule: Rule) -> Iterator[str]:
    if rule.tags:
        yield f"`{service.tagging['action']}` with tags"
    if rule.passes:
        yield "`iam:PassRole`"
    if rule.service_linked_role:
        yield "`iam:CreateServiceLinkedRole` once"
    for also in rule.also:
        yield f"`{also.action}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
    print(PAGE.name)
