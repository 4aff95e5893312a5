"""Condition operators of policies.

Source: IAM user guide, "IAM JSON policy elements: Condition operators" and "Multivalued context keys".
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from llm_deploy.emulator.iam.patterns import Lookup, filled, matches
from llm_deploy.emulator.iam.policy import Condition

Keys = Mapping[str, tuple[str, ...]]
"""Condition keys of a request: names in lower case, and their values. A key that the request lacks is not there."""

Compare = Callable[[str, str, Lookup | None], bool]
"""Actual value, value of the policy, variables."""

_ARN_PARTS = 6
_FOR_ALL, _FOR_ANY, _IF_EXISTS = "forallvalues:", "foranyvalue:", "ifexists"


def holds(condition: Condition, keys: Keys, lookup: Lookup | None) -> bool:
    """Whether a request fulfils one condition. An operator that does not exist is never fulfilled."""
    operator, actual = condition.operator, keys.get(condition.key)
    if operator == "null":
        return any((actual is None) == (value.lower() == "true") for value in condition.values)
    for_all, for_any = operator.startswith(_FOR_ALL), operator.startswith(_FOR_ANY)
    name = operator.removeprefix(_FOR_ALL).removeprefix(_FOR_ANY)
    optional, name = name.endswith(_IF_EXISTS), name.removesuffix(_IF_EXISTS)
    negated, compare = _operator(name)
    if compare is None:
        return False
    if not actual:
        return optional or for_all or (negated and not for_any)
    found = [any(compare(value, expected, lookup) for expected in condition.values) is not negated for value in actual]
    # A key of several values without a set operator: one that fits is enough, but what is excluded may not occur.
    return all(found) if for_all or (negated and not for_any) else any(found)


def _operator(name: str) -> tuple[bool, Compare | None]:
    positive = name.replace("not", "", 1)
    return positive != name, _OPERATORS.get(positive)


def _text_equals(actual: str, expected: str, lookup: Lookup | None) -> bool:
    return actual == filled(expected, lookup)


def _text_equals_ignoring_case(actual: str, expected: str, lookup: Lookup | None) -> bool:
    wanted = filled(expected, lookup)
    return wanted is not None and actual.lower() == wanted.lower()


def _text_like(actual: str, expected: str, lookup: Lookup | None) -> bool:
    return matches(expected, actual, lookup)


def _arn_like(actual: str, expected: str, lookup: Lookup | None) -> bool:
    """Part by part: a star does not reach beyond its colon."""
    # A variable has a colon of its own and would be cut in two.
    wanted = filled(expected, lookup)
    if wanted is None:
        return False
    parts, patterns = actual.split(":", _ARN_PARTS - 1), wanted.split(":", _ARN_PARTS - 1)
    if len(parts) != len(patterns):
        return wanted == "*"
    return all(matches(pattern, part) for pattern, part in zip(patterns, parts, strict=True))


def _numeric(compare: Callable[[float, float], bool]) -> Compare:
    def compared(actual: str, expected: str, lookup: Lookup | None) -> bool:
        del lookup
        try:
            return compare(float(actual), float(expected))
        except ValueError:
            return False

    return compared


def _date(compare: Callable[[float, float], bool]) -> Compare:
    def compared(actual: str, expected: str, lookup: Lookup | None) -> bool:
        del lookup
        try:
            return compare(_moment(actual), _moment(expected))
        except ValueError:
            return False

    return compared


def _moment(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        parsed = datetime.fromisoformat(text)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def _boolean(actual: str, expected: str, lookup: Lookup | None) -> bool:
    del lookup
    return actual.lower() == expected.lower()


def _address(actual: str, expected: str, lookup: Lookup | None) -> bool:
    del lookup
    try:
        return ipaddress.ip_address(actual) in ipaddress.ip_network(expected, strict=False)
    except ValueError:
        return False


_OPERATORS: Mapping[str, Compare] = {
    "stringequals": _text_equals,
    "stringequalsignorecase": _text_equals_ignoring_case,
    "stringlike": _text_like,
    "numericequals": _numeric(lambda a, b: a == b),
    "numericlessthan": _numeric(lambda a, b: a < b),
    "numericlessthanequals": _numeric(lambda a, b: a <= b),
    "numericgreaterthan": _numeric(lambda a, b: a > b),
    "numericgreaterthanequals": _numeric(lambda a, b: a >= b),
    "dateequals": _date(lambda a, b: a == b),
    "datelessthan": _date(lambda a, b: a < b),
    "datelessthanequals": _date(lambda a, b: a <= b),
    "dategreaterthan": _date(lambda a, b: a > b),
    "dategreaterthanequals": _date(lambda a, b: a >= b),
    "bool": _boolean,
    "binaryequals": _text_equals,
    "ipaddress": _address,
    "arnequals": _arn_like,
    "arnlike": _arn_like,
}
