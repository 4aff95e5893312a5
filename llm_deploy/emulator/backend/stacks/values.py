"""What a change set says of properties before and after. Pure.

Ledger: `cfn.property-values`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from llm_deploy.emulator import ledger

NAMESPACE = "http://cloudformation.amazonaws.com/doc/2010-05-15/"
Document = dict[str, Any]


def known_now(template: Document, resources: Document, moving: set[str]) -> Document:
    """A template with references to resources resolved, but to those that are `moving`, of which nothing is known."""

    def filled(value: Any) -> Any:  # noqa: ANN401 - a document's values are of any JSON type
        if isinstance(value, list):
            return [filled(item) for item in value]
        if not isinstance(value, dict):
            return value
        name, attribute = _reference(value)
        record = resources.get(name)
        if record is not None and name not in moving:
            return record["Attributes"].get(attribute, "") if attribute else record["PhysicalResourceId"]
        if name in template["Resources"]:
            return ledger.text("cfn.known-after")
        return {key: filled(item) for key, item in value.items()}

    return {**template, "Resources": filled(template["Resources"])} if "Resources" in template else template


def add_values(changes: Sequence[Document], before: Document, after: Document) -> None:
    """Write into each change the properties of its resource in both templates, and of each of its details."""
    for change in changes:
        resource = change["ResourceChange"]
        old = before.get("Resources", {}).get(resource["LogicalResourceId"])
        new = after.get("Resources", {}).get(resource["LogicalResourceId"])
        if old is not None and resource["Action"] != "Add":
            resource["BeforeContext"] = _context(old)
        if new is not None and resource["Action"] != "Remove":
            resource["AfterContext"] = _context(new)
        for detail in resource.get("Details", ()):
            _add_detail(detail["Target"], old or {}, new or {})


def with_values(answer: bytes, changes: Sequence[Document]) -> bytes:
    """The answer of DescribeChangeSet with what `add_values` wrote, in its places."""
    from xml.etree.ElementTree import register_namespace, tostring  # noqa: PLC0415 - it writes; it does not read

    from defusedxml.ElementTree import fromstring  # noqa: PLC0415 - not at the start

    register_namespace("", NAMESPACE)
    document = fromstring(answer)
    members = document.findall(f".//{{{NAMESPACE}}}Changes/{{{NAMESPACE}}}member")
    for member, change in zip(members, changes, strict=True):
        shown = member.find(f"{{{NAMESPACE}}}ResourceChange")
        resource = change["ResourceChange"]
        _write(shown, resource, ("BeforeContext", "AfterContext"))
        targets = shown.findall(f".//{{{NAMESPACE}}}Target")
        for target, detail in zip(targets, resource.get("Details", ()), strict=True):
            _write(target, detail["Target"], ("Path", "BeforeValue", "AfterValue", "AttributeChangeType"))
    found: bytes = tostring(document, encoding="utf-8", xml_declaration=True)
    return found


def _reference(value: Document) -> tuple[str, str]:
    """The resource and the attribute that a value asks for; empty where it is no reference."""
    if set(value) == {"Ref"}:
        return str(value["Ref"]), ""
    if set(value) != {"Fn::GetAtt"}:
        return "", ""
    asked = value["Fn::GetAtt"]
    name, _, attribute = asked.partition(".") if isinstance(asked, str) else (asked[0], ".", asked[1])
    return str(name), str(attribute)


def _context(resource: Document) -> str:
    return _text({key: value for key, value in resource.items() if key not in {"Type", "DependsOn", "Condition"}})


def _add_detail(target: Document, old: Document, new: Document) -> None:
    attribute, name = target["Attribute"], target.get("Name")
    path = [attribute, *([name] if name else [])]
    before, after = _at(old, path), _at(new, path)
    target["Path"] = "/" + "/".join(path)
    target["AttributeChangeType"] = "Add" if before is None else "Remove" if after is None else "Modify"
    if before is not None:
        target["BeforeValue"] = _text(before)
    if after is not None:
        target["AfterValue"] = _text(after)


def _at(resource: Document, path: Sequence[str]) -> Any:  # noqa: ANN401 - a document's values are of any JSON type
    found: Any = resource
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _write(element: Any, values: Document, names: Sequence[str]) -> None:  # noqa: ANN401 - ElementTree's
    from xml.etree.ElementTree import SubElement  # noqa: PLC0415 - as above

    for name in names:
        if name in values:
            SubElement(element, f"{{{NAMESPACE}}}{name}").text = values[name]
