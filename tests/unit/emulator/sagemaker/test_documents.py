"""Models, configs, tags, lists: what is kept, shown and refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from llm_deploy.emulator.sagemaker.instances import Room, capacity, place
from llm_deploy.emulator.sagemaker.listing import Listing
from llm_deploy.emulator.sagemaker.standin import asked_model, dialect, is_stand_in
from tests.unit.emulator.world import IMAGE, ROLE, RefusedError, World, in_world


def test_a_role_that_sagemaker_cannot_assume_is_refused() -> None:
    """The lookup's answer decides. Ledger: sm.model.role."""

    async def story(here: World) -> None:
        async def lookup(role: str, source: str) -> bool:
            assert source.endswith(":model/m")
            return role.endswith("/good")

        here.cloud.hooks.role_lookup = lookup
        container = {"Image": IMAGE}
        with pytest.raises(RefusedError, match=r"^Could not assume role arn:aws:iam::000000000000:role/bad\. Please"):
            await here.call(
                "CreateModel",
                ModelName="m",
                ExecutionRoleArn="arn:aws:iam::000000000000:role/bad",
                PrimaryContainer=container,
            )
        await here.call(
            "CreateModel",
            ModelName="m",
            ExecutionRoleArn="arn:aws:iam::000000000000:role/good",
            PrimaryContainer=container,
        )

    in_world(story)


def test_model_data_must_be_there() -> None:
    """A prefix without objects is refused. Ledger: sm.model.data, sm.model.prefix."""

    async def story(here: World) -> None:
        async def has_objects(bucket: str, prefix: str) -> bool:
            return (bucket, prefix) == ("weights", "there/")

        here.cloud.hooks.s3_has_objects = has_objects

        async def create(uri: str) -> None:
            source = {"S3Uri": uri, "S3DataType": "S3Prefix", "CompressionType": "None"}
            container = {"Image": IMAGE, "ModelDataSource": {"S3DataSource": source}}
            await here.call("CreateModel", ModelName="m", ExecutionRoleArn=ROLE, PrimaryContainer=container)

        with pytest.raises(RefusedError, match=r"^Could not find model data at s3://weights/absent/\.$"):
            await create("s3://weights/absent/")
        with pytest.raises(RefusedError, match="must end with a forward slash"):
            await create("s3://weights/there")
        await create("s3://weights/there/")

    in_world(story)


def test_two_creates_of_one_name_make_one_model() -> None:
    """Even when both looked before either wrote."""

    async def story(here: World) -> None:
        done = await asyncio.gather(here.model(), here.model(), return_exceptions=True)
        assert sum(isinstance(each, RefusedError) for each in done) == 1

    in_world(story)


@pytest.mark.parametrize(
    ("variant", "more", "words"),
    [
        ({"ModelName": "absent"}, {}, "Could not find model"),
        ({}, {}, "ExecutionRoleArn is required"),
        ({"VolumeSizeInGB": 100}, {"ExecutionRoleArn": ROLE}, "VolumeSize parameter is not allowed"),
        (
            {"ModelName": "m", "ManagedInstanceScaling": {"Status": "ENABLED"}},
            {},
            "only supported for inference component",
        ),
        ({"InstanceType": None}, {"ExecutionRoleArn": ROLE}, "InstanceType and InitialInstanceCount"),
        (
            {"ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 1}},
            {"ExecutionRoleArn": ROLE},
            "not implement",
        ),
    ],
)
def test_configs_that_aws_refuses(variant: dict[str, Any], more: dict[str, Any], words: str) -> None:
    """Ledger: sm.config.*."""
    whole = {"VariantName": "v", "InstanceType": "ml.g5.xlarge", "InitialInstanceCount": 1, **variant}
    whole = {key: value for key, value in whole.items() if value is not None}

    async def story(here: World) -> None:
        await here.model()
        with pytest.raises(RefusedError, match=words):
            await here.call("CreateEndpointConfig", EndpointConfigName="c", ProductionVariants=[whole], **more)

    in_world(story)


def test_what_aws_has_and_the_cloud_lacks_is_refused_loudly_and_counted() -> None:
    """Nothing pretends. Ledger: local.not-implemented, protocol.unknown-operation."""

    async def story(here: World) -> None:
        with pytest.raises(RefusedError, match="does not implement sagemaker:CreateTrainingJob") as refused:
            await here.call("CreateTrainingJob")
        assert refused.value.code == "LocalCloudNotImplemented"
        assert here.cloud.unknown == {"sagemaker:CreateTrainingJob": 1}
        with pytest.raises(RefusedError) as refused:
            await here.call("MakeCoffee")
        assert refused.value.code == "UnknownOperationException"

    in_world(story)


def test_tags_live_and_die_with_their_resource() -> None:
    """Set at creation, added, removed, gone with the resource."""

    async def story(here: World) -> None:
        tags = [{"Key": "team", "Value": "a"}]
        container = {"Image": IMAGE}
        made = await here.call(
            "CreateModel", ModelName="M", ExecutionRoleArn=ROLE, PrimaryContainer=container, Tags=tags
        )
        arn = made["ModelArn"]
        assert arn.endswith(":model/m")
        await here.call("AddTags", ResourceArn=arn, Tags=[{"Key": "team", "Value": "b"}, {"Key": "x", "Value": ""}])
        await here.call("DeleteTags", ResourceArn=arn, TagKeys=["x", "absent"])
        assert (await here.call("ListTags", ResourceArn=arn))["Tags"] == [{"Key": "team", "Value": "b"}]
        await here.call("DeleteModel", ModelName="M")
        with pytest.raises(RefusedError, match="Could not find resource"):
            await here.call("ListTags", ResourceArn=arn)

    in_world(story)


def test_the_clouds_own_tags_are_not_the_users() -> None:
    """Keys that begin with aws: can be neither set nor removed. Ledger: sm.tags.reserved."""

    async def story(here: World) -> None:
        await here.endpoint(model=None)
        await here.model(HF_MODEL_ID="mlabonne/TwinLlama-3.1-8B-DPO")
        await here.component()
        arn = (await here.call("DescribeInferenceComponent", InferenceComponentName="c"))["InferenceComponentArn"]
        wanted = {"Key": "aws:local:stand-in", "Value": "smollm2-135m-instruct for mlabonne/TwinLlama-3.1-8B-DPO"}
        assert (await here.call("ListTags", ResourceArn=arn))["Tags"] == [wanted]
        with pytest.raises(RefusedError, match="reserved"):
            await here.call("DeleteTags", ResourceArn=arn, TagKeys=["aws:local:stand-in"])
        with pytest.raises(RefusedError, match="reserved"):
            await here.call("AddTags", ResourceArn=arn, Tags=[{"Key": "aws:x", "Value": ""}])
        assert (await here.call("ListTags", ResourceArn=arn))["Tags"] == [wanted]

    in_world(story)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (IMAGE, "tgi"),
        ("763104351884.dkr.ecr.eu-central-1.amazonaws.com/djl-inference:0.36.0-lmi18.0.0-cu128", "lmi"),
        ("763104351884.dkr.ecr.us-east-1.amazonaws.com/huggingface-vllm:0.29.0-transformers5.15.0", "openai"),
        ("763104351884.dkr.ecr.us-east-1.amazonaws.com/sglang:0.5", "openai"),
        ("000000000000.dkr.ecr.eu-central-1.amazonaws.com/my-llama-cpp@sha256:abc", "openai"),
        ("vllm-fans/unknown:vllm", "tgi"),
        ("", "tgi"),
    ],
)
def test_the_dialect_follows_from_the_repository_and_nothing_else(image: str, expected: str) -> None:
    """Neither the registry's name nor the tag decides. Ledger: local.dialect."""
    assert dialect(image) == expected


def test_which_model_a_container_asks_for() -> None:
    """The image's variable, or the S3 source when the variable points into the container."""
    source = {"S3DataSource": {"S3Uri": "s3://b/weights/"}}
    assert asked_model({"Environment": {"HF_MODEL_ID": "a/b"}}) == "a/b"
    assert (
        asked_model({"Environment": {"HF_MODEL_ID": "/opt/ml/model"}, "ModelDataSource": source}) == "s3://b/weights/"
    )
    assert asked_model({"ModelDataSource": source}) == "s3://b/weights/"
    assert asked_model({}) is None


def test_the_local_model_does_not_stand_in_for_itself() -> None:
    """Whoever published it, in whatever case."""
    assert not is_stand_in("smollm2-135m-instruct", "HuggingFaceTB/SmolLM2-135M-Instruct")
    assert is_stand_in("smollm2-135m-instruct", "HuggingFaceTB/SmolLM2-360M-Instruct")
    assert not is_stand_in("smollm2-135m-instruct", None)


def test_a_container_that_reserves_a_gpu_finds_as_many_places_as_there_are_gpus() -> None:
    """Spread over instances, whole devices only. Ledger: sm.component.spread."""
    one_gpu = Room(accelerators=1, cpus=2, memory_mib=1024)
    placed = place("ml.g5.12xlarge", ["i-1", "i-2"], [], one_gpu, 3)
    assert sorted(placed) in (["i-1", "i-1", "i-2"], ["i-1", "i-2", "i-2"])
    assert len(place("ml.g5.12xlarge", ["i-1", "i-2"], [], one_gpu, 100)) == 8
    assert capacity("ml.unknown.xlarge").holds(Room(8, 1000, 1e9))


LISTING = Listing("Things", "Name", ("Name", "CreationTime"), status="Status")
THINGS = st.lists(
    st.fixed_dictionaries(
        {
            "Name": st.text("abAB-1", min_size=1, max_size=4),
            "CreationTime": st.sampled_from([1.0, 2.0, 2.5]),
            "Status": st.sampled_from(["InService", "Failed"]),
        }
    ),
    max_size=25,
    unique_by=lambda each: each["Name"],
)


@settings(max_examples=200)
@given(
    THINGS,
    st.fixed_dictionaries(
        {"MaxResults": st.integers(1, 7)},
        optional={
            "SortBy": st.sampled_from(["Name", "CreationTime", "Status"]),
            "SortOrder": st.sampled_from(["Ascending", "Descending"]),
            "NameContains": st.sampled_from(["a", "B", "1"]),
            "StatusEquals": st.just("Failed"),
            "CreationTimeAfter": st.just(1.5),
        },
    ),
)
def test_pages_together_are_the_list(things: list[dict[str, Any]], params: dict[str, Any]) -> None:
    """Nothing twice, nothing missing, in order, whatever the filter and the size of a page."""
    whole = LISTING.page(things, {**params, "MaxResults": 100})["Things"]
    token, seen = None, []
    while True:
        page = LISTING.page(things, {**params, **({"NextToken": token} if token else {})})
        assert len(page["Things"]) <= params["MaxResults"]
        seen += page["Things"]
        token = page.get("NextToken")
        if token is None:
            break
    assert seen == whole
    wanted = [
        each["Name"]
        for each in things
        if params.get("NameContains", "").lower() in each["Name"].lower()
        and each["Status"] == params.get("StatusEquals", each["Status"])
        and each["CreationTime"] > params.get("CreationTimeAfter", 0)
    ]
    assert sorted(each["Name"] for each in whole) == sorted(wanted)


def test_a_page_goes_on_after_a_deletion() -> None:
    """The token names the last item, so what was deleted meanwhile shifts nothing."""
    things = [{"Name": name, "CreationTime": 1.0, "Status": "Failed"} for name in "abcdef"]
    params = {"MaxResults": 2, "SortBy": "Name", "SortOrder": "Ascending"}
    first = LISTING.page(things, params)
    second = LISTING.page(things[1:], {**params, "NextToken": first["NextToken"]})
    assert [each["Name"] for each in second["Things"]] == ["c", "d"]


@pytest.mark.parametrize("token", ["nonsense", "bnVsbA==", "WzEsIDJd", "W1tdLCAiYSJd"])
def test_a_foreign_token_is_refused(token: str) -> None:
    """Ledger: sm.list.token."""

    async def story(here: World) -> None:
        await here.model()
        with pytest.raises(RefusedError, match="NextToken"):
            await here.call("ListModels", NextToken=token)

    in_world(story)
