"""From a config to the resources of a template: the role, the place, and names that are those of the calls."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llm_deploy import catalog
from llm_deploy.errors import SpecError
from llm_deploy.render import cloudformation
from llm_deploy.resource import ACCESS_KEY, ENDPOINT_CONFIG, MODEL, USER, Parameter, Ref
from llm_deploy.settings import Settings
from llm_deploy.spec import Place
from llm_deploy.targets.blueprint import Blueprint, draft, of_spec
from llm_deploy.targets.sagemaker import strategy
from tests.conftest import ROOT
from tests.specs import twin

TWIN = ROOT / "configs" / "twin.yaml"
ROLE = "arn:aws:iam::123456789012:role/team/containers"


@pytest.fixture(autouse=True)
def _nobodys_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("AWS_ARN_ROLE", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)


def names(found: Blueprint) -> list[str]:
    return [each.name for each in found.resources if each.kind in {MODEL, ENDPOINT_CONFIG}]


def role_in(found: Blueprint) -> object:
    return next(each for each in found.resources if each.kind == MODEL).properties["ExecutionRoleArn"]


@pytest.mark.row("T3")
@pytest.mark.parametrize("endpoint_type", ["model", "inference-component"])
def test_names_are_those_of_a_deployment_through_calls(endpoint_type: str) -> None:
    """For any account or for one, with the role named or made: the content-hashed names are what calls would choose."""
    spec = twin(endpoint_type=endpoint_type)
    own = "arn:aws:iam::123456789012:role/llmdeploy-twin-execution"
    place = Place(region="eu-central-1", account="123456789012")
    called = [each.name for each in strategy.resources(catalog.resolve(spec, place, own))][:2]
    settings = Settings(_env_file=None, AWS_ARN_ROLE=own)
    for account in (None, "123456789012"):
        for with_roles in (True, False):
            found = draft(
                None,
                settings=settings,
                account=account,
                endpoint_type=endpoint_type,
                with_roles=with_roles,
                overrides={"autoscaling": "null"},
            )
            assert found.name == "twin"
            assert names(found)[0] == called[0]
    assert names(of_spec(spec, place, settings))[:2] == called


def test_the_role_is_the_specs_then_the_environments_then_the_files(tmp_path: Path) -> None:
    """As for calls; without any the template asks for one, and says so."""
    asked = draft(TWIN, settings=Settings(_env_file=None))
    assert isinstance(role_in(asked), Parameter)
    assert asked.template()["Parameters"].keys() == {"ExecutionRoleArn"}
    assert any("parameter ExecutionRoleArn" in note for note in asked.notes)
    (tmp_path / "sagemaker_execution_role.json").write_text(json.dumps({"RoleArn": ROLE}))
    assert role_in(draft(TWIN, settings=Settings(_env_file=None))) == ROLE
    other = ROLE.replace("team", "others")
    assert role_in(draft(TWIN, settings=Settings(_env_file=None, AWS_ARN_ROLE=other))) == other
    named = draft(TWIN, settings=Settings(_env_file=None, AWS_ARN_ROLE=other), overrides={"execution_role_arn": ROLE})
    assert role_in(named) == ROLE
    assert any("for account 123456789012" in note for note in named.notes)


@pytest.mark.row("T1")
def test_roles_are_made_on_request_and_a_key_never_is() -> None:
    """The containers run under the template's own role; no user, whose key would be readable in the stack."""
    found = draft(TWIN, settings=Settings(_env_file=None, AWS_ARN_ROLE=ROLE), with_roles=True)
    assert role_in(found) == Ref("ExecutionRole", "Arn")
    assert not {USER, ACCESS_KEY} & {each.kind for each in found.resources}
    assert cloudformation.left_out(found.resources) == ()
    assert any("no IAM user" in note for note in found.notes)
    template = found.template()
    assert template["Resources"]["Model"]["Properties"]["ExecutionRoleArn"] == {"Fn::GetAtt": ["ExecutionRole", "Arn"]}
    assert "Parameters" not in template
    assert "ExecutionRoleArn" in template["Outputs"]


def test_the_roles_are_those_of_create_roles_for_this_spec() -> None:
    """Own image, weights and prefix: the role may pull and read what the spec names, as the command would have it."""
    image = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/mine:1"
    overrides = {"image": image, "model": "s3://bucket/models/m/"}
    found = draft(TWIN, settings=Settings(_env_file=None), overrides=overrides, with_roles=True, prefix="tw")
    role = next(each for each in found.resources if each.id == "ExecutionRole")
    assert role.name == "llmdeploy-tw-execution"
    said = json.dumps(role.properties["Policies"])
    assert ":123456789012:repository/mine" in said
    assert ":s3:::bucket/models/m/*" in said


def test_a_role_of_the_spec_is_said_to_be_unused_where_roles_are_made() -> None:
    """Nothing that a spec says is dropped silently."""
    found = draft(TWIN, settings=Settings(_env_file=None), with_roles=True, overrides={"execution_role_arn": ROLE})
    assert any("execution_role_arn" in note for note in found.notes)


def test_a_template_for_any_account_names_none() -> None:
    """Account and partition are references; the only numbers left are those of AWS's registries."""
    text = cloudformation.to_json(draft(TWIN, settings=Settings(_env_file=None), with_roles=True).template())
    assert "${AWS::AccountId}" in text
    assert "123456789012" not in text
    one = draft(TWIN, settings=Settings(_env_file=None), with_roles=True, account="123456789012")
    assert "AWS::AccountId" not in cloudformation.to_json(one.template())
    assert ":123456789012:" in cloudformation.to_json(one.template())


def test_the_region_decides_the_registry_and_is_in_the_text() -> None:
    """From the flag, else from the settings; an image of another region would not be found."""
    settings = Settings(_env_file=None, AWS_REGION="eu-west-1")
    assert ".eu-west-1." in cloudformation.to_json(draft(TWIN, settings=settings).template())
    there = draft(TWIN, settings=settings, region="cn-north-1", account="123456789012", with_roles=True)
    assert ".cn-north-1.amazonaws.com.cn/" in cloudformation.to_json(there.template())
    assert "arn:aws-cn:" in cloudformation.to_json(there.template())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"account": "12345"}, "12 digits"),
        ({"account": "210987654321"}, "another account"),
        ({"region": "Frankfurt"}, "such as eu-central-1"),
        ({"region": "eu-nowhere-9"}, "no registry"),
        ({"with_roles": True, "prefix": "other"}, "does not begin with"),
        ({"prefix": "twin"}, "without roles it says nothing"),
        ({"overrides": {"instance.type": "ml.none.large"}}, "ml.none.large"),
    ],
)
def test_what_is_wrong_is_said(options: dict[str, object], says: str) -> None:
    """Before anything is written."""
    with pytest.raises(SpecError, match=says):
        draft(TWIN, settings=Settings(_env_file=None, AWS_ARN_ROLE=ROLE), **options)  # type: ignore[arg-type]


def test_a_long_model_does_not_make_the_description_too_long() -> None:
    """CloudFormation takes 1024 bytes, and an S3 prefix may have as many by itself, of any letters."""
    model = "s3://bucket/" + "é" * 1000 + "/"
    found = draft(TWIN, settings=Settings(_env_file=None), overrides={"model": model})
    assert 1020 <= len(found.template()["Description"].encode()) <= 1024
