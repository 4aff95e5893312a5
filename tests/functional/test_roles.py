"""The role commands as a person uses them: whose credentials they take, a new key, a dry run, a VPC."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from llm_deploy.resource import TAG_DEPLOYMENT
from llm_deploy.targets.sagemaker import iam
from tests.conftest import Terminal

pytestmark = pytest.mark.xdist_group("local-cloud")

KEY_FILE = "sagemaker_user_credentials.json"
POLICIES = {f"llmdeploy-keys-{name.removeprefix('deploy-')}" for name in iam.DEPLOY_POLICIES}
LINKED = "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"


@pytest.fixture
def place(local_cloud: Terminal, tmp_path: Path) -> Iterator[Terminal]:
    """A folder of its own before the local cloud; the roles named `keys` are gone afterwards."""
    terminal = Terminal(tmp_path, local_cloud.environment)
    yield terminal
    terminal.run("delete-roles", "--prefix", "keys", "--yes")


def iam_of(variables: dict[str, str]) -> Any:  # noqa: ANN401 - boto3 makes its client classes at run time
    """The local cloud's IAM, asked by boto3."""
    return client_of("iam", variables)


def client_of(service: str, variables: dict[str, str]) -> Any:  # noqa: ANN401 - as above
    """A service of the local cloud, asked by boto3."""
    return boto3.client(
        service,
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        region_name=variables["AWS_REGION"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
    )


@pytest.mark.row("T1")
def test_a_new_key_takes_the_old_ones_place(place: Terminal, pointed_at_it: dict[str, str]) -> None:
    """The plan says so, the file and .env have the new key, and the cloud has no other."""
    place.run("create-roles", "--prefix", "keys", "--user", "--yes", "--write-env")
    old = json.loads((place.folder / KEY_FILE).read_text())
    planned = place.run("create-roles", "--prefix", "keys", "--new-key", "--dry-run", "--json")
    actions = {(change["kind"].rsplit("::")[-1], change["action"]) for change in planned.json["changes"]}
    kept = {(kind, "keep") for kind in ("ServiceLinkedRole", "Role", "ManagedPolicy", "User")}
    assert actions == {*kept, ("AccessKey", "replace")}
    assert json.loads((place.folder / KEY_FILE).read_text()) == old

    done = place.run("create-roles", "--prefix", "keys", "--new-key", "--yes", "--write-env")
    assert "1 to replace" in done.err
    assert f"{old['AccessKeyId']} stops working at once" in done.err
    new = json.loads((place.folder / KEY_FILE).read_text())
    assert new["AccessKeyId"] != old["AccessKeyId"]
    assert f"AWS_ACCESS_KEY={new['AccessKeyId']}" in (place.folder / ".env").read_text()
    held = iam_of(pointed_at_it).list_access_keys(UserName=new["UserName"])["AccessKeyMetadata"]
    assert [key["AccessKeyId"] for key in held] == [new["AccessKeyId"]]


@pytest.mark.row("T1")
def test_a_lost_secret_is_made_good_by_a_new_key(place: Terminal) -> None:
    """Where the file is gone, --new-key is the way out that the refusal names."""
    create = ("create-roles", "--prefix", "keys", "--user", "--yes")
    place.run(*create)
    (place.folder / KEY_FILE).unlink()
    assert "--new-key" in place.run(*create, code=7).err
    place.run("create-roles", "--prefix", "keys", "--yes", "--new-key")
    assert (place.folder / KEY_FILE).is_file()


@pytest.mark.row("T1")
def test_a_dry_run_shows_every_policy_and_writes_json_when_asked(place: Terminal) -> None:
    """For people the documents under titles, for programs the plan; neither changes anything."""
    shown = place.run("create-roles", "--prefix", "keys", "--dry-run")
    assert "what llmdeploy-keys-deployer may do, policy llmdeploy-keys-endpoints: " in shown.out
    assert "MakeEndpoints: deploying; what is made must carry the ownership tag" in shown.out
    assert "sagemaker:CreateEndpoint\n" in shown.out
    assert "who may assume llmdeploy-keys-execution:" in shown.out
    assert {word for word in shown.out.split() if word.startswith("iam:")} == {"iam:PassRole", "iam:PassedToService"}
    planned = place.run("create-roles", "--prefix", "keys", "--dry-run", "--json").json
    ours = [change for change in planned["changes"] if change["kind"] != "AWS::IAM::ServiceLinkedRole"]
    assert {change["action"] for change in ours} == {"create"}
    assert not list(place.folder.glob("*.json"))


@pytest.mark.row("T1")
def test_a_spec_says_what_its_roles_are_for(place: Terminal) -> None:
    """Its name, its weights, its VPC and its key; and the same file names what to delete."""
    (place.folder / "s.yaml").write_text(
        "name: keys\nmodel: s3://models/llm/\nkms_key_id: 1234-ab\ninstance: ml.p3.2xlarge\n"
        "network: {subnets: [subnet-1, subnet-2], security_group_ids: [sg-1]}\n"
    )
    text = place.run("create-roles", "s.yaml", "--dry-run", "--json").out
    for part in ("s3:::models/llm/*", "subnet/subnet-1", "subnet/subnet-2", "security-group/sg-1", "key/1234-ab"):
        assert part in text
    place.run("create-roles", "s.yaml", "--yes")
    gone = set(place.run("delete-roles", "s.yaml", "--yes", "--json").json["deleted"])
    assert gone == {"llmdeploy-keys-execution", "llmdeploy-keys-deployer", *POLICIES}


@pytest.mark.row("T1")
def test_without_user_there_is_no_key_and_env_names_the_deploy_role(
    place: Terminal, pointed_at_it: dict[str, str]
) -> None:
    """Two roles and the policies; whoever signs in deploys as the role, and no secret is anywhere."""
    done = place.run("create-roles", "--prefix", "keys", "--yes", "--write-env", "--json")
    env = (place.folder / ".env").read_text()
    assert f"LLMDEPLOY_ROLE_ARN={done.json['deploy_role_arn']}" in env
    assert "AWS_ACCESS_KEY" not in env
    assert not (place.folder / KEY_FILE).exists()
    client = iam_of(pointed_at_it)
    attached = client.list_attached_role_policies(RoleName="llmdeploy-keys-deployer")["AttachedPolicies"]
    assert {policy["PolicyName"] for policy in attached} == POLICIES
    assert (
        "as assumed-role/llmdeploy-keys-deployer/llmdeploy"
        in place.run("deploy-endpoint", "--set", "name=keys", "--dry-run").err
    )
    place.run("delete-roles", "--prefix", "keys", "--yes")
    assert "LLMDEPLOY_ROLE_ARN" not in (place.folder / ".env").read_text()
    assert client.get_role(RoleName=LINKED)["Role"]["Path"].startswith("/aws-service-role/"), "the account's own stays"


@pytest.mark.row("T1")
def test_what_somebody_changed_is_put_right(place: Terminal, pointed_at_it: dict[str, str]) -> None:
    """A policy's document, a trust, an attachment, a boundary: each difference is seen, and gone after a run."""
    create = ("create-roles", "--prefix", "keys", "--yes")
    place.run(*create)
    client = iam_of(pointed_at_it)
    role, everything = "llmdeploy-keys-deployer", "arn:aws:iam::aws:policy/AdministratorAccess"
    own = "arn:aws:iam::000000000000:policy/llmdeploy-keys-invoke"
    anyone = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    for _ in range(4):  # the policy then has the five versions that AWS keeps at most
        client.create_policy_version(PolicyArn=own, PolicyDocument=json.dumps(anyone), SetAsDefault=True)
    client.detach_role_policy(RoleName=role, PolicyArn=own)
    client.attach_role_policy(RoleName=role, PolicyArn=everything)
    client.put_role_permissions_boundary(RoleName="llmdeploy-keys-execution", PermissionsBoundary=everything)
    client.tag_role(RoleName="llmdeploy-keys-execution", Tags=[{"Key": "llmdeploy:content", "Value": "another"}])
    changed = place.run(*create)
    assert "3 to update" in changed.err
    assert "Nothing to change" in place.run(*create).err
    attached = client.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
    assert {policy["PolicyName"] for policy in attached} == POLICIES
    assert "PermissionsBoundary" not in client.get_role(RoleName="llmdeploy-keys-execution")["Role"]


@pytest.mark.row("T1")
def test_a_trust_and_a_boundary_are_made_changed_and_taken_away(place: Terminal, pointed_at_it: dict[str, str]) -> None:
    """Named principals and a pipeline in place of the whole account; a boundary on every identity; and back again."""
    client = iam_of(pointed_at_it)
    bound = "arn:aws:iam::aws:policy/PowerUserAccess"
    pipeline = ("--oidc-provider", "token.actions.githubusercontent.com", "--oidc-subject", "repo:o/r:environment:e")
    person = ("--trusted-principal", "arn:aws:iam::000000000000:root")
    place.run("create-roles", "--prefix", "keys", "--yes", "--permissions-boundary", bound, *pipeline, *person)
    roles = [client.get_role(RoleName=f"llmdeploy-keys-{name}")["Role"] for name in ("deployer", "execution")]
    assert [role["PermissionsBoundary"]["PermissionsBoundaryArn"] for role in roles] == [bound, bound]
    assert [statement["Action"] for statement in roles[0]["AssumeRolePolicyDocument"]["Statement"]] == [
        "sts:AssumeRole",
        "sts:AssumeRoleWithWebIdentity",
    ]
    place.run("create-roles", "--prefix", "keys", "--yes")
    role = client.get_role(RoleName="llmdeploy-keys-deployer")["Role"]
    assert "PermissionsBoundary" not in role
    assert [statement["Action"] for statement in role["AssumeRolePolicyDocument"]["Statement"]] == ["sts:AssumeRole"]


@pytest.mark.row("T1")
def test_a_policy_is_taken_from_whoever_else_has_it_and_the_plan_says_so(
    place: Terminal, pointed_at_it: dict[str, str]
) -> None:
    """The invoke-only policy is made for others; a deletion names them before it takes it from them."""
    place.run("create-roles", "--prefix", "keys", "--yes")
    client = iam_of(pointed_at_it)
    client.create_user(UserName="shop")
    client.attach_user_policy(UserName="shop", PolicyArn="arn:aws:iam::000000000000:policy/llmdeploy-keys-invoke")
    try:
        assert "user/shop loses it" in place.run("delete-roles", "--prefix", "keys", "--dry-run").err
        place.run("delete-roles", "--prefix", "keys", "--yes")
        assert client.list_attached_user_policies(UserName="shop")["AttachedPolicies"] == []
    finally:
        client.delete_user(UserName="shop")


@pytest.mark.row("T1")
def test_a_user_of_an_earlier_run_stays_until_roles_are_deleted(place: Terminal) -> None:
    """A run without --user takes nobody's key away; its plan shows the user as kept."""
    place.run("create-roles", "--prefix", "keys", "--user", "--yes")
    again = place.run("create-roles", "--prefix", "keys", "--yes")
    assert "= User" in again.err
    assert "Nothing to change" in again.err
    gone = place.run("delete-roles", "--prefix", "keys", "--yes", "--json").json
    assert gone["deleted"].count("llmdeploy-keys-deployer") == 3, "key, user and role"
    assert any(name.endswith(KEY_FILE) for name in gone["files"])


@pytest.mark.row("T1")
def test_roles_made_in_part_are_completed_and_removed(place: Terminal, pointed_at_it: dict[str, str]) -> None:
    """After an interruption anywhere both commands end as if there had been none."""
    place.run("create-roles", "--prefix", "keys", "--yes")
    client = iam_of(pointed_at_it)
    for name in ("read", "scaling"):
        arn = f"arn:aws:iam::000000000000:policy/llmdeploy-keys-{name}"
        client.detach_role_policy(RoleName="llmdeploy-keys-deployer", PolicyArn=arn)
        client.delete_policy(PolicyArn=arn)
    assert "2 to create, 1 to update" in place.run("create-roles", "--prefix", "keys", "--yes").err
    for policy in client.list_attached_role_policies(RoleName="llmdeploy-keys-deployer")["AttachedPolicies"]:
        client.detach_role_policy(RoleName="llmdeploy-keys-deployer", PolicyArn=policy["PolicyArn"])
    client.delete_role(RoleName="llmdeploy-keys-deployer")
    gone = place.run("delete-roles", "--prefix", "keys", "--yes", "--json").json["deleted"]
    assert set(gone) == {"llmdeploy-keys-execution", *POLICIES}
    assert place.run("delete-roles", "--prefix", "keys", "--yes", "--json").json["deleted"] == []


def test_the_least_policy_needs_no_account(terminal: Terminal) -> None:
    """With the account's number no credentials are looked for; JSON is one document for `aws iam`."""
    (terminal.folder / "s.yaml").write_text("name: shop\nmodel: org/m\nendpoint_type: model\n")
    told = ("policy", "s.yaml", "--account", "123456789012")
    document = terminal.run(*told, "--json").json
    assert document["Version"] == "2012-10-17"
    assert "endpoint/shop" in json.dumps(document)
    assert "DeleteModelsAndConfigs: " in terminal.run(*told).out
    invoking = terminal.run(*told, "--for", "invoke", "--json").json
    assert [statement["Sid"] for statement in invoking["Statement"]] == ["Invoke", "InvokeWithTokens"]
    through_stack = terminal.run(*told, "--via", "cloudformation", "--json").json
    assert "stack/llmdeploy-shop/*" in json.dumps(through_stack)
    assert "stack/" not in json.dumps(document)
    refused = terminal.run(*told, "--for", "invoke", "--via", "cloudformation", code=3)
    assert "invoke needs the same either way" in refused.err
    assert "expected deploy, invoke, execution" in terminal.run(*told, "--for", "nobody", code=3).err
    assert "12 digits" in terminal.run("policy", "s.yaml", "--account", "12", code=3).err
    for more in ((), ("--account", "123456789012")):  # with and without a cloud to ask
        wrong = terminal.run("policy", "s.yaml", "--region", "mars-1", *more, code=3).err
        assert "region 'mars-1': expected one such as eu-central-1." in wrong
    terminal.run("policy", "s.yaml", code=4)
    role = "arn:aws:iam::210987654321:role/containers"
    assert role in terminal.run("policy", "s.yaml", AWS_ARN_ROLE=role).out


def test_the_deployers_keys_of_env_are_not_used(terminal: Terminal) -> None:
    """Without a sign-in of one's own the command says whose credentials it looked for, and how to use .env's."""
    (terminal.folder / ".env").write_text("AWS_ACCESS_KEY=AKIAX\nAWS_SECRET_KEY=s\n")
    for command in ("create-roles", "delete-roles"):
        refused = terminal.run(command, "--prefix", "keys", "--yes", code=4)
        assert "--use-env-keys" in refused.err
        assert "--profile" in refused.err
        assert terminal.run(command, "--profile", "nobody", "--yes", code=3).err.count("nobody")
        assert "give one" in terminal.run(command, "--profile", "nobody", "--use-env-keys", "--yes", code=3).err


def test_a_prefix_that_no_name_begins_with_is_refused(terminal: Terminal) -> None:
    """Before any cloud is asked."""
    assert "letters, digits and hyphens" in terminal.run("create-roles", "--prefix=-a", "--yes", code=3).err


@pytest.mark.row("T1")
def test_roles_stay_while_an_endpoint_needs_them(place: Terminal) -> None:
    """It would go on and bill with nobody left who may delete it; deleting it first, or a flag, is the way out."""
    place.run("create-roles", "--prefix", "keys", "--yes")
    place.run("deploy-endpoint", "--set", "name=keys-busy", "--no-wait", "--yes")
    delete = ("delete-roles", "--prefix", "keys", "--yes")
    refused = place.run(*delete, code=7).err
    for says in (
        "need the roles of 'keys': keys-busy.",
        "`llmdeploy delete-endpoint keys-busy` first",
        "--even-in-use",
    ):
        assert says in refused
    assert place.run("delete-roles", "--prefix", "keys", "--dry-run", "--even-in-use").code == 0
    place.run("delete-endpoint", "keys-busy", "--yes")
    assert "llmdeploy-keys-deployer" in place.run(*delete, "--json").json["deleted"]


@pytest.mark.row("T1")
def test_roles_go_in_spite_of_an_endpoint_that_is_not_ours(place: Terminal, pointed_at_it: dict[str, str]) -> None:
    """What carries no tag of ours does not hold them, and --even-in-use does not ask at all."""
    place.run("create-roles", "--prefix", "keys", "--yes")
    place.run("deploy-endpoint", "--set", "name=keys-busy", "--no-wait", "--yes")
    place.run("delete-roles", "--prefix", "keys", "--even-in-use", "--yes")
    place.run("create-roles", "--prefix", "keys", "--yes")
    sagemaker = client_of("sagemaker", pointed_at_it)
    arn = sagemaker.describe_endpoint(EndpointName="keys-busy")["EndpointArn"]
    ours = [{"Key": TAG_DEPLOYMENT, "Value": "keys-busy"}]
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=[TAG_DEPLOYMENT])
    place.run("delete-roles", "--prefix", "keys", "--yes")
    sagemaker.add_tags(ResourceArn=arn, Tags=ours)
    place.run("delete-endpoint", "keys-busy", "--yes")
