"""What callers read of the settings without pydantic, against what `load_settings` reads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from llm_deploy.errors import SpecError
from llm_deploy.settings import caller
from llm_deploy.settings.caller import caller_settings

ROLE = "arn:aws:iam::123456789012:role/llmdeploy"
NAMES = {
    "AWS_REGION": ["us-east-1", "nowhere", "eu-west-3"],
    "AWS_DEFAULT_REGION": ["us-west-2", "x"],
    "AWS_PROFILE": ["mine"],
    "AWS_ENDPOINT_URL": ["http://127.0.0.1:4599", "nonsense"],
    "AWS_ACCESS_KEY": ["AKIA1", "ASIA2"],
    "AWS_SECRET_KEY": ["secret"],
    "AWS_SESSION_TOKEN": ["token"],
    "AWS_ARN_ROLE": [ROLE, "role"],
    "LLMDEPLOY_TARGET": ["local", "sagemaker", "NO"],
    "LLMDEPLOY_ROLE_ARN": [ROLE, "arn"],
    "LLMDEPLOY_CLIENT": ["fast", "botocore", "quick"],
    "GPUS": ["1", "all"],
}
FORMS = ["{}={}", "{} = {}", "export {}={}", "{}='{}'", '{}="{}"', "{}={} # note", "  {}={}  ", "{}=${{OTHER:-{}}}"]

variables = st.fixed_dictionaries({}, optional={name: st.sampled_from(["", *NAMES[name]]) for name in NAMES})
lines = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(sorted(NAMES)), st.sampled_from(FORMS)).flatmap(
            lambda pair: st.sampled_from(["", *NAMES[pair[0]]]).map(lambda value: pair[1].format(pair[0], value))
        ),
        st.sampled_from(["", "# note", "OTHER=x y", "nonsense", "=x", "A=\\n", "\ufeffA=b", "caf\u00e9=1", "A=`b`"]),
    ),
    max_size=5,
)


@settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
@given(variables, st.none() | lines, st.sampled_from(["\n", "\r\n"]))
def test_what_is_read_plainly_is_what_settings_say(
    tmp_path: Path, environment: dict[str, str], written: list[str] | None, end: str
) -> None:
    """The same values, or it is left to `load_settings`, which says what is wrong."""
    path = tmp_path / ".env"
    path.unlink(missing_ok=True)
    if written is not None:
        path.write_bytes(end.join(written).encode())
    with pytest.MonkeyPatch.context() as patched:
        for name in NAMES:
            patched.delenv(name, raising=False)
        for name, value in environment.items():
            patched.setenv(name, value)
        plain = caller._plain(str(path))
        if plain is not None:
            assert plain == caller._of_settings(str(path))


def test_what_is_malformed_is_said_by_the_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With its name, as in every command."""
    monkeypatch.setenv("AWS_REGION", "nowhere")
    with pytest.raises(SpecError, match="AWS_REGION"):
        caller_settings(str(tmp_path / ".env"))


@pytest.mark.parametrize("file", [None, "AWS_REGION=eu-west-3\n# note\nMODEL=x\n"])
def test_usual_settings_load_no_pydantic(tmp_path: Path, file: str | None) -> None:
    """It takes longer than all else before a first answer."""
    if file is not None:
        (tmp_path / ".env").write_text(file)
    code = (
        "import sys; from llm_deploy.settings.caller import caller_settings; "
        "print(caller_settings().region, 'pydantic' in sys.modules)"
    )
    environment = {"PYTHONPATH": str(Path(__file__).parents[3]), "AWS_PROFILE": "mine"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.split() == ["eu-west-3" if file else "eu-central-1", "False"]
