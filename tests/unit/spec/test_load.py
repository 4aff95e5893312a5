"""The loader: precedence, origins, and every problem at once with its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llm_deploy.errors import SpecError
from llm_deploy.settings import Settings, load_settings
from llm_deploy.spec import DeploymentSpec, EndpointType, Finding, HubModel, Limits, LoadedSpec, S3Model, load
from llm_deploy.spec.fields import EXPECTED, NAME_PATTERN
from llm_deploy.spec.load import NOTE_KEPT_BACK, is_pinned
from tests.specs import CONFIGS, OWN_FILES

Load = Callable[..., LoadedSpec]

TOKEN = "hf_" + "A1b2" * 9
SMALL = "name: mine\nmodel: owner/name\n"


def settings_from(text: str) -> Settings:
    Path(".env").write_text(text)
    return load_settings(".env")


def test_flags_win_over_the_file_and_the_file_over_defaults(load_text: Load) -> None:
    """And every value says where it came from."""
    loaded = load_text(
        SMALL + "instance: ml.g6.xlarge\n", overrides={"instance.max_count": "3", "resources.copies": "2"}
    )
    assert (loaded.spec.instance.type, loaded.spec.instance.max_count) == ("ml.g6.xlarge", 3)
    assert str(loaded.provenance["name"]) == "spec.yaml:1"
    assert str(loaded.provenance["instance.type"]) == "spec.yaml:3"
    assert str(loaded.provenance["instance.max_count"]) == "--set instance.max_count"
    assert str(loaded.provenance["resources.copies"]) == "--set resources.copies"
    assert str(loaded.provenance["instance.initial_count"]) == "default"
    assert str(loaded.provenance["engine"]) == "default"


def test_every_leaf_has_an_origin(load_text: Load) -> None:
    """Nothing in a spec is from nowhere."""
    loaded = load_text(SMALL + "network: {subnets: [subnet-1, subnet-2], security_group_ids: [sg-1]}\n")
    assert str(loaded.provenance["network.subnets[1]"]) == "spec.yaml:3"
    document = loaded.spec.model_dump()
    assert {name.partition(".")[0].partition("[")[0] for name in loaded.provenance} == set(document)


@pytest.mark.row("T2")
def test_a_stray_variable_never_changes_a_reviewed_file(load_text: Load) -> None:
    """GPUS in somebody's shell is not part of the review."""
    stray = settings_from("GPUS=8\nGPU_INSTANCE_TYPE=ml.p5.48xlarge\nHF_MODEL_ID=other/model\nCOPIES=9\n")
    assert load_text(SMALL, settings=stray).spec == load_text(SMALL).spec


@pytest.mark.row("T2")
def test_a_stray_variable_that_makes_no_sense_is_silent_until_it_counts(load_text: Load) -> None:
    """GPUS=all in somebody's shell breaks nothing but the deployment that it would describe."""
    stray = settings_from("GPUS=all\nCOPIES=0\n")
    assert load_text(SMALL, settings=stray).spec == load_text(SMALL).spec
    for path, text in ((None, ""), ("asks.yaml", SMALL + "from_env: true\n")):
        Path("asks.yaml").write_text(text)
        with pytest.raises(SpecError) as caught:
            load(path, settings=stray)
        lines = caught.value.message.splitlines()
        assert [line.partition(": ")[0] for line in lines] == [".env:2 COPIES", ".env:1 GPUS"]


@pytest.mark.row("T2")
def test_a_file_that_asks_for_it_is_filled_from_the_variables(load_text: Load) -> None:
    """from_env: true: the file still wins where it says something, and defaults of variables are not values."""
    settings = settings_from("\n# ours\nCPUS=4\nCOPIES=2\nMAX_TOTAL_TOKENS=8192\n")
    text = SMALL + "from_env: true\nresources:\n  copies: 3\n"
    loaded = load_text(text, settings=settings)
    assert loaded.spec.resources.copies == 3
    assert loaded.spec.resources.num_cpus == 4
    assert loaded.spec.limits.max_total_tokens == 8192
    assert loaded.spec.limits.max_input_tokens is None
    assert str(loaded.provenance["resources.num_cpus"]) == ".env:3 CPUS"


@pytest.mark.row("T2")
def test_without_a_file_the_variables_describe_the_twin(settings: Settings) -> None:
    """With no variable set it is configs/twin.yaml, in every field that reaches the cloud."""
    ours = load(None, settings=settings).spec
    reviewed = load(CONFIGS / "twin.yaml", settings=settings).spec
    same = {"autoscaling": reviewed.autoscaling and reviewed.autoscaling.model_copy(update={"metric": None})}
    assert ours == reviewed.model_copy(update=same)


VARIABLES: list[tuple[str, str, Callable[[Any], object], object]] = [
    ("HF_MODEL_ID", "other/model@main", lambda spec: spec.model, HubModel(id="other/model", revision="main")),
    ("HF_MODEL_ID", "s3://bucket/a/", lambda spec: spec.model, S3Model(s3_uri="s3://bucket/a/")),
    ("HF_MODEL_QUANTIZE", "awq", lambda spec: spec.quantize, "awq"),
    ("GPU_INSTANCE_TYPE", "ml.g6.xlarge", lambda spec: spec.instance.type, "ml.g6.xlarge"),
    ("SM_NUM_GPUS", "4", lambda spec: spec.resources.num_accelerators, 4),
    ("GPUS", "4", lambda spec: spec.resources.num_accelerators, 4),
    ("CPUS", "1.5", lambda spec: spec.resources.num_cpus, 1.5),
    ("COPIES", "3", lambda spec: (spec.resources.copies, spec.autoscaling.max_copies), (3, 3)),
    ("MAX_INPUT_LENGTH", "1000", lambda spec: spec.limits.max_input_tokens, 1000),
    ("MAX_TOTAL_TOKENS", "4000", lambda spec: spec.limits.max_total_tokens, 4000),
    ("MAX_BATCH_TOTAL_TOKENS", "9000", lambda spec: spec.limits.max_batch_total_tokens, 9000),
    ("MAX_BATCH_PREFILL_TOKENS", "3000", lambda spec: spec.limits.max_batch_prefill_tokens, 3000),
    ("SAGEMAKER_ENDPOINT_INFERENCE", "other", lambda spec: (spec.name, spec.endpoint_config_base), ("other", "other")),
    (
        "SAGEMAKER_ENDPOINT_CONFIG_INFERENCE",
        "conf",
        lambda spec: (spec.name, spec.endpoint_config_base),
        ("twin", "conf"),
    ),
    ("TEMPERATURE_INFERENCE", "0.5", lambda spec: spec.generation.temperature, 0.5),
    ("TOP_P_INFERENCE", "0.5", lambda spec: spec.generation.top_p, 0.5),
    ("MAX_NEW_TOKENS_INFERENCE", "99", lambda spec: spec.generation.max_new_tokens, 99),
]


@pytest.mark.row("T2")
@pytest.mark.parametrize(("name", "text", "field", "expected"), VARIABLES, ids=[row[0] for row in VARIABLES])
def test_each_variable_changes_its_field(
    name: str, text: str, field: Callable[[Any], object], expected: object
) -> None:
    """Any value changed in .env changes the deployment, without touching code."""
    loaded = load(None, settings=settings_from(f"{name}={text}\n"))
    assert field(loaded.spec) == expected
    assert f".env:1 {name}" in {str(origin) for origin in loaded.provenance.values()}


def test_two_words_for_one_number_must_agree() -> None:
    """SM_NUM_GPUS and GPUS are both the GPUs of one copy; a quarrel is not settled silently."""
    with pytest.raises(SpecError, match=r"\.env:2 GPUS: 2 contradicts \.env:1 SM_NUM_GPUS \(4\)"):
        load(None, settings=settings_from("SM_NUM_GPUS=4\nGPUS=2\n"))
    assert load(None, settings=settings_from("SM_NUM_GPUS=4\nGPUS=4\n")).spec.resources.num_accelerators == 4


def test_every_problem_is_reported_at_once_with_its_place(load_text: Load) -> None:
    """Errors of fields, of rules, of other judges, of flags: one run, one list."""
    text = (
        "name: my_twin\nengine: tgii\nmodel: owner/name\ninstanse: ml.g5.xlarge\n"
        "limits:\n  max_input_tokens: 9\n  max_total_tokens: 8\nresources:\n  copies: 0\n"
    )

    def judge(spec: object) -> list[Finding]:
        assert spec is not None
        return [Finding(("instance", "type"), "not sold here")]

    with pytest.raises(SpecError) as caught:
        load_text(text, overrides={"tags.aws:x": "y"}, judges=[judge])
    assert sorted(caught.value.message.splitlines()) == [
        "--set tags.aws:x: tags.aws:x: keys that begin with aws: belong to AWS.",
        "spec.yaml: instance.type: not sold here.",
        f"spec.yaml:1: name: 'my_twin'; expected {EXPECTED[NAME_PATTERN]}.",
        "spec.yaml:2: engine: 'tgii' is unknown; expected tgi, vllm, sglang, lmi, llamacpp; did you mean tgi?",
        "spec.yaml:4: instanse: unknown field; did you mean instance?",
        "spec.yaml:6: limits.max_input_tokens: 9 must be below max_total_tokens (8), or no room is left for an answer.",
        "spec.yaml:9: resources.copies: 0; expected at least 1.",
    ]


def test_a_rule_is_silent_about_a_field_that_is_wrong_by_itself(load_text: Load) -> None:
    """One mistake, one line."""
    with pytest.raises(SpecError) as caught:
        load_text(SMALL + "limits: {max_input_tokens: many, max_total_tokens: 1}\n")
    assert caught.value.message == "spec.yaml:3: limits.max_input_tokens: 'many'; expected a whole number."


def test_missing_fields_are_explained(load_text: Load) -> None:
    """What is needed and what for."""
    with pytest.raises(SpecError) as caught:
        load_text("engine: tgi\n")
    assert [line.partition(";")[0] for line in caught.value.message.splitlines()] == [
        "spec.yaml: name: missing",
        "spec.yaml: model: missing",
    ]


def test_a_token_in_the_wrong_place_is_not_repeated(load_text: Load) -> None:
    """A message may end in a log."""
    for text in (f"name: {TOKEN}\nmodel: a/b\n", f"name: a\nmodel: {TOKEN}\n", SMALL + f"tags: {{a: {TOKEN}}}\n"):
        with pytest.raises(SpecError) as caught:
            load_text(text)
        assert TOKEN not in caught.value.message


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"model": "other/model"}, {"model": HubModel(id="other/model")}),
        ({"model": "s3://bucket/a/"}, {"model": S3Model(s3_uri="s3://bucket/a/")}),
        ({"model.revision": "v2"}, {"model": HubModel(id="owner/name", revision="v2")}),
        ({"autoscaling": "null"}, {"autoscaling": None}),
        ({"environment.A.B": "no"}, None),
        ({"environment.A": "null"}, {"environment": {"X": "1", "A": "null"}}),
        ({"tags.a.b": "c=d"}, {"tags": {"a.b": "c=d"}}),
        ({"network": "{subnets: [subnet-1], security_group_ids: [sg-1]}"}, {}),
        ({"allow_token_in_environment": "true"}, {"allow_token_in_environment": True}),
        ({"nothing.here": "1"}, None),
        ({"instance..type": "1"}, None),
        ({"instance.type.x": "1"}, None),
    ],
    ids=str,
)
def test_flags_reach_every_field(load_text: Load, overrides: dict[str, str], expected: dict[str, Any] | None) -> None:
    """Dotted paths, whole values, lists, and `null`; what is no field is refused."""
    text = "name: mine\nmodel: owner/name@v1\nautoscaling: {max_copies: 4}\nenvironment: {X: 1}\n"
    if expected is None:
        with pytest.raises(SpecError, match="--set"):
            load_text(text, overrides=overrides)
        return
    loaded = load_text(text, overrides=overrides)
    for field, value in expected.items():
        assert getattr(loaded.spec, field) == value


def test_the_flag_for_the_endpoint_type_is_an_origin_of_its_own(load_text: Load) -> None:
    """`--endpoint-type model` on a file for components."""
    loaded = load_text(SMALL + "endpoint_type: inference-component\n", endpoint_type="model")
    assert loaded.spec.endpoint_type is EndpointType.MODEL_BASED
    assert str(loaded.provenance["endpoint_type"]) == "--endpoint-type"


def test_the_hub_token_goes_where_it_is_allowed_and_nowhere_else(load_text: Load) -> None:
    """Kept back with a note by default; handed over when the spec says so; never needed for S3."""
    settings = settings_from(f"HUGGINGFACE_ACCESS_TOKEN={TOKEN}\n")
    kept = load_text(SMALL, settings=settings)
    assert kept.spec.environment == {}
    assert kept.notes == (NOTE_KEPT_BACK,)
    sent = load_text(SMALL + "allow_token_in_environment: true\n", settings=settings)
    assert sent.spec.environment == {"HF_TOKEN": TOKEN}
    assert str(sent.provenance["environment.HF_TOKEN"]) == ".env:1 HUGGINGFACE_ACCESS_TOKEN"
    own = "allow_token_in_environment: true\nenvironment: {HF_TOKEN: mine}\n"
    assert load_text(SMALL + own, settings=settings).spec.environment == {"HF_TOKEN": "mine"}
    assert load_text("name: a\nmodel: s3://bucket/a/\n", settings=settings).notes == ()


def test_from_env_is_yes_or_no(load_text: Load) -> None:
    """And is no field of the spec."""
    with pytest.raises(SpecError, match=r"spec\.yaml:3: from_env: expected true or false"):
        load_text(SMALL + "from_env: maybe\n")


@pytest.mark.parametrize("path", OWN_FILES, ids=lambda path: path.name)
@pytest.mark.parametrize("endpoint_type", ["model", "inference-component"])
def test_our_own_files_are_right_for_both_endpoint_types(path: Path, endpoint_type: str, settings: Settings) -> None:
    """The examples that people copy hold every rule."""
    assert load(path, settings=settings, endpoint_type=endpoint_type)


def test_only_a_commit_hash_is_a_pin() -> None:
    """Tags and branches move."""
    assert is_pinned(HubModel(id="a/b", revision="0123456789abcdef" * 2 + "01234567"))
    assert not is_pinned(HubModel(id="a/b", revision="main"))
    assert not is_pinned(HubModel(id="a/b"))


WHY = "(9 more are added to make names from content, and AWS takes 63)"
MESSAGES = [
    ("instance: {initial_count: yes}", "instance.initial_count: true; expected a number."),
    ("engine: VLLM", "engine: 'VLLM' is unknown; expected tgi, vllm, sglang, lmi, llamacpp; did you mean vllm?"),
    (
        "endpoint_type: models",
        "endpoint_type: 'models' is unknown; expected model, inference-component; did you mean model?",
    ),
    ("environment: [A]", "environment: a value; expected a mapping of names to values."),
    ("network: {subnets: subnet-1}", "network.subnets: 'subnet-1'; expected a list."),
    ("engine_version: 3.3", "engine_version: 3.3; expected text; put it into quotes."),
    ("timeouts: {model_download_s: 5m}", "timeouts.model_download_s: '5m'; expected a whole number."),
    ("timeouts: {model_download_s: 59}", "timeouts.model_download_s: 59; expected at least 60."),
    ("quantize: AWQ", "quantize: 'AWQ'; expected the engine's word in small letters, such as awq or fp8."),
    ("resources: {memory: 1}", "resources.memory: unknown field; did you mean memory_mib?"),
    (f"variant_name: {'a' * 64}", "variant_name: 64 characters; expected at most 63."),
    (f"endpoint_config_name: {'a' * 55}", f"endpoint_config_name: 55 characters; expected at most 54 {WHY}."),
    ("variant_name: ''", "variant_name: empty; expected some text."),
    (f"network: {{subnets: [{'subnet-1, ' * 17}]}}", "network.subnets: 17 entries; expected at most 16."),
    (
        "nothing_like_it_at_all: 1",
        f"nothing_like_it_at_all: unknown field; fields: {', '.join(DeploymentSpec.model_fields)}.",
    ),
    ("limits: {zzz: 1}", f"limits.zzz: unknown field; fields of limits: {', '.join(Limits.model_fields)}."),
    ("autoscaling: 5", "autoscaling: 5; expected a mapping of fields."),
]


@pytest.mark.parametrize(("line", "message"), MESSAGES, ids=[line for line, _ in MESSAGES])
def test_messages_say_what_was_found_and_what_was_expected(line: str, message: str, load_text: Load) -> None:
    """In the user's words, with the user's line."""
    with pytest.raises(SpecError) as caught:
        load_text(f"{SMALL}{line}\n")
    assert caught.value.message == f"spec.yaml:3: {message}"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("", "spec.yaml:2: model: empty; expected owner/name or s3://bucket/prefix/."),
        ("{revision: x}", "spec.yaml:2: model.id: missing."),
        (
            "{id: a/b, s3_uri: s3://bucket/a/}",
            "spec.yaml:2: model: has both id and s3_uri; a model comes from one place.",
        ),
    ],
)
def test_a_model_comes_from_one_place(model: str, message: str, load_text: Load) -> None:
    """And from somewhere."""
    with pytest.raises(SpecError) as caught:
        load_text(f"name: a\nmodel: {model}\n")
    assert caught.value.message == message


def test_a_section_whose_lines_are_all_comments_says_nothing(load_text: Load) -> None:
    """Commenting the last line of a section out breaks nothing, and a flag may set a section back."""
    empty = "".join(f"{section}:\n" for section in ("instance", "resources", "limits", "environment", "tags"))
    assert load_text(SMALL + empty).spec == load_text(SMALL).spec
    assert load_text(SMALL + "limits: {max_total_tokens: 5}\n", overrides={"limits": "null"}).spec.limits == Limits()
