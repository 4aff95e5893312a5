"""The seed's variables: defaults, precedence, secrets, and errors with file, line and variable."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from llm_deploy.errors import SpecError
from llm_deploy.settings import Settings, load_settings

SECRET = "very-secret-value"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [*Settings.model_fields, "AWS_DEFAULT_REGION"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def from_text(text: str) -> Settings:
    Path(".env").write_text(text)
    return load_settings()


@pytest.mark.row("T2")
def test_the_reference_defaults() -> None:
    """The values of the seed, under the seed's names."""
    settings = load_settings()
    assert {name: getattr(settings, name) for name in REFERENCE} == REFERENCE


REFERENCE = {
    "AWS_REGION": "eu-central-1",
    "AWS_ACCESS_KEY": None,
    "AWS_SECRET_KEY": None,
    "AWS_ARN_ROLE": None,
    "HF_MODEL_ID": "mlabonne/TwinLlama-3.1-8B-DPO",
    "HUGGINGFACE_ACCESS_TOKEN": None,
    "GPU_INSTANCE_TYPE": "ml.g5.2xlarge",
    "SM_NUM_GPUS": 1,
    "MAX_INPUT_LENGTH": 2048,
    "MAX_TOTAL_TOKENS": 4096,
    "MAX_BATCH_TOTAL_TOKENS": 4096,
    "COPIES": 1,
    "GPUS": 1,
    "CPUS": 2,
    "SAGEMAKER_ENDPOINT_INFERENCE": "twin",
    "SAGEMAKER_ENDPOINT_CONFIG_INFERENCE": "twin",
    "TEMPERATURE_INFERENCE": 0.01,
    "TOP_P_INFERENCE": 0.9,
    "MAX_NEW_TOKENS_INFERENCE": 150,
}


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """And each value says where it came from, with the line of the file."""
    monkeypatch.setenv("COPIES", "3")
    settings = from_text("# head\n\nCOPIES=2\n\n\nexport GPUS=4 # four\nCPUS='1.5'\n")
    assert (settings.COPIES, settings.GPUS, settings.CPUS) == (3, 4, 1.5)
    assert settings.origin("COPIES") == "environment COPIES"
    assert settings.origin("GPUS") == ".env:6 GPUS"
    assert settings.origin("CPUS") == ".env:7 CPUS"
    assert settings.origin("AWS_REGION") is None


def test_the_last_of_two_lines_counts() -> None:
    """As in every shell; the origin is that line."""
    settings = from_text("COPIES=2\nCOPIES=5\n")
    assert (settings.COPIES, settings.origin("COPIES")) == (5, ".env:2 COPIES")


def test_an_empty_value_is_not_set() -> None:
    """A copied .env.example with blanks in it changes nothing."""
    settings = from_text("COPIES=\nAWS_ACCESS_KEY=\nAWS_SECRET_KEY=''\n")
    assert settings.COPIES == 1
    assert settings.AWS_ACCESS_KEY is None


def test_other_variables_are_somebody_elses() -> None:
    """A .env is shared by many programs."""
    assert from_text("COMET_API_KEY=x\n") == load_settings(None)


def test_awss_own_word_for_the_region_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS_REGION wins where both are set."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    assert load_settings().AWS_REGION == "us-east-1"
    assert load_settings().origin("AWS_REGION") == "environment AWS_DEFAULT_REGION"
    monkeypatch.setenv("AWS_REGION", "us-gov-west-1")
    assert load_settings().AWS_REGION == "us-gov-west-1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("AWS_REGION=Frankfurt\n", ".env:1 AWS_REGION: expected a region such as eu-central-1."),
        ("AWS_ARN_ROLE=my-role\n", ".env:1 AWS_ARN_ROLE: expected a role's whole ARN"),
        ("AWS_ENDPOINT_URL=localhost\n", ".env:1 AWS_ENDPOINT_URL: expected an address"),
        ("LLMDEPLOY_TARGET=On Prem\n", ".env:1 LLMDEPLOY_TARGET: expected a target"),
        ("A=1\nnonsense here = \n=\n", ".env:2: expected NAME=value."),
    ],
)
def test_a_bad_value_is_named_with_file_line_and_variable(text: str, message: str) -> None:
    """One look, and it is found."""
    with pytest.raises(SpecError) as caught:
        from_text(text)
    assert message in caught.value.message


def test_every_bad_value_is_named_at_once() -> None:
    """One run, one list."""
    with pytest.raises(SpecError) as caught:
        from_text("AWS_REGION=x\nAWS_ARN_ROLE=y\nCOPIES=z\n")
    assert len(caught.value.message.splitlines()) == 3


@pytest.mark.parametrize("text", ["COPIES=many\n", "GPUS=0\n", "TOP_P_INFERENCE=1.5\n", "CPUS=all\n"])
def test_a_bad_word_about_a_deployment_waits_until_it_is_asked_for(text: str) -> None:
    """CPUS and GPUS are words of many programs; `list` and `--help` are not to stumble over them."""
    settings = from_text(f"# ours\n{text}")
    name = text.partition("=")[0]
    assert getattr(settings, name) == Settings.model_fields[name].default
    (problem,) = settings.problems
    assert problem.startswith(f".env:2 {name}: input should be")


def test_a_hidden_problem_does_not_hide_another() -> None:
    """Half a key is found beside it."""
    with pytest.raises(SpecError) as caught:
        from_text(f"COPIES=x\nAWS_ACCESS_KEY={SECRET}\n")
    assert [line.partition(": ")[0] for line in caught.value.message.splitlines()] == [".env:1 COPIES", ".env"]
    assert SECRET not in caught.value.message


def test_half_a_key_is_refused_without_showing_it() -> None:
    """Both keys or none."""
    with pytest.raises(SpecError, match="AWS_SECRET_KEY is missing") as caught:
        from_text(f"AWS_ACCESS_KEY={SECRET}\n")
    assert SECRET not in caught.value.message
    assert caught.value.__cause__ is None


def test_secrets_are_in_no_text() -> None:
    """Not in a representation, not in a dump as JSON, not in an error about another value."""
    text = f"AWS_ACCESS_KEY={SECRET}\nAWS_SECRET_KEY={SECRET}\nHUGGINGFACE_ACCESS_TOKEN={SECRET}\n"
    settings = from_text(text)
    assert SECRET not in repr(settings)
    assert SECRET not in settings.model_dump_json()
    with pytest.raises(SpecError) as caught:
        from_text(text + "AWS_REGION=x\n")
    assert SECRET not in caught.value.message


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    """Bytes, and files that are too large."""
    (tmp_path / ".env").write_bytes(b"A=\xff")
    with pytest.raises(SpecError, match="not UTF-8"):
        load_settings()
    (tmp_path / ".env").write_bytes(b"#" * 70_000)
    with pytest.raises(SpecError, match="larger than"):
        load_settings()


def test_importing_the_package_costs_nothing() -> None:
    """pydantic-settings is loaded when settings are read, and not before."""
    code = "import sys, llm_deploy.settings; sys.exit('pydantic_settings' in sys.modules or 'pydantic' in sys.modules)"
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


def test_other_names_are_no_attributes() -> None:
    """The lazy module hides no misspelling."""
    import llm_deploy.settings as module  # noqa: PLC0415 - the module itself is under test

    with pytest.raises(AttributeError, match="Setings"):
        module.Setings  # noqa: B018 - reading it is the test


@pytest.mark.parametrize(("key", "token"), [("ASIAX", SECRET), ("AKIAX", None), ("LOCALCLOUD", None)])
def test_a_session_token_goes_with_a_temporary_key_only(key: str, token: str | None) -> None:
    """AWS refuses a lasting key that comes with another sign-in's token, which the environment may well hold."""
    settings = from_text(f"AWS_ACCESS_KEY={key}\nAWS_SECRET_KEY=s\nAWS_SESSION_TOKEN={SECRET}\n")
    found = settings.session_token
    assert (found.get_secret_value() if found else None) == token
    assert SECRET not in repr(settings)


def test_a_session_token_without_our_key_is_left_to_boto3() -> None:
    """It belongs to AWS_ACCESS_KEY_ID then."""
    assert from_text(f"AWS_SESSION_TOKEN={SECRET}\n").session_token is None
