"""Who may do what, asked through the wire protocol of the cloud's own services."""

from __future__ import annotations

from typing import Any

from tests.unit.emulator.iam.gatehouse import ACCOUNT, REGION, ROOT, Gatehouse, allow
from tests.unit.emulator.world import IMAGE

AT = f"{REGION}:{ACCOUNT}"
MODEL = f"arn:aws:sagemaker:{AT}:model"
INVOCATION = "/endpoints/e/invocations"
ANN = f"arn:aws:iam::{ACCOUNT}:user/ann"
CONTAINER = {"Image": IMAGE}


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
