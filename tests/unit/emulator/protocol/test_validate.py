"""Inputs are refused in AWS's words, and answers that the model does not know never leave."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.session import Session
from botocore.validate import ParamValidator
from hypothesis import given, strategies as st

from llm_deploy.emulator.protocol.model import load
from llm_deploy.emulator.protocol.patterns import compiled
from llm_deploy.emulator.protocol.validate import WrongTypeError, check_input, check_output

MODEL = load("sagemaker")
SERVICES = ["sagemaker", "sagemaker-runtime", "application-autoscaling", "service-quotas", "logs", "cloudwatch"]


def problem(shape: str, value: Any) -> str | None:  # noqa: ANN401 - a JSON value
    return check_input(MODEL, shape, value)


def test_a_broken_pattern_is_said_as_aws_says_it() -> None:
    """The text that clients match on, to the letter. Ledger: protocol.constraint.pattern."""
    assert problem("DeleteModelInput", {"ModelName": "bad_name!"}) == (
        "1 validation error detected: Value 'bad_name!' at 'modelName' failed to satisfy constraint: "
        "Member must satisfy regular expression pattern: [a-zA-Z0-9]([\\-a-zA-Z0-9]*[a-zA-Z0-9])?"
    )


def test_all_problems_are_reported_at_once() -> None:
    """Two mistakes, two findings, with the place in a list counted from one."""
    variant = {"VariantName": "v", "InstanceType": "ml.nonsense", "InitialInstanceCount": 0}
    text = problem("CreateEndpointConfigInput", {"ProductionVariants": [variant]}) or ""
    assert text.startswith("3 validation errors detected: Value null at 'endpointConfigName'")
    assert "Value 'ml.nonsense' at 'productionVariants.1.member.instanceType'" in text
    assert "Member must satisfy enum value set: [" in text
    assert "greater than or equal to 1" in text


@pytest.mark.parametrize(
    ("shape", "value", "words"),
    [
        ("DeleteModelInput", {}, "Member must not be null"),
        ("DeleteModelInput", {"ModelName": "a" * 64}, "length less than or equal to 63"),
        ("ListEndpointsInput", {"MaxResults": 101}, "value less than or equal to 100"),
        ("ListEndpointsInput", {"MaxResults": 0}, "value greater than or equal to 1"),
        ("ListEndpointsInput", {"StatusEquals": "Up"}, "enum value set"),
    ],
)
def test_each_kind_of_constraint(shape: str, value: Any, words: str) -> None:  # noqa: ANN401 - a JSON value
    """Clients leave maxima, enums and patterns to the server; here is the server."""
    assert words in (problem(shape, value) or "")


@pytest.mark.parametrize("value", [{"ModelName": 1}, {"ModelName": True}, [], "text", {"ModelName": {}}])
def test_a_wrong_type_is_no_validation_error(value: Any) -> None:  # noqa: ANN401 - a JSON value
    """AWS cannot even read such a document."""
    with pytest.raises(WrongTypeError):
        problem("DeleteModelInput", value)


def test_a_boolean_is_no_number() -> None:
    """Python thinks otherwise."""
    with pytest.raises(WrongTypeError):
        problem("ListEndpointsInput", {"MaxResults": True})


@pytest.mark.parametrize("service", SERVICES)
def test_every_pattern_of_every_service_can_be_used(service: str) -> None:
    """A pattern that Python cannot read would be a constraint that nobody checks."""
    for shape in load(service).shapes.values():
        if "pattern" in shape:
            compiled(shape["pattern"])


@pytest.mark.parametrize("key", ["team", "Größe", "a b", "a:b/c=d+e-f@g", "名前", "x1"])
def test_tag_keys_may_be_in_any_script(key: str) -> None:
    r"""\p{L}, \p{N} and \p{Z} are letters, digits and spaces of the world."""
    assert compiled(MODEL.shapes["TagKey"]["pattern"]).fullmatch(key)
    assert not compiled(MODEL.shapes["TagKey"]["pattern"]).fullmatch(key + "!")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
MEMBERS = sorted(MODEL.shapes["ProductionVariant"]["members"])


@given(st.dictionaries(st.sampled_from(MEMBERS), JSON, max_size=6))
def test_no_document_breaks_the_check(variant: dict[str, Any]) -> None:
    """Whatever JSON comes, it is accepted, refused in words, or of a wrong type; and botocore's refusals are ours."""
    document = {"EndpointConfigName": "a", "ProductionVariants": [variant]}
    try:
        accepted = problem("CreateEndpointConfigInput", document) is None
    except WrongTypeError:
        accepted = False
    if accepted:
        cleaned = {"ProductionVariants": [{k: v for k, v in variant.items() if v is not None}]}
        operation = Session().get_service_model("sagemaker").operation_model("CreateEndpointConfig")
        report = ParamValidator().validate({**document, **cleaned}, operation.input_shape)
        # Members that the model does not have are ignored by AWS; botocore would not send them.
        assert all(kind == "unknown field" for kind, _, _ in report._errors), report.generate_report()


def test_an_answer_with_an_unknown_member_never_leaves() -> None:
    """The output shape keeps the cloud honest."""
    with pytest.raises(AssertionError, match="Extra"):
        check_output(MODEL, "CreateModelOutput", {"ModelArn": "a", "Extra": 1})
    with pytest.raises(AssertionError, match="ModelArn"):
        check_output(MODEL, "CreateModelOutput", {})
    with pytest.raises(AssertionError, match="is no string"):
        check_output(MODEL, "CreateModelOutput", {"ModelArn": 1})
