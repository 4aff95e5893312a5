"""One deployment, three ways: the template, the CDK's synthesis of it, and what is sent through boto3, mapped back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from infra.synth import synthesised
from llm_deploy.deploy.inventory import Found
from llm_deploy.render import cloudformation
from llm_deploy.resource import ACCESS_KEY, ENDPOINT
from llm_deploy.spec import DeploymentSpec, Place
from llm_deploy.targets.blueprint import Blueprint
from tests.parity.examples import LITERAL, SPECS, SYMBOLIC, blueprint, with_a_user
from tests.parity.recorded import BACK, filled_in, managers_that_record, mapped_back, requests_for
from tests.specs import specs

MADE_UP = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
PLACES = {"any account": SYMBOLIC, "one account": LITERAL}

pytestmark = pytest.mark.xdist_group("cdk")


def by_calls_and_by_template(asked: Blueprint, rendered: Blueprint) -> tuple[Any, Any]:
    """What managers send for the one, and what CloudFormation would for the other."""
    sent = mapped_back(requests_for(asked.resources))
    return sent, filled_in(rendered.template(), rendered.resources)


@pytest.mark.row("T3")
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_the_cdk_stack_is_the_template(spec: DeploymentSpec, place: Place) -> None:
    """The synthesised stack holds the same resources, outputs and parameters: it has no definition of its own."""
    for with_roles in (True, False):
        found = blueprint(spec, place, with_roles=with_roles)
        assert synthesised(found) == found.template()


@pytest.mark.row("T3")
@pytest.mark.row("T9")
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_what_is_sent_is_what_the_template_says(spec: DeploymentSpec) -> None:
    """The calls' documents are the template's, with names and references filled in; it knows no account, they do."""
    sent, said = by_calls_and_by_template(blueprint(spec, LITERAL), blueprint(spec, SYMBOLIC))
    assert sent == said


@pytest.mark.row("T1")
def test_a_user_of_the_deploy_identity_is_the_same_both_ways() -> None:
    """With the user, whose key a template leaves out."""
    asked, rendered = (with_a_user(blueprint(SPECS["everything"], place)) for place in (LITERAL, SYMBOLIC))
    sent, said = by_calls_and_by_template(asked, rendered)
    assert sent == said
    assert [left.kind for left in cloudformation.left_out(rendered.resources)] == [ACCESS_KEY]


def test_an_update_of_an_endpoint_is_what_the_template_says() -> None:
    """`UpdateEndpoint` takes what CreateEndpoint does not, `RetainAllVariantProperties`, and no tags."""
    found = blueprint(SPECS["everything"], LITERAL)
    endpoint = next(each for each in found.resources if each.kind == ENDPOINT)
    standing = Found(ENDPOINT, endpoint.name, {"EndpointConfigName": "before"}, endpoint.tags)
    sent: list[Any] = []
    managers_that_record(sent)[ENDPOINT].update(endpoint, standing)
    said = found.template()["Resources"]["Endpoint"]["Properties"]
    assert said["RetainAllVariantProperties"] is True
    assert [(each["operation"], each["request"]) for each in sent] == [
        ("UpdateEndpoint", {key: value for key, value in said.items() if key != "Tags"})
    ]


@MADE_UP
@given(spec=specs())
def test_all_three_agree_on_any_spec(spec: DeploymentSpec) -> None:
    """For whatever the documents, the rules and the catalogue accept."""
    asked, rendered = (blueprint(spec, place, with_roles=False) for place in (LITERAL, SYMBOLIC))
    assert synthesised(rendered) == rendered.template()
    sent, said = by_calls_and_by_template(asked, rendered)
    assert sent == said


def test_every_kind_and_every_operation_took_part() -> None:
    """A kind with a manager that no example has, or a call that nothing maps back, would be untested: add it here."""
    everything = [with_a_user(blueprint(spec, LITERAL)).resources for spec in SPECS.values()]
    kinds = {resource.kind for resources in everything for resource in resources}
    assert kinds == set(managers_that_record([]))
    operations = {each["operation"] for resources in everything for each in requests_for(resources)}
    assert operations <= set(BACK)
    tagged = {resource.kind for resources in everything for resource in resources if resource.tags}
    rendered = {
        each["Type"]: each for found in everything for each in cloudformation.template(found)["Resources"].values()
    }
    untaggable = {kind for kind in tagged - {ACCESS_KEY} if "Tags" not in rendered[kind]["Properties"]}
    assert untaggable == {"AWS::IAM::ManagedPolicy"}, "the kinds that differ have been rendered with tags to leave out"
