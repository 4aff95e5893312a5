"""Who gets in, and who may do what, asked through the wire protocol of the cloud's own services."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llm_deploy.emulator import ledger
from tests.unit.emulator.iam.gatehouse import ACCOUNT, REGION, ROOT, Gatehouse, allow
from tests.unit.emulator.world import IMAGE

AT = f"{REGION}:{ACCOUNT}"
MODEL = f"arn:aws:sagemaker:{AT}:model"
INVOCATION = "/endpoints/e/invocations"
ANN = f"arn:aws:iam::{ACCOUNT}:user/ann"
CONTAINER = {"Image": IMAGE}


@pytest.fixture
def gatehouse(tmp_path: Path) -> Gatehouse:
    """A fresh cloud."""
    return Gatehouse(tmp_path)


# --- signatures -------------------------------------------------------------------------------------------------------


def test_the_root_may_everything(gatehouse: Gatehouse) -> None:
    """Ledger: access.root."""
    assert gatehouse.call(ROOT, "sagemaker", "ListEndpoints").status == 200


@pytest.mark.parametrize(
    ("who", "code", "words"),
    [
        (("AKIANOBODY", "x"), "UnrecognizedClientException", "access.unknown-key"),
        ((ROOT[0], "wrong"), "InvalidSignatureException", "access.wrong-signature"),
        ((*ROOT, "a token that is not its own"), "UnrecognizedClientException", "access.unknown-key"),
        (None, "MissingAuthenticationTokenException", "access.missing"),
    ],
)
def test_a_bad_signature_is_refused(gatehouse: Gatehouse, who: Any, code: str, words: str) -> None:  # noqa: ANN401 - a tuple or nothing
    """With AWS's code and words; 400 by the RPC services, 403 by the runtime.

    Ledger: access.unknown-key, access.wrong-signature, access.missing.
    """
    target = {"x-amz-target": "SageMaker.ListEndpoints"}
    rpc = gatehouse.ask(who, "sagemaker", body=b"{}", headers=target)
    assert (rpc.status, rpc.code, rpc.document["message"]) == (400, code, ledger.text(words))
    rest = gatehouse.ask(who, "sagemaker", path=INVOCATION, body=b"{}")
    assert (rest.status, rest.headers["x-amzn-errortype"]) == (403, code)


def test_the_query_protocol_has_its_own_codes(gatehouse: Gatehouse) -> None:
    """CloudWatch's forms are answered in XML."""
    form = {"content-type": "application/x-www-form-urlencoded"}
    body = b"Action=ListMetrics&Version=2010-08-01"
    found = gatehouse.ask(("AKIANOBODY", "x"), "monitoring", body=body, headers=form)
    assert found.status == 403
    assert b"<Code>InvalidClientTokenId</Code>" in found.body
    ann = gatehouse.user("ann")
    denied = gatehouse.ask(ann, "monitoring", body=body, headers=form)
    assert denied.status == 403
    assert b"<Code>AccessDenied</Code>" in denied.body
    assert b"is not authorized to perform: cloudwatch:ListMetrics on resource: * because" in denied.body


@pytest.mark.parametrize(
    ("minutes", "code"),
    [(-4.9, ""), (4.9, ""), (-5.1, "InvalidSignatureException"), (5.1, "InvalidSignatureException")],
)
def test_a_wrong_clock_is_refused(gatehouse: Gatehouse, minutes: float, code: str) -> None:
    """After five minutes, in both directions. Ledger: access.too-late, access.too-early."""
    target = {"x-amz-target": "SageMaker.ListEndpoints"}
    moment = gatehouse.clock.now() + minutes * 60
    found = gatehouse.ask(ROOT, "sagemaker", body=b"{}", headers=target, signed_at=moment)
    assert found.code == code
    if code:
        words = "Signature expired: " if minutes < 0 else "Signature not yet current: "
        assert found.document["message"].startswith(words)
        assert found.document["message"].endswith(f"{'-' if minutes < 0 else '+'} 5 min.)")


def test_a_signature_is_for_one_body(gatehouse: Gatehouse) -> None:
    """Whoever changes the body after it was signed is found out."""
    target = {"x-amz-target": "SageMaker.ListModels"}
    assert gatehouse.ask(ROOT, "sagemaker", body=b"{}", headers=target).status == 200
    found = gatehouse.ask(ROOT, "sagemaker", body=b"{}", headers=target, sent_body=b'{"MaxResults": 1}')
    assert found.code == "InvalidSignatureException"


def test_temporary_credentials_end(gatehouse: Gatehouse) -> None:
    """And need their token as long as they last. Ledger: access.expired-token."""
    gatehouse.role("r", allow("sagemaker:*"))
    key, secret, token = gatehouse.session("r", expires_in_s=60)
    assert gatehouse.call((key, secret, token), "sagemaker", "ListEndpoints").status == 200
    assert gatehouse.call((key, secret), "sagemaker", "ListEndpoints").code == "UnrecognizedClientException"
    assert gatehouse.call((key, secret, "x"), "sagemaker", "ListEndpoints").code == "UnrecognizedClientException"
    gatehouse.records["sessions"][key]["expires_at"] = gatehouse.clock.now()
    found = gatehouse.call((key, secret, token), "sagemaker", "ListEndpoints")
    assert (found.code, found.document["message"]) == ("ExpiredTokenException", ledger.text("access.expired-token"))


# --- permissions ------------------------------------------------------------------------------------------------------


def test_a_denial_in_aws_s_words(gatehouse: Gatehouse) -> None:
    """Ledger: access.denied."""
    ann = gatehouse.user("ann")
    found = gatehouse.ask(ann, "sagemaker", path=INVOCATION, body=b"{}")
    assert (found.status, found.headers["x-amzn-errortype"]) == (403, "AccessDeniedException")
    assert found.document["message"] == (
        f"User: {ANN} is not authorized to perform: sagemaker:InvokeEndpoint on resource: "
        f"arn:aws:sagemaker:{AT}:endpoint/e because no identity-based policy allows the sagemaker:InvokeEndpoint action"
    )


def test_an_invocation_of_a_component_needs_both(gatehouse: Gatehouse) -> None:
    """The endpoint alone is not enough when a component is named, and streaming is an action of its own."""
    endpoint = f"arn:aws:sagemaker:{AT}:endpoint/e"
    ann = gatehouse.user("ann", allow("sagemaker:InvokeEndpoint", resource=endpoint))
    assert gatehouse.ask(ann, "sagemaker", path=INVOCATION).code == "ValidationError"  # there is no endpoint
    header = {"x-amzn-sagemaker-inference-component": "c"}
    component = gatehouse.ask(ann, "sagemaker", path=INVOCATION, headers=header)
    assert f"resource: arn:aws:sagemaker:{AT}:inference-component/c because" in component.document["message"]
    streamed = gatehouse.ask(ann, "sagemaker", path="/endpoints/e/invocations-response-stream")
    assert "perform: sagemaker:InvokeEndpointWithResponseStream" in streamed.document["message"]


def test_passing_a_role_is_an_action_of_its_own(gatehouse: Gatehouse) -> None:
    """For this service only. Ledger: access.pass-role."""
    role = gatehouse.role("execution", allow("*"))
    create = allow("sagemaker:CreateModel")
    pass_on = allow(
        "iam:PassRole", resource=role, when={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    )
    elsewhere = allow(
        "iam:PassRole", resource=role, when={"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}
    )
    outcomes = {}
    for name, statements in {"ann": [create], "bob": [create, elsewhere], "eve": [create, pass_on]}.items():
        who = gatehouse.user(name, *statements)
        model = {"ModelName": name, "ExecutionRoleArn": role, "PrimaryContainer": CONTAINER}
        outcomes[name] = gatehouse.call(who, "sagemaker", "CreateModel", **model)
    assert [each.status for each in outcomes.values()] == [400, 400, 200]
    assert f"perform: iam:PassRole on resource: {role} because" in outcomes["bob"].document["message"]


def test_tags_on_a_create_are_an_action_of_its_own(gatehouse: Gatehouse) -> None:
    """And only when there are some. Ledger: access.add-tags."""
    role = gatehouse.role("execution")
    ann = gatehouse.user("ann", allow("sagemaker:CreateModel", "iam:PassRole"))
    model = {"ExecutionRoleArn": role, "PrimaryContainer": CONTAINER}
    assert gatehouse.call(ann, "sagemaker", "CreateModel", ModelName="a", **model).status == 200
    tagged = gatehouse.call(ann, "sagemaker", "CreateModel", ModelName="b", Tags=[{"Key": "k", "Value": "v"}], **model)
    assert f"perform: sagemaker:AddTags on resource: {MODEL}/b because" in tagged.document["message"]


def test_what_a_create_must_be_tagged_with(gatehouse: Gatehouse) -> None:
    """aws:RequestTag and aws:TagKeys are those of the request."""
    role = gatehouse.role("execution")
    must = {"StringEquals": {"aws:RequestTag/Team": "a"}, "ForAllValues:StringEquals": {"aws:TagKeys": ["Team"]}}
    ann = gatehouse.user("ann", allow("sagemaker:CreateModel", when=must), allow("iam:PassRole", "sagemaker:AddTags"))
    model = {"ExecutionRoleArn": role, "PrimaryContainer": CONTAINER}

    def outcome(name: str, **tags: str) -> int:
        listed = [{"Key": key, "Value": value} for key, value in tags.items()]
        return gatehouse.call(ann, "sagemaker", "CreateModel", ModelName=name, Tags=listed, **model).status

    assert [outcome("a"), outcome("b", Team="b"), outcome("c", Team="a", Other="x"), outcome("d", Team="a")] == [
        400,
        400,
        400,
        200,
    ]


def test_what_a_resource_is_tagged_with(gatehouse: Gatehouse) -> None:
    """aws:ResourceTag is that of the resource as it is, and may be compared with the caller's own tag."""
    role = gatehouse.role("execution")
    for name, team in (("ours", "a"), ("theirs", "b")):
        tags = [{"Key": "team", "Value": team}]
        model = {"ExecutionRoleArn": role, "PrimaryContainer": CONTAINER, "Tags": tags}
        assert gatehouse.call(ROOT, "sagemaker", "CreateModel", ModelName=name, **model).status == 200
    same = {"StringEquals": {"aws:ResourceTag/team": "${aws:PrincipalTag/team}"}}
    ann = gatehouse.user("ann", allow("sagemaker:DeleteModel", when=same))
    assert gatehouse.call(ann, "sagemaker", "DeleteModel", ModelName="theirs").code == "AccessDeniedException"
    assert gatehouse.call(ann, "sagemaker", "DeleteModel", ModelName="ours").status == 200


def test_the_guard_on_instance_types(gatehouse: Gatehouse) -> None:
    """One variant of another type is enough to be denied, and the text says why."""
    guard = {
        "Effect": "Deny",
        "Action": "sagemaker:CreateEndpointConfig",
        "Resource": "*",
        "Condition": {"ForAnyValue:StringNotLike": {"sagemaker:InstanceTypes": ["ml.g5.*", "ml.g6.*"]}},
    }
    ann = gatehouse.user("ann", allow("*"), guard)

    def outcome(*types: str) -> Any:  # noqa: ANN401 - an answer
        variants = [
            {"VariantName": f"v{index}", "InstanceType": each, "InitialInstanceCount": 1}
            for index, each in enumerate(types)
        ]
        role = f"arn:aws:iam::{ACCOUNT}:role/x"
        fields = {"EndpointConfigName": "-".join(types).replace(".", "-"), "ExecutionRoleArn": role}
        return gatehouse.call(ann, "sagemaker", "CreateEndpointConfig", ProductionVariants=variants, **fields)

    assert outcome("ml.g5.xlarge", "ml.g6.xlarge").status == 200
    denied = outcome("ml.g5.xlarge", "ml.p5.48xlarge")
    assert denied.code == "AccessDeniedException"
    assert denied.document["message"].endswith("with an explicit deny in an identity-based policy")


def test_a_boundary_narrows(gatehouse: Gatehouse) -> None:
    """The text names it."""
    ann = gatehouse.user("ann", allow("*"), boundary=allow("sagemaker:List*"))
    assert gatehouse.call(ann, "sagemaker", "ListEndpoints").status == 200
    denied = gatehouse.call(ann, "sagemaker", "DeleteModel", ModelName="m")
    words = "because no permissions boundary allows the sagemaker:DeleteModel action"
    assert denied.document["message"].endswith(words)


def test_a_session_policy_narrows(gatehouse: Gatehouse) -> None:
    """The text names it, and the session."""
    gatehouse.role("r", allow("*"))
    session = gatehouse.session("r", policy=allow("sagemaker:ListModels"))
    assert gatehouse.call(session, "sagemaker", "ListModels").status == 200
    denied = gatehouse.call(session, "sagemaker", "ListEndpoints").document["message"]
    assert denied.startswith(f"User: arn:aws:sts::{ACCOUNT}:assumed-role/r/me is not authorized")
    assert denied.endswith("because no session policy allows the sagemaker:ListEndpoints action")


def test_the_region_of_a_request(gatehouse: Gatehouse) -> None:
    """aws:RequestedRegion is the cloud's own."""
    here = gatehouse.user("ann", allow("*", when={"StringEquals": {"aws:RequestedRegion": REGION}}))
    there = gatehouse.user("bob", allow("*", when={"StringEquals": {"aws:RequestedRegion": "us-east-1"}}))
    assert gatehouse.call(here, "sagemaker", "ListModels").status == 200
    assert gatehouse.call(there, "sagemaker", "ListModels").code == "AccessDeniedException"


def test_logs_and_alarms_by_name(gatehouse: Gatehouse) -> None:
    """A policy about some names is about no others, and every name that a request has must be allowed."""
    logs = allow("logs:FilterLogEvents", resource=f"arn:aws:logs:{AT}:log-group:/aws/sagemaker/*")
    alarms = allow("cloudwatch:DeleteAlarms", resource=f"arn:aws:cloudwatch:{AT}:alarm:twin-*")
    ann = gatehouse.user("ann", logs, alarms)
    ours = gatehouse.call(ann, "logs", "FilterLogEvents", logGroupName="/aws/sagemaker/x")
    assert ours.code == "ResourceNotFoundException"
    theirs = gatehouse.call(ann, "logs", "FilterLogEvents", logGroupName="/y")
    assert theirs.code == "AccessDeniedException"
    assert gatehouse.call(ann, "cloudwatch", "DeleteAlarms", AlarmNames=["twin-a"]).status == 200
    both = gatehouse.call(ann, "cloudwatch", "DeleteAlarms", AlarmNames=["twin-a", "x"])
    assert f"on resource: arn:aws:cloudwatch:{AT}:alarm:x because" in both.document["message"]


def register(gatehouse: Gatehouse, who: tuple[str, ...]) -> Any:  # noqa: ANN401 - an answer
    """Ask for a scalable target of an endpoint that is not there."""
    return gatehouse.call(
        who,
        "autoscaling",
        "RegisterScalableTarget",
        ServiceNamespace="sagemaker",
        ResourceId="endpoint/e/variant/v",
        ScalableDimension="sagemaker:variant:DesiredInstanceCount",
        MinCapacity=1,
        MaxCapacity=2,
    )


def test_the_first_scalable_target_needs_the_service_s_role(gatehouse: Gatehouse) -> None:
    """As long as it does not exist. Ledger: access.service-linked-role."""
    linked = "sagemaker.application-autoscaling.amazonaws.com"
    name = "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
    namespace = {"StringEquals": {"application-autoscaling:service-namespace": "sagemaker"}}
    statements = [allow("application-autoscaling:*", when=namespace), allow("sagemaker:*")]
    make = allow("iam:CreateServiceLinkedRole", when={"StringEquals": {"iam:AWSServiceName": linked}})
    ann, bob = gatehouse.user("ann", *statements), gatehouse.user("bob", *statements, make)
    denied = register(gatehouse, ann).document["message"]
    arn = f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/{linked}/{name}"
    assert f"perform: iam:CreateServiceLinkedRole on resource: {arn} because" in denied
    assert register(gatehouse, bob).code == "ValidationException"  # allowed; there is no such endpoint
    gatehouse.role(name)
    later = Gatehouse(gatehouse.folder, records=gatehouse.records)
    assert register(later, ann).code == "ValidationException"


def test_a_scalable_target_needs_permissions_on_what_it_scales(gatehouse: Gatehouse) -> None:
    """All that are missing are named. Ledger: access.denied.further."""
    ann = gatehouse.user("ann", allow("application-autoscaling:*", "iam:CreateServiceLinkedRole"))
    found = register(gatehouse, ann)
    missing = "sagemaker:DescribeEndpoint, sagemaker:UpdateEndpointWeightsAndCapacities"
    assert found.code == "ValidationException"
    assert found.document["message"] == f"User is missing the following permissions: {missing}"


# --- the execution role, stacks, the record ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "outcome"),
    [
        ({}, 200),
        ({"StringEquals": {"aws:SourceAccount": ACCOUNT}}, 200),
        ({"StringEquals": {"aws:SourceAccount": "111111111111"}}, 400),
        ({"ArnLike": {"aws:SourceArn": f"arn:aws:sagemaker:{AT}:*"}}, 200),
        ({"ArnLike": {"aws:SourceArn": f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:*"}}, 400),
        ({"StringEquals": {"sts:ExternalId": "x"}}, 400),
    ],
)
def test_the_trust_of_an_execution_role(gatehouse: Gatehouse, condition: Any, outcome: int) -> None:  # noqa: ANN401 - JSON
    """SageMaker says for which account and which resource it acts. Ledger: sm.model.role, access.execution-role."""
    trust = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = gatehouse.role("r", trust={**trust, "Condition": condition})
    found = gatehouse.call(
        ROOT, "sagemaker", "CreateModel", ModelName="m", ExecutionRoleArn=role, PrimaryContainer=CONTAINER
    )
    assert found.status == outcome
    if outcome != 200:
        assert found.document["message"] == ledger.text("sm.model.role", role=role)


@pytest.mark.parametrize(
    ("uri", "statements", "outcome"),
    [
        ("s3://b/models/m.tar.gz", [allow("s3:GetObject", resource="arn:aws:s3:::b/models/*")], 200),
        ("s3://b/models/m.tar.gz", [allow("s3:GetObject", resource="arn:aws:s3:::b/others/*")], 400),
        ("s3://b/models/m.tar.gz", [], 400),
        ("s3://b/models/", [allow("s3:GetObject", resource="arn:aws:s3:::b/models/*")], 400),
        (
            "s3://b/models/",
            [
                allow("s3:GetObject", resource="arn:aws:s3:::b/models/*"),
                allow(
                    "s3:ListBucket",
                    resource="arn:aws:s3:::b",
                    when={"StringLike": {"s3:prefix": ["models/*", "models"]}},
                ),
            ],
            200,
        ),
    ],
)
def test_the_model_s_data_is_read_with_the_role(
    gatehouse: Gatehouse, uri: str, statements: list[dict[str, Any]], outcome: int
) -> None:
    """A whole prefix has to be listed too. Ledger: sm.model.access."""
    role = gatehouse.role("r", *statements)
    kind = "S3Prefix" if uri.endswith("/") else "S3Object"
    source = {"S3Uri": uri, "S3DataType": kind, "CompressionType": "None"}
    container = {**CONTAINER, "ModelDataSource": {"S3DataSource": source}}
    found = gatehouse.call(
        ROOT, "sagemaker", "CreateModel", ModelName="m", ExecutionRoleArn=role, PrimaryContainer=container
    )
    assert found.status == outcome
    if outcome != 200:
        assert found.document["message"] == ledger.text("sm.model.access", uri=uri, role=role, region=REGION)


def test_stacks_act_for_whoever_asked_for_them(gatehouse: Gatehouse) -> None:
    """Unsigned, with the key that no client knows; with that one's permissions, and aws:CalledVia says so.

    Ledger: access.stacks.
    """
    via = {"ForAnyValue:StringEquals": {"aws:CalledVia": "cloudformation.amazonaws.com"}}
    gatehouse.user("ann", allow("sagemaker:ListModels", when=via))
    target = {"x-amz-target": "SageMaker.ListModels"}
    unsigned = ("AKIAann", "not the secret")

    def ask(**more: str) -> Any:  # noqa: ANN401 - an answer
        return gatehouse.ask(unsigned, "sagemaker", body=b"{}", headers=target | more)

    assert ask(**{"x-local-cloud-key": "own"}).status == 200
    assert ask(**{"x-local-cloud-key": "guessed"}).code == "InvalidSignatureException"
    direct = gatehouse.ask(("AKIAann", "secret"), "sagemaker", body=b"{}", headers=target)
    assert direct.code == "AccessDeniedException"


def test_every_decision_is_on_record(gatehouse: Gatehouse) -> None:
    """Allowed and denied ones, until they are deleted."""
    role = gatehouse.role("execution", allow("*"))
    ann = gatehouse.user("ann", allow("sagemaker:CreateModel", "iam:PassRole"))
    gatehouse.call(ann, "sagemaker", "CreateModel", ModelName="m", ExecutionRoleArn=role, PrimaryContainer=CONTAINER)
    gatehouse.call(ann, "sagemaker", "DeleteModel", ModelName="m")
    gatehouse.call(ROOT, "sagemaker", "ListModels")
    assert gatehouse.log() == [
        (ANN, "sagemaker:CreateModel", f"{MODEL}/m", True),
        (ANN, "iam:PassRole", role, True),
        ("sagemaker.amazonaws.com", "sts:AssumeRole", role, True),
        (ANN, "sagemaker:DeleteModel", f"{MODEL}/m", False),
        (f"arn:aws:iam::{ACCOUNT}:root", "sagemaker:ListModels", "*", True),
    ]
    gatehouse.cloud.local["DELETE", "/_local/authorizations"]()
    assert gatehouse.log() == []
