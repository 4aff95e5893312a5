"""What operations need, and that the table is about what the cloud answers."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from llm_deploy.emulator import autoscaling, cloudwatch, logs, quotas, sagemaker
from llm_deploy.emulator.clock import ManualClock
from llm_deploy.emulator.iam.requirements import Need, Source, needs_beside, needs_of, table
from llm_deploy.emulator.protocol.model import load
from llm_deploy.emulator.service import Cloud
from llm_deploy.emulator.settings import CloudSettings
from llm_deploy.emulator.store import Store

PLACE = {"region": "eu-central-1", "account": "000000000000"}
AT = "eu-central-1:000000000000"
ROLE = "arn:aws:iam::000000000000:role/execution"
IMPLIED = {"ScalableTarget", "GroupName", "nothing"}
"""Members that a service adds, see `Cloud.implied`; and one that nothing has."""


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    """A cloud with every service of its own."""
    made = Cloud(CloudSettings(state_dir=tmp_path), ManualClock(), Store(None), random.Random(1))  # noqa: S311 - ids, nothing secret
    for service in (logs, cloudwatch, quotas, autoscaling, sagemaker):
        service.install(made)
    return made


def needed(service: str, operation: str, **params: object) -> list[tuple[str, str]]:
    """Actions and resources, in order."""
    return [(need.action, need.resource) for need in needs_of(service, operation, dict(params), PLACE)]


def test_every_operation_that_is_answered_is_in_the_table(cloud: Cloud) -> None:
    """An operation without an entry would fail at its first call, or worse, be open to everybody."""
    for service in cloud.registry.json.values():
        assert service.operations.keys() == table()[service.model].operations.keys()


def test_every_member_that_the_table_names_is_one_of_the_operation() -> None:
    """A misspelt member would silently be no resource and no condition key."""
    for name, service in table().items():
        if name == "cloudformation":  # a form, which the backend reads
            continue
        model = load(name)
        for operation, rule in service.operations.items():
            sources = [*rule.on.values(), *rule.keys.values(), *(s for also in rule.also for s in also.on.values())]
            members = [source.of for source in sources]
            members += [each for each in (rule.tags, rule.request_tags, rule.tag_keys, rule.passes) if each]
            if operation not in model.operations:  # an action that no service model has as an operation
                assert not members
                continue
            shape = model.input_shape(operation)
            assert shape is not None
            for member in members:
                assert member in IMPLIED or _exists(model.shapes, shape, member), (operation, member)


def _exists(shapes: dict[str, dict[str, object]], shape: str, path: str) -> bool:
    described: dict[str, object] = shapes[shape]
    for part in path.split("."):
        members: object = described.get("members", {})
        member = members.get(part.removesuffix("[]")) if isinstance(members, dict) else None
        if member is None:
            return False
        described = shapes[member["shape"]]
        if part.endswith("[]"):
            inner: object = described["member"]
            assert isinstance(inner, dict)
            described = shapes[inner["shape"]]
    return True


def test_every_entry_has_a_source_and_a_grade() -> None:
    """As the ledger's."""
    for service in table().values():
        for rule in service.operations.values():
            assert rule.source.strip()
            assert rule.grade in {"M", "P", "D", "R", "L"}


def test_create_and_update_of_endpoints_are_about_two_resources() -> None:
    """Both must be allowed."""
    for operation in ("CreateEndpoint", "UpdateEndpoint"):
        assert needed("sagemaker", operation, EndpointName="Twin", EndpointConfigName="twin-1") == [
            (f"sagemaker:{operation}", f"arn:aws:sagemaker:{AT}:endpoint/twin"),
            (f"sagemaker:{operation}", f"arn:aws:sagemaker:{AT}:endpoint-config/twin-1"),
        ]


def test_an_invocation_is_about_the_component_too_when_it_names_one() -> None:
    """And only then."""
    endpoint = ("sagemaker:InvokeEndpoint", f"arn:aws:sagemaker:{AT}:endpoint/e")
    component = ("sagemaker:InvokeEndpoint", f"arn:aws:sagemaker:{AT}:inference-component/c")
    assert needed("sagemaker-runtime", "InvokeEndpoint", EndpointName="e") == [endpoint]
    whole = needed("sagemaker-runtime", "InvokeEndpoint", EndpointName="e", InferenceComponentName="c")
    assert whole == [endpoint, component]


def test_a_model_passes_its_role_and_its_tags_need_another_action() -> None:
    """Ledger: access.pass-role, access.add-tags."""
    tags = [{"Key": "Team", "Value": "a"}]
    found = needs_of("sagemaker", "CreateModel", {"ModelName": "m", "ExecutionRoleArn": ROLE, "Tags": tags}, PLACE)
    arn = f"arn:aws:sagemaker:{AT}:model/m"
    request = {"aws:requesttag/team": ("a",), "aws:tagkeys": ("Team",)}
    assert found == [
        Need("sagemaker:CreateModel", arn, request),
        Need("sagemaker:AddTags", arn, request | {"sagemaker:taggingaction": ("CreateModel",)}),
        Need("iam:PassRole", ROLE, {"iam:passedtoservice": ("sagemaker.amazonaws.com",)}),
    ]
    assert needed("sagemaker", "CreateModel", ModelName="m") == [("sagemaker:CreateModel", arn)]


@pytest.mark.parametrize("name", ["app", f"arn:aws:cloudformation:{AT}:stack/app/1"])
def test_a_stack_with_tags_needs_another_action(name: str) -> None:
    """Ledger: access.tag-stacks, access.pass-role. Its own action the backend decides about."""
    params = {"StackName": name, "Tags": [{"Key": "Team", "Value": "a"}], "RoleARN": ROLE}
    request = {"aws:requesttag/team": ("a",), "aws:tagkeys": ("Team",)}
    arn = name if name.startswith("arn:") else f"arn:aws:cloudformation:{AT}:stack/app/*"
    passing = Need("iam:PassRole", ROLE, {"iam:passedtoservice": ("cloudformation.amazonaws.com",)})
    assert needs_beside("cloudformation", "CreateStack", params, PLACE) == [
        Need("cloudformation:TagResource", arn, request | {"cloudformation:createaction": ("CreateStack",)}),
        passing,
    ]
    assert needs_beside("cloudformation", "CreateStack", {**params, "Tags": []}, PLACE) == [passing]
    assert needs_beside("cloudformation", "DescribeStacks", params, PLACE) == []


def test_the_condition_keys_of_an_endpoint_config() -> None:
    """One value for each variant."""
    variants = [
        {"VariantName": "a", "InstanceType": "ml.g5.xlarge", "ModelName": "M"},
        {"VariantName": "b", "InstanceType": "ml.p5.48xlarge"},
    ]
    params = {
        "EndpointConfigName": "c",
        "ProductionVariants": variants,
        "KmsKeyId": "key",
        "VpcConfig": {"Subnets": ["s-1", "s-2"], "SecurityGroupIds": ["g-1"]},
        "EnableNetworkIsolation": True,
    }
    (need,) = needs_of("sagemaker", "CreateEndpointConfig", params, PLACE)
    assert need.keys == {
        "sagemaker:instancetypes": ("ml.g5.xlarge", "ml.p5.48xlarge"),
        "sagemaker:modelarn": (f"arn:aws:sagemaker:{AT}:model/m",),
        "sagemaker:volumekmskey": ("key",),
        "sagemaker:vpcsubnets": ("s-1", "s-2"),
        "sagemaker:vpcsecuritygroupids": ("g-1",),
        "sagemaker:networkisolation": ("true",),
    }


def test_a_scalable_target_needs_what_it_scales() -> None:
    """By the kind of resource. Ledger: access.denied.further."""
    variant = needs_of(
        "application-autoscaling",
        "RegisterScalableTarget",
        {"ServiceNamespace": "sagemaker", "ResourceId": "endpoint/e/variant/v", "ScalableDimension": "d"},
        PLACE,
    )
    assert variant[0].keys == {
        "application-autoscaling:service-namespace": ("sagemaker",),
        "application-autoscaling:scalable-dimension": ("d",),
    }
    assert [(need.action, need.own) for need in variant] == [
        ("application-autoscaling:RegisterScalableTarget", True),
        ("sagemaker:DescribeEndpoint", False),
        ("sagemaker:UpdateEndpointWeightsAndCapacities", False),
    ]
    component = needed("application-autoscaling", "RegisterScalableTarget", ResourceId="inference-component/c")
    assert component[1:] == [
        ("sagemaker:DescribeInferenceComponent", f"arn:aws:sagemaker:{AT}:inference-component/c"),
        ("sagemaker:UpdateInferenceComponentRuntimeConfig", f"arn:aws:sagemaker:{AT}:inference-component/c"),
    ]


def test_only_target_tracking_makes_alarms() -> None:
    """Step policies are given theirs."""
    tracking = needed(
        "application-autoscaling",
        "PutScalingPolicy",
        ResourceId="endpoint/e/variant/v",
        PolicyType="TargetTrackingScaling",
    )
    assert tracking[1] == (
        "cloudwatch:PutMetricAlarm",
        f"arn:aws:cloudwatch:{AT}:alarm:TargetTracking-endpoint/e/variant/v-*",
    )
    assert len(needed("application-autoscaling", "PutScalingPolicy", ResourceId="x", PolicyType="StepScaling")) == 1


@pytest.mark.parametrize(
    ("operation", "params", "resources"),
    [
        ("DescribeAlarms", {}, ["alarm:*"]),
        ("DescribeAlarms", {"AlarmNames": ["a", "b"]}, ["alarm:a", "alarm:b"]),
        ("DeleteAlarms", {"AlarmNames": ["a"]}, ["alarm:a"]),
    ],
)
def test_alarms_by_name(operation: str, params: dict[str, object], resources: list[str]) -> None:
    """One resource for each name; without names all of them."""
    wanted = [(f"cloudwatch:{operation}", f"arn:aws:cloudwatch:{AT}:{resource}") for resource in resources]
    assert needed("cloudwatch", operation, **params) == wanted


@pytest.mark.parametrize(
    ("operation", "params", "resource"),
    [
        ("DescribeLogGroups", {}, "log-group::log-stream:"),
        ("FilterLogEvents", {"GroupName": "/aws/x"}, "log-group:/aws/x:log-stream:"),
        ("GetLogEvents", {"GroupName": "/aws/x", "logStreamName": "s"}, "log-group:/aws/x:log-stream:s"),
    ],
)
def test_logs_by_group_and_stream(operation: str, params: dict[str, object], resource: str) -> None:
    """As AWS's denials name them."""
    assert needed("logs", operation, **params) == [(f"logs:{operation}", f"arn:aws:logs:{AT}:{resource}")]


def test_lists_have_no_resource() -> None:
    """A policy about one of them allows no list."""
    for name, service in table().items():
        for operation in service.operations:
            if name == "sagemaker" and re.match(r"List(?!Tags)", operation):
                assert needed(name, operation) == [(f"sagemaker:{operation}", "*")]


def test_a_source_without_a_value_gives_no_resource() -> None:
    """Unless the table says what stands for it."""
    assert Source(of="x").default is None
    assert needed("sagemaker-runtime", "InvokeEndpointAsync") == [("sagemaker:InvokeEndpointAsync", "*")]
