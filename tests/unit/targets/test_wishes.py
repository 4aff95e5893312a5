"""What roles are for: flags win over the spec, and what the identity could not do afterwards is refused before."""

from __future__ import annotations

import pytest

from llm_deploy import catalog
from llm_deploy.errors import SpecError
from llm_deploy.resource import ENDPOINT_CONFIG
from llm_deploy.spec import DeploymentSpec, Place
from llm_deploy.targets.sagemaker import strategy, wishes


def spec(**fields: object) -> DeploymentSpec:
    """A small spec with other fields."""
    return DeploymentSpec.model_validate({"name": "shop-bot", "model": "org/m", **fields})


def test_the_flag_wins_over_the_spec_and_the_spec_over_the_default() -> None:
    """A prefix of its name serves a spec as well as the whole name."""
    assert wishes.prefix_for(None, None, "twin") == "twin"
    assert wishes.prefix_for(None, spec(), "twin") == "shop-bot"
    assert wishes.prefix_for("shop", spec(), "twin") == "shop"


@pytest.mark.parametrize("prefix", ["-a", "a-", "-", "a_b", "a b", "ä", "x" * 31, "a\n"])
def test_what_no_name_begins_with_is_refused(prefix: str) -> None:
    """AWS's names begin with a letter or digit, and `llmdeploy-PREFIX-deployer` must fit into IAM's 64 characters."""
    with pytest.raises(SpecError, match="1 to 30 letters"):
        wishes.prefix_for(prefix, None, "twin")


@pytest.mark.parametrize("prefix", ["a", "7", "a-b", "x" * 30])
def test_what_a_name_may_begin_with_is_taken(prefix: str) -> None:
    """One letter is enough."""
    assert wishes.prefix_for(prefix, None, "twin") == prefix


@pytest.mark.parametrize(
    ("prefix", "fields", "strange"),
    [
        ("other", {}, "shop-bot"),
        (None, {"inference_component_name": "copy"}, "copy"),
    ],
)
def test_a_spec_that_the_identity_could_not_deploy_is_refused(
    prefix: str | None, fields: dict[str, str], strange: str
) -> None:
    """Its policy covers names with the prefix only, of components too."""
    with pytest.raises(SpecError, match=f"'{strange}' does not begin with"):
        wishes.prefix_for(prefix, spec(**fields), "twin")


@pytest.mark.parametrize("config", ["config", "shop-bot-config"])
def test_a_config_may_be_named_as_one_likes(config: str) -> None:
    """Its whole name begins with the deployment's, which the policy covers."""
    named = spec(endpoint_config_name=config)
    assert wishes.prefix_for(None, named, "twin") == "shop-bot"
    place = Place(region="eu-central-1", account="123456789012")
    resolved = catalog.resolve(named, place, "arn:aws:iam::123456789012:role/r")
    (made,) = (each.name for each in strategy.resources(resolved) if each.kind == ENDPOINT_CONFIG)
    assert made.startswith("shop-bot")


def test_weights_are_the_flags_or_the_specs() -> None:
    """A model on the Hub needs no bucket."""
    own = spec(model="s3://models/llm/twin/")
    assert wishes.weights_for(None, None) == (None, "")
    assert wishes.weights_for(None, spec()) == (None, "")
    assert wishes.weights_for(None, own) == ("models", "llm/twin")
    assert wishes.weights_for("s3://other/llm", own) == ("other", "llm")


@pytest.mark.parametrize("uri", ["s3://models", "s3://models/", "models/llm", "s3:///llm", "https://models/llm"])
def test_a_whole_bucket_is_not_granted(uri: str) -> None:
    """Nor what is no S3 prefix at all."""
    with pytest.raises(SpecError, match="expected s3://bucket/prefix/"):
        wishes.weights_for(uri, None)
    with pytest.raises(SpecError, match="model s3://models/: expected"):
        wishes.weights_for(None, spec(model="s3://models/"))


def test_a_key_is_the_specs_and_no_alias() -> None:
    """IAM does not resolve aliases in a policy's resources."""
    assert wishes.key_for(None) is None
    assert wishes.key_for(spec(kms_key_id="1234-ab")) == "1234-ab"
    for alias in ("alias/mine", "arn:aws:kms:eu-central-1:123456789012:alias/mine"):
        with pytest.raises(SpecError, match="alias"):
            wishes.key_for(spec(kms_key_id=alias))


PLACE = Place(partition="aws-cn", region="cn-north-1", account="123456789012")


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:iam::123456789012:root",
        "arn:aws:iam::123456789012:user/team/ann",
        "arn:aws:iam::123456789012:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Ops_0123456789abcdef",
        "arn:aws:sts::123456789012:assumed-role/ops/ann@example.org",
    ],
)
def test_people_and_roles_can_be_trusted(arn: str) -> None:
    """Accounts, users, roles with their paths, sessions."""
    assert wishes.checked(wishes.Trust(principals=(arn,))).principals == (arn,)


@pytest.mark.parametrize("arn", ["*", "arn:aws:iam::123456789012:role/*", "123456789012", "ops", "arn:aws:s3:::b", ""])
def test_nobody_in_particular_is_not_trusted(arn: str) -> None:
    """No wildcard, no account by its number alone, no other thing."""
    with pytest.raises(SpecError, match="--trusted-principal"):
        wishes.checked(wishes.Trust(principals=(arn,)))


def test_a_provider_and_its_subjects_go_together_and_are_whole() -> None:
    """A provider alone would let in everybody it knows; a pattern, whom nobody has looked at."""
    for trust in (wishes.Trust(oidc_provider="x.org"), wishes.Trust(oidc_subjects=("repo:o/r:environment:e",))):
        with pytest.raises(SpecError, match="go together"):
            wishes.checked(trust)
    for subject in ("", " ", " repo:o/r:environment:e", "repo:o/r:environment:e\n"):
        with pytest.raises(SpecError, match="without white space around it"):
            wishes.checked(wishes.Trust(oidc_provider="x.org", oidc_subjects=(subject,)))
    for subject in ("repo:org/*", "repo:org/shop:*", "repo:org/sho?:ref:x", "${aws:username}"):
        with pytest.raises(SpecError, match="whole subject"):
            wishes.checked(wishes.Trust(oidc_provider="x.org", oidc_subjects=("repo:o/r:environment:e", subject)))


@pytest.mark.parametrize(
    "provider",
    [
        "token.actions.githubusercontent.com",
        "https://token.actions.githubusercontent.com/",
        "arn:aws-cn:iam::123456789012:oidc-provider/token.actions.githubusercontent.com",
    ],
)
def test_a_provider_is_named_by_its_address_or_its_arn(provider: str) -> None:
    """Of this account, in its partition."""
    expected = "arn:aws-cn:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"
    assert wishes.provider_arn(provider, PLACE) == expected
    assert wishes.provider_arn(None, PLACE) is None
    with pytest.raises(SpecError, match="--oidc-provider"):
        wishes.provider_arn("not an address", PLACE)


def test_a_boundary_is_a_managed_policy() -> None:
    """The account's or AWS's own; no name, no role."""
    wishes.check_boundary(None)
    for arn in ("arn:aws:iam::123456789012:policy/a/bound", "arn:aws:iam::aws:policy/PowerUserAccess"):
        wishes.check_boundary(arn)
    for arn in ("bound", "arn:aws:iam::123456789012:role/bound"):
        with pytest.raises(SpecError, match="managed policy"):
            wishes.check_boundary(arn)


def test_an_image_of_ones_own_is_granted_where_it_is_in_ecr() -> None:
    """SageMaker pulls other images without the role's rights."""
    own = "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/mine:1"
    assert wishes.repositories_of(own, PLACE) == ("arn:aws-cn:ecr:cn-north-1:123456789012:repository/mine",)
    assert wishes.repositories_of("registry.example.org/mine:1", PLACE) == ()
    assert wishes.repositories_of(None, PLACE) == ()
