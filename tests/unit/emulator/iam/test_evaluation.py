"""The policy language: what a request may, by its policies alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, strategies as st

from llm_deploy.emulator.iam.evaluation import Access, Decision, Naming, Policies, PolicyKind, decide
from llm_deploy.emulator.iam.failures import reason_of
from llm_deploy.emulator.iam.policy import MalformedPolicyError, Statements, parse, statements_of

ACTION, RESOURCE = "sagemaker:CreateModel", "arn:aws:sagemaker:eu-central-1:000000000000:model/twin-1"
EVERYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}

Document = dict[str, Any]


def policy(*statements: Document, version: str | None = "2012-10-17") -> Statements:
    """Parsed statements of one document."""
    head = {} if version is None else {"Version": version}
    return parse(json.dumps({**head, "Statement": list(statements)}))


def access(action: str = ACTION, resource: str = RESOURCE, **keys: str | Sequence[str]) -> Access:
    """A request; `aws__username="x"` is the condition key aws:username."""
    made = {
        name.replace("__", ":").lower(): (value,) if isinstance(value, str) else tuple(value)
        for name, value in keys.items()
    }
    return Access(action, resource, made)


def allowed(statement: Document, asked: Access) -> bool:
    """Whether one statement, alone, allows."""
    return decide(asked, Policies(policy({"Effect": "Allow", "Action": "*", "Resource": "*", **statement}))).allowed


@pytest.mark.parametrize(
    ("statement", "outcome"),
    [
        ({"Action": "sagemaker:CreateModel"}, True),
        ({"Action": "SageMaker:createmodel"}, True),
        ({"Action": ["iam:*", "sagemaker:Create*"]}, True),
        ({"Action": "sagemaker:Create?odel"}, True),
        ({"Action": "sagemaker:Create"}, False),
        ({"Action": "sagemaker:CreateModelCard"}, False),
        ({"Resource": RESOURCE}, True),
        ({"Resource": RESOURCE.upper()}, False),
        ({"Resource": "arn:aws:sagemaker:*:*:model/twin-*"}, True),
        ({"Resource": "arn:aws:sagemaker:*:*:model/other-*"}, False),
        ({"Resource": "arn:aws:sagemaker:eu-central-1:000000000000:model/twin-?"}, True),
        ({"Resource": "arn:aws:sagemaker:eu-central-1:000000000000:model/twin.1"}, False),
    ],
)
def test_actions_ignore_case_and_resources_do_not(statement: Document, outcome: bool) -> None:  # noqa: FBT001 - a table
    """Both may hold wildcards, and nothing else in them is special."""
    assert allowed(statement, access()) is outcome


@pytest.mark.parametrize(
    ("statement", "outcome"),
    [
        ({"NotAction": "iam:*"}, True),
        ({"NotAction": ["iam:*", "sagemaker:Create*"]}, False),
        ({"Action": "*", "NotResource": "arn:aws:s3:::*"}, True),
        ({"Action": "*", "NotResource": "arn:aws:sagemaker:*:*:model/*"}, False),
    ],
)
def test_the_negated_elements(statement: Document, outcome: bool) -> None:  # noqa: FBT001 - a table
    """NotAction and NotResource are about everything else."""
    resource = {} if "NotResource" in statement else {"Resource": "*"}
    statements = policy({"Effect": "Allow", **resource, **statement})
    assert decide(access(), Policies(statements)).allowed is outcome


@pytest.mark.parametrize(
    ("condition", "keys", "outcome"),
    [
        ({"StringEquals": {"aws:RequestedRegion": "eu-central-1"}}, {"aws__requestedregion": "eu-central-1"}, True),
        ({"StringEquals": {"aws:requestedregion": ["a", "b"]}}, {"aws__RequestedRegion": "b"}, True),
        ({"StringEquals": {"aws:RequestedRegion": "EU-central-1"}}, {"aws__requestedregion": "eu-central-1"}, False),
        ({"StringEqualsIgnoreCase": {"k:k": "ABC"}}, {"k__k": "abc"}, True),
        ({"StringEquals": {"k:k": "x"}}, {}, False),
        ({"StringEqualsIfExists": {"k:k": "x"}}, {}, True),
        ({"StringEqualsIfExists": {"k:k": "x"}}, {"k__k": "y"}, False),
        ({"StringNotEquals": {"k:k": ["x", "y"]}}, {"k__k": "y"}, False),
        ({"StringNotEquals": {"k:k": ["x", "y"]}}, {"k__k": "z"}, True),
        ({"StringNotEquals": {"k:k": "x"}}, {}, True),
        ({"StringLike": {"k:k": "team-*"}}, {"k__k": "team-a"}, True),
        ({"StringNotLike": {"k:k": "team-*"}}, {"k__k": "team-a"}, False),
        ({"Null": {"k:k": "true"}}, {}, True),
        ({"Null": {"k:k": True}}, {"k__k": "x"}, False),
        ({"Null": {"k:k": "false"}}, {"k__k": "x"}, True),
        ({"Bool": {"aws:SecureTransport": "true"}}, {"aws__securetransport": "false"}, False),
        ({"Bool": {"aws:SecureTransport": False}}, {"aws__securetransport": "false"}, True),
        ({"NumericLessThanEquals": {"k:k": "4"}}, {"k__k": "4"}, True),
        ({"NumericLessThan": {"k:k": 4}}, {"k__k": "4"}, False),
        ({"NumericGreaterThan": {"k:k": "4"}}, {"k__k": "five"}, False),
        ({"DateGreaterThan": {"aws:CurrentTime": "2026-01-01"}}, {"aws__currenttime": "2026-06-01T00:00:00Z"}, True),
        ({"DateLessThan": {"aws:EpochTime": "1700000000"}}, {"aws__epochtime": "1600000000"}, True),
        ({"DateLessThan": {"aws:CurrentTime": "soon"}}, {"aws__currenttime": "2026-06-01T00:00:00Z"}, False),
        ({"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "127.0.0.1"]}}, {"aws__sourceip": "127.0.0.1"}, True),
        ({"NotIpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, {"aws__sourceip": "127.0.0.1"}, False),
        ({"ArnLike": {"aws:SourceArn": "arn:aws:sagemaker:*:000000000000:*"}}, {"aws__sourcearn": RESOURCE}, True),
        ({"ArnLike": {"aws:SourceArn": "arn:aws:*:model/twin-1"}}, {"aws__sourcearn": RESOURCE}, False),
        ({"ArnEquals": {"aws:SourceArn": "*"}}, {"aws__sourcearn": RESOURCE}, True),
        ({"ArnNotLike": {"aws:SourceArn": "arn:aws:sagemaker:*:*:model/*"}}, {"aws__sourcearn": RESOURCE}, False),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a", "b"]}}, {"aws__tagkeys": ["a", "b"]}, True),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a", "b"]}}, {"aws__tagkeys": ["a", "c"]}, False),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a", "b"]}}, {}, True),
        ({"ForAnyValue:StringEquals": {"aws:TagKeys": ["a", "b"]}}, {"aws__tagkeys": ["c", "b"]}, True),
        ({"ForAnyValue:StringEquals": {"aws:TagKeys": ["a", "b"]}}, {}, False),
        ({"ForAnyValue:StringNotLike": {"k:k": ["ml.g5.*"]}}, {"k__k": ["ml.g5.xlarge"]}, False),
        ({"ForAnyValue:StringNotLike": {"k:k": ["ml.g5.*"]}}, {"k__k": ["ml.g5.xlarge", "ml.p5.48xlarge"]}, True),
        ({"ForAnyValue:StringNotLike": {"k:k": ["ml.g5.*"]}}, {}, False),
        ({"StringEquals": {"a:a": "1", "b:b": "2"}}, {"a__a": "1", "b__b": "2"}, True),
        ({"StringEquals": {"a:a": "1", "b:b": "2"}}, {"a__a": "1", "b__b": "3"}, False),
        ({"StringEquals": {"a:a": "1"}, "StringLike": {"b:b": "x*"}}, {"a__a": "1", "b__b": "y"}, False),
        ({"StringResembles": {"a:a": "1"}}, {"a__a": "1"}, False),
    ],
)  # fmt: skip
def test_conditions(condition: Document, keys: Mapping[str, Any], outcome: bool) -> None:  # noqa: FBT001 - a table
    """Every operator, its negation, its set form and its ...IfExists. Source: IAM user guide."""
    assert allowed({"Condition": condition}, access(**keys)) is outcome


@pytest.mark.parametrize(
    ("resource", "keys", "version", "outcome"),
    [
        ("arn:aws:s3:::b/${aws:username}/*", {"aws__username": "ann"}, "2012-10-17", True),
        ("arn:aws:s3:::b/${aws:username}/*", {"aws__username": "bob"}, "2012-10-17", False),
        ("arn:aws:s3:::b/${aws:username}/*", {"aws__username": "*"}, "2012-10-17", False),
        ("arn:aws:s3:::b/${aws:username}/*", {}, "2012-10-17", False),
        ("arn:aws:s3:::b/${aws:PrincipalTag/t, 'ann'}/*", {}, "2012-10-17", True),
        ("arn:aws:s3:::b/${aws:username}/*", {"aws__username": "ann"}, "2008-10-17", False),
        ("arn:aws:s3:::b/${aws:username}/*", {"aws__username": "ann"}, None, False),
        ("arn:aws:s3:::b/ann/${*}", {}, "2012-10-17", False),
    ],
)
def test_policy_variables(resource: str, keys: Mapping[str, Any], version: str | None, outcome: bool) -> None:  # noqa: FBT001 - a table
    """They are filled in literally, only since 2012-10-17, and one that has no value fits nothing."""
    statements = policy({"Effect": "Allow", "Action": "*", "Resource": resource}, version=version)
    asked = access("s3:GetObject", "arn:aws:s3:::b/ann/x", **keys)
    assert decide(asked, Policies(statements)).allowed is outcome


def test_a_variable_in_a_condition() -> None:
    """Conditions have them too."""
    condition = {"StringEquals": {"aws:ResourceTag/owner": "${aws:username}"}}
    asked = access(**{"aws:resourcetag/owner": "ann", "aws:username": "ann"})
    assert allowed({"Condition": condition}, asked)
    assert not allowed({"Condition": condition}, access(**{"aws:resourcetag/owner": "bob", "aws:username": "ann"}))


def test_an_explicit_deny_wins_wherever_it_stands() -> None:
    """Over every allow, in the identity's policies, the boundary, the session's and the resource's."""
    everything, deny = policy(EVERYTHING), policy({"Effect": "Deny", "Action": ACTION, "Resource": "*"})
    both = (*everything, *deny)
    for policies, kind in (
        (Policies(both), PolicyKind.IDENTITY),
        (Policies(everything, boundary=both), PolicyKind.BOUNDARY),
        (Policies(everything, session=both), PolicyKind.SESSION),
    ):
        assert decide(access(), policies) == Decision(allowed=False, explicit=True, kind=kind)
    named = [(deny[0], Naming.ACCOUNT)]
    found = decide(access(), Policies(everything), named)
    assert found == Decision(allowed=False, explicit=True, kind=PolicyKind.RESOURCE)


def test_boundary_and_session_only_narrow() -> None:
    """They allow nothing by themselves, and what they do not allow is denied in their name."""
    everything, little = policy(EVERYTHING), policy({"Effect": "Allow", "Action": "iam:*", "Resource": "*"})
    assert not decide(access(), Policies((), boundary=everything, session=everything)).allowed
    assert decide(access(), Policies(everything, boundary=little)).kind is PolicyKind.BOUNDARY
    assert decide(access(), Policies(everything, session=little)).kind is PolicyKind.SESSION
    assert decide(access(), Policies(everything, boundary=())).kind is PolicyKind.BOUNDARY
    assert decide(access(), Policies(everything, boundary=everything, session=everything)).allowed


def test_a_resources_policy_allows_by_naming() -> None:
    """Whoever is named directly needs no policy; a role is still bound by its limits; an account delegates."""
    everything = policy(EVERYTHING)
    allow = everything[0]
    assert decide(access(), Policies(), [(allow, Naming.DIRECTLY)]).allowed
    assert decide(access(), Policies((), boundary=()), [(allow, Naming.DIRECTLY)]).allowed
    assert decide(access(), Policies(), [(allow, Naming.ROLE)]).allowed
    assert not decide(access(), Policies((), boundary=()), [(allow, Naming.ROLE)]).allowed
    assert not decide(access(), Policies(), [(allow, Naming.ACCOUNT)]).allowed


@pytest.mark.parametrize(
    ("decision", "words"),
    [
        (Decision(False, True, PolicyKind.IDENTITY), "with an explicit deny in an identity-based policy"),
        (Decision(False, True, PolicyKind.BOUNDARY), "with an explicit deny in a permissions boundary"),
        (Decision(False, True, PolicyKind.SESSION), "with an explicit deny in a session policy"),
        (Decision(False, True, PolicyKind.RESOURCE), "with an explicit deny in a resource-based policy"),
        (Decision(False, False, PolicyKind.IDENTITY), f"because no identity-based policy allows the {ACTION} action"),
        (Decision(False, False, PolicyKind.BOUNDARY), f"because no permissions boundary allows the {ACTION} action"),
        (Decision(False, False, PolicyKind.SESSION), f"because no session policy allows the {ACTION} action"),
    ],
)
def test_the_words_of_a_denial(decision: Decision, words: str) -> None:
    """Ledger: access.denied.explicit, access.denied.implicit."""
    assert reason_of(ACTION, decision) == words


@pytest.mark.parametrize(
    "document",
    [
        "",
        "[]",
        '{"Statement": [{"Effect": "Perhaps", "Action": "*", "Resource": "*"}]}',
        '{"Statement": [{"Effect": "Allow", "Resource": "*"}]}',
        '{"Statement": [{"Effect": "Allow", "Action": "*", "NotAction": "*", "Resource": "*"}]}',
        '{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"Bool": "x"}}]}',
    ],
)
def test_what_is_no_policy_grants_nothing(document: str) -> None:
    """The backend keeps any text; IAM would have refused it."""
    with pytest.raises(MalformedPolicyError):
        parse(document)
    assert statements_of(document) == ()


_ACTIONS = ("sagemaker:CreateModel", "sagemaker:Create*", "sagemaker:*", "*", "s3:GetObject", "iam:*")
_RESOURCES = ("*", RESOURCE, "arn:aws:sagemaker:*:*:model/*", "arn:aws:s3:::*")
_CONDITIONS: tuple[Document, ...] = (
    {},
    {"StringEquals": {"k:k": "1"}},
    {"StringNotEquals": {"k:k": "1"}},
    {"Null": {"k:k": "true"}},
    {"ForAllValues:StringEquals": {"k:k": ["1", "2"]}},
)


@st.composite
def statements(draw: st.DrawFn) -> Document:
    """Any statement over a small vocabulary, so that many of them meet."""
    action = draw(st.sampled_from(["Action", "NotAction"]))
    resource = draw(st.sampled_from(["Resource", "NotResource"]))
    return {
        "Effect": draw(st.sampled_from(["Allow", "Deny"])),
        action: draw(st.sampled_from(_ACTIONS)),
        resource: draw(st.sampled_from(_RESOURCES)),
        "Condition": draw(st.sampled_from(_CONDITIONS)),
    }


requests = st.builds(
    lambda action, resource, values: access(action, resource, **({"k__k": values} if values else {})),
    st.sampled_from(["sagemaker:CreateModel", "sagemaker:DeleteModel", "s3:GetObject"]),
    st.sampled_from([RESOURCE, "*", "arn:aws:s3:::b/k"]),
    st.lists(st.sampled_from(["1", "2", "3"]), max_size=2, unique=True),
)


def of_layers(layers: Sequence[list[Document] | None]) -> Policies:
    """Policies of documents."""
    identity, boundary, session = (None if layer is None else policy(*layer) for layer in layers)
    return Policies(identity or (), boundary, session)


layers = st.tuples(
    st.lists(statements(), max_size=4),
    st.none() | st.lists(statements(), max_size=3),
    st.none() | st.lists(statements(), max_size=3),
)


@given(layers, requests, st.data())
def test_removing_an_allow_never_allows_more(given_layers: Any, asked: Access, data: st.DataObject) -> None:  # noqa: ANN401 - a tuple of lists
    """In no layer, whatever the other statements are."""
    places = [
        (at, index)
        for at, layer in enumerate(given_layers)
        for index, each in enumerate(layer or ())
        if each["Effect"] == "Allow"
    ]
    if not places:
        return
    at, index = data.draw(st.sampled_from(places))
    fewer = [list(layer) if layer is not None else None for layer in given_layers]
    del fewer[at][index]  # type: ignore[union-attr] # the place is in a layer that exists
    assert decide(asked, of_layers(given_layers)).allowed or not decide(asked, of_layers(fewer)).allowed


@given(layers, requests, statements(), st.integers(0, 2))
def test_adding_a_deny_never_allows_more(given_layers: Any, asked: Access, extra: Document, at: int) -> None:  # noqa: ANN401 - as above
    """In no layer that there is."""
    if given_layers[at] is None:
        return
    more = [list(layer) if layer is not None else None for layer in given_layers]
    more[at].append({**extra, "Effect": "Deny"})  # type: ignore[union-attr] # as above
    assert decide(asked, of_layers(given_layers)).allowed or not decide(asked, of_layers(more)).allowed


@given(layers, requests)
def test_a_boundary_or_session_never_allows_more(given_layers: Any, asked: Access) -> None:  # noqa: ANN401 - as above
    """What the identity may not without them it may not with them."""
    without = decide(asked, of_layers([given_layers[0], None, None])).allowed
    assert without or not decide(asked, of_layers(given_layers)).allowed
