"""What is written for programs to read: whole, and without a secret in it."""

from __future__ import annotations

import json

import pytest

from llm_deploy.deploy.apply import Stage, Step
from llm_deploy.deploy.inventory import Found, Inventory
from llm_deploy.deploy.plan import Action, Difference, plan
from llm_deploy.deploy.receipt import counted, masked, masked_difference, plan_document, removed, what_was_done
from llm_deploy.resource import INFERENCE_COMPONENT, MODEL, TAG_DEPLOYMENT, Resource
from llm_deploy.spec.masking import MASK

TOKEN = "hf_abcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize(
    "environment",
    [
        {"HF_TOKEN": TOKEN},
        {"HUGGING_FACE_HUB_TOKEN": "x"},
        {"ANYTHING": TOKEN},
        {"DB_PASSWORD": "x"},
        {"MY_API_KEY": "x"},
        {"AWS_SECRET_ACCESS_KEY": "x"},
    ],
)
def test_secrets_are_masked_wherever_they_stand(environment: dict[str, str]) -> None:
    """By the variable's name, and by the look of a Hub token under any name."""
    document = {"PrimaryContainer": [{"Environment": environment}]}
    assert masked(document) == {"PrimaryContainer": [{"Environment": dict.fromkeys(environment, MASK)}]}


def test_what_is_no_secret_is_shown() -> None:
    """Token limits have TOKENS in their names and are no tokens."""
    shown = {"MAX_TOTAL_TOKENS": "4096", "MAX_INPUT_TOKENS": "2048", "TokenLimit": 5, "HF_MODEL_ID": "org/m"}
    assert masked(shown) == shown


def test_a_plans_document_holds_every_change_and_no_token() -> None:
    """It is what --dry-run --json writes."""
    properties = {"ModelName": "m", "PrimaryContainer": {"Environment": {"HF_TOKEN": TOKEN}}}
    resource = Resource("Model", MODEL, "m", properties, {TAG_DEPLOYMENT: "twin"}, purpose="the model")
    document = plan_document(plan([resource], Inventory("twin", {})))
    assert document["changes"][0]["action"] == "create"
    assert document["changes"][0]["purpose"] == "the model"
    assert TOKEN not in json.dumps(document)


def test_a_plans_differences_hold_no_secret() -> None:
    """Neither what was found nor what is wanted, by variable, by tag and by a whole environment."""
    before, after = (
        {"Container": {"Environment": {"OPENAI_KEY": f"{word}-key", "ARGS": f"--token {TOKEN}{word}", "LEVEL": word}}}
        for word in ("old", "new")
    )
    tags = {TAG_DEPLOYMENT: "twin", "api_key": "new-tag"}
    found = Found(INFERENCE_COMPONENT, "c", before, {**tags, "api_key": "old-tag"}, owned_by="twin")
    resource = Resource("Component", INFERENCE_COMPONENT, "c", after, tags)
    document = plan_document(plan([resource], Inventory("twin", {found.key: found})))
    shown = {
        item["path"].rsplit(".")[-1]: (item["found"], item["wanted"]) for item in document["changes"][0]["differences"]
    }
    assert shown == {
        "OPENAI_KEY": (MASK, MASK), "ARGS": (MASK, MASK), "LEVEL": ("old", "new"), "api_key": (MASK, MASK)
    }  # fmt: skip
    whole = masked_difference(Difference("Environments[0]", None, {"DB_PASSWORD": "x", "LEVEL": "new"}))
    assert whole.wanted == {"DB_PASSWORD": MASK, "LEVEL": "new"}


def test_a_receipt_lists_what_was_done_and_not_what_was_in_place() -> None:
    """Only finished steps that changed something."""
    steps = [
        Step(Stage.STARTED, Action.CREATE, MODEL, "m"),
        Step(Stage.DONE, Action.CREATE, MODEL, "m", elapsed_s=1.234),
        Step(Stage.DONE, Action.KEEP, MODEL, "n"),
    ]
    (done,) = what_was_done(steps)
    assert (done.action, done.kind, done.name, done.seconds) == ("+", "Model", "m", 1.23)


def test_what_was_removed_is_counted_once_and_without_what_was_changed() -> None:
    """A stack that is being updated is waited for first, and what it keeps is removed after it."""
    actions = [(Action.UPDATE, "m"), (Action.DELETE, "m"), (Action.DELETE, "m"), (Action.DELETE, "n")]
    done = what_was_done(Step(Stage.DONE, action, MODEL, name) for action, name in actions)
    assert [item.action for item in done] == ["~", "-", "-", "-"], "the record tells all of it"
    assert [(item.kind, item.name) for item in removed(done)] == [("Model", "m"), ("Model", "n")]


@pytest.mark.parametrize(
    ("count", "noun", "words"),
    [
        (1, "ScalingPolicy", "1 ScalingPolicy"),
        (2, "ScalingPolicy", "2 ScalingPolicies"),
        (2, "Model", "2 Models"),
        (2, "AccessKey", "2 AccessKeys"),
        (0, "object", "0 objects"),
    ],
)
def test_numbers_of_things_are_said_as_people_say_them(count: int, noun: str, words: str) -> None:
    """Of the kinds that a removal may tell of."""
    assert counted(count, noun) == words
