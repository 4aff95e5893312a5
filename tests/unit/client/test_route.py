"""Which way calls go: when the client's own path is right, and when only botocore's is."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.credentials import RefreshableCredentials
from botocore.endpoint_provider import EndpointProvider
from botocore.loaders import Loader

from llm_deploy.aws import Session
from llm_deploy.client.credentials import BotocoreCredentials, StaticCredentials
from llm_deploy.client.origin import AWS_AUTHORITIES, Origin
from llm_deploy.client.route import fast_route
from llm_deploy.client.runtime_host import runtime_url
from llm_deploy.errors import CredentialsError, SpecError

REGION = "eu-central-1"
AWS = Origin(f"runtime.sagemaker.{REGION}.amazonaws.com", 443, tls=True, authorities=AWS_AUTHORITIES)


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable and no file of whoever runs the tests."""
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL",
                 "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy",
                 "NO_PROXY", "no_proxy", "LLMDEPLOY_CLIENT"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def ours(**options: Any) -> Session:  # noqa: ANN401 - passed on
    return Session(**{"region": REGION, "access_key": "AKIA1", "secret_key": "secret", **options})


def theirs() -> boto3.Session:
    return boto3.Session(region_name=REGION, aws_access_key_id="AKIA1", aws_secret_access_key="secret")


def test_aws_itself_is_called_by_the_fast_way() -> None:
    """From a session of ours and from one of boto3's."""
    for session in (ours(), theirs()):
        route = fast_route(session, "call")
        assert route is not None
        assert (route.origin, route.path, route.region) == (AWS, "", REGION)
        assert route.credentials.keys().access_key == "AKIA1"


def test_the_address_of_every_region_is_botocores_or_left_to_it() -> None:
    """By botocore's own rules; the large partitions are known, and what is new in botocore is not guessed at."""
    loader = Loader()
    partitions = loader.load_data("partitions")
    rules = EndpointProvider(loader.load_service_model("sagemaker-runtime", "endpoint-rule-set-1"), partitions)
    regions = {region for each in partitions["partitions"] for region in each["regions"] if "global" not in region}
    known = {region: url for region in regions if (url := runtime_url(region)) is not None}
    for region, url in known.items():
        assert rules.resolve_endpoint(Region=region, UseDualStack=False, UseFIPS=False).url == url
    assert {REGION, "us-east-1", "cn-north-1", "us-gov-west-1"} <= set(known)
    assert len(known) > 30


@pytest.mark.parametrize(
    "environment",
    [
        {"LLMDEPLOY_CLIENT": "botocore"},
        {"AWS_USE_FIPS_ENDPOINT": "true"},
        {"AWS_USE_DUALSTACK_ENDPOINT": "True"},
        {"HTTPS_PROXY": "http://127.0.0.1:3128"},
        {"https_proxy": "http://127.0.0.1:3128"},
        {"HTTPS_PROXY": "http://127.0.0.1:3128", "NO_PROXY": "elsewhere.example"},
        {"AWS_ENDPOINT_URL": "https://a.example/?x=y"},
        {"AWS_ENDPOINT_URL": "https://user:word@a.example/"},
    ],
)
def test_what_only_botocore_does_right_is_botocores(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy, FIPS, dual-stack, odd addresses, and being asked to."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert fast_route(ours(), "call") is None


def test_a_session_and_a_region_can_ask_for_botocore_too() -> None:
    """By LLMDEPLOY_CLIENT in `.env`; by being in a partition that nobody knows here."""
    assert fast_route(ours(wire="botocore"), "call") is None
    assert fast_route(ours(region="xx-nowhere-1"), "call") is None


@pytest.mark.parametrize(
    "environment",
    [
        {"HTTPS_PROXY": "http://127.0.0.1:3128", "NO_PROXY": ".amazonaws.com"},
        {"HTTP_PROXY": "http://127.0.0.1:3128"},
        {"HTTPS_PROXY": ""},
        {"AWS_USE_FIPS_ENDPOINT": "false"},
    ],
)
def test_what_does_not_concern_the_runtime_leaves_the_fast_way(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that is not for it, a switch that is off."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert fast_route(ours(), "call") is not None


def test_a_word_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not taken for the default."""
    monkeypatch.setenv("LLMDEPLOY_CLIENT", "quick")
    with pytest.raises(SpecError, match="expected fast or botocore"):
        fast_route(ours(), "call")


@pytest.mark.parametrize(
    ("environment", "origin", "path"),
    [
        ({"AWS_ENDPOINT_URL": "http://a.example:81/pre/fix/"},
         Origin("a.example", 81, tls=False, authorities=AWS_AUTHORITIES), "/pre/fix"),
        ({"AWS_ENDPOINT_URL": "http://b.example", "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": "http://a.example"},
         Origin("a.example", 80, tls=False, authorities=AWS_AUTHORITIES), ""),
        ({"AWS_ENDPOINT_URL": "http://b.example", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}, AWS, ""),
        ({"AWS_CA_BUNDLE": "/a.pem", "REQUESTS_CA_BUNDLE": "/b.pem"},
         Origin(AWS.host, 443, tls=True, authorities="/a.pem"), ""),
        ({"REQUESTS_CA_BUNDLE": "/b.pem"}, Origin(AWS.host, 443, tls=True, authorities="/b.pem"), ""),
    ],
)  # fmt: skip
def test_variables_say_where_and_whom_to_trust_as_for_botocore(
    environment: dict[str, str], origin: Origin, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same by our reading of them and by botocore's own."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for session in (ours(), theirs()):
        route = fast_route(session, "call")
        assert route is not None
        assert (route.origin, route.path) == (origin, path)


CONFIG = """
[default]
endpoint_url = http://from-config.example:82
ca_bundle = /from-config.pem
"""


def test_a_config_file_that_says_where_is_read_by_botocore(tmp_path: Path) -> None:
    """Its sections and services are botocore's to understand."""
    (tmp_path / "config").write_text(CONFIG)
    route = fast_route(ours(), "call")
    assert route is not None
    assert route.origin == Origin("from-config.example", 82, tls=False, authorities="/from-config.pem")


def test_a_config_file_can_ask_for_what_is_botocores(tmp_path: Path) -> None:
    """FIPS by profile."""
    (tmp_path / "config").write_text("[default]\nuse_fips_endpoint = true\n")
    assert fast_route(ours(), "call") is None


@pytest.mark.parametrize(
    ("environment", "options", "expected"),
    [
        ({}, {"access_key": "AKIA2", "secret_key": "s2", "token": "t2"}, ("AKIA2", "s2", "t2")),
        ({"AWS_ACCESS_KEY_ID": "AKIA3", "AWS_SECRET_ACCESS_KEY": "s3"}, {}, ("AKIA3", "s3", None)),
        ({"AWS_ACCESS_KEY_ID": "ASIA4", "AWS_SECRET_ACCESS_KEY": "s4", "AWS_SESSION_TOKEN": "t4"}, {},
         ("ASIA4", "s4", "t4")),
        ({"AWS_ACCESS_KEY_ID": "ASIA4", "AWS_SECRET_ACCESS_KEY": "s4", "AWS_SESSION_TOKEN": ""}, {},
         ("ASIA4", "s4", None)),
    ],
)  # fmt: skip
def test_lasting_keys_need_no_botocore(
    environment: dict[str, str],
    options: dict[str, str],
    expected: tuple[str, str, str | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those of the session, then those of the environment, as botocore takes them."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    session = Session(
        REGION, access_key=options.get("access_key"), secret_key=options.get("secret_key"), token=options.get("token")
    )
    route = fast_route(session, "call")
    assert route is not None
    assert isinstance(route.credentials, StaticCredentials)
    keys = route.credentials.keys()
    found = session.credentials().get_frozen_credentials()
    assert (keys.access_key, keys.secret_key, keys.token) == expected
    assert (found.access_key, found.secret_key, found.token) == expected


def test_a_named_profile_goes_before_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in botocore."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    (tmp_path / "credentials").write_text("[mine]\naws_access_key_id = AKIAFILE\naws_secret_access_key = s\n")
    route = fast_route(Session(REGION, profile="mine"), "call")
    assert route is not None
    assert route.credentials.keys().access_key == "AKIAFILE"


def test_without_credentials_it_is_said_so() -> None:
    """In our words, as everywhere."""
    route = fast_route(Session(REGION), "call endpoint twin")
    assert route is not None
    with pytest.raises(CredentialsError, match="call endpoint twin"):
        route.credentials.keys()


class Source:
    """What renews credentials: new ones each time, for as long as it can."""

    def __init__(self, *, fails_after: int = 100, lasts_s: float = 1) -> None:
        self.count = 0
        self.fails_after = fails_after
        self.lasts_s = lasts_s

    def __call__(self) -> dict[str, str]:
        """New credentials, which run out soon."""
        self.count += 1
        if self.count > self.fails_after:
            raise botocore.exceptions.CredentialRetrievalError(provider="test", error_msg="gone")
        soon = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=self.lasts_s)
        return {"access_key": f"ASIA{self.count}", "secret_key": "s", "token": "t", "expiry_time": soon.isoformat()}


def renewing(source: Source) -> BotocoreCredentials:
    made = RefreshableCredentials.create_from_metadata(metadata=source(), refresh_using=source, method="test")
    return BotocoreCredentials(made, "call")


def test_credentials_that_run_out_are_renewed_in_mid_run() -> None:
    """Each request has keys that are still good; the same object for as long as they are the same."""
    credentials = renewing(Source())
    assert credentials.renewal() is not None
    first = credentials.keys()
    second = credentials.keys()
    assert second.access_key > first.access_key >= "ASIA2"
    lasting = BotocoreCredentials(ours().credentials(), "call")
    assert lasting.renewal() is None
    assert lasting.keys() is lasting.keys()


def test_a_renewal_that_fails_is_an_error_of_ours() -> None:
    """With a hint, not a traceback of botocore's."""
    credentials = renewing(Source(fails_after=1))
    with pytest.raises(CredentialsError, match="gone"):
        credentials.keys()


@pytest.mark.parametrize("lasts_s", [30, 12 * 60])
@pytest.mark.parametrize("fails", [False, True])
def test_what_was_renewed_is_not_asked_for_again_at_once(lasts_s: float, fails: bool) -> None:  # noqa: FBT001 - a parameter
    """Each request renews before it signs, in a thread where it is a loop's: signing itself must then ask nobody.

    botocore asks for each request when the end is near: the new ones may run out soon too, and in the time in which it
    is content with the old ones it hides that there are no new ones.
    """
    source = Source(fails_after=1 if fails and lasts_s > 600 else 100, lasts_s=lasts_s)
    credentials = renewing(source)
    renewal = credentials.renewal()
    assert renewal is not None
    renewal()
    asked = source.count
    assert asked == 2
    assert credentials.keys() is credentials.keys()
    assert credentials.renewal() is None
    assert source.count == asked


def test_new_credentials_that_have_run_out_too_are_an_error_of_ours() -> None:
    """For botocore it is an exception of Python's."""
    credentials = renewing(Source(lasts_s=-1))
    with pytest.raises(CredentialsError, match="expired"):
        credentials.keys()
