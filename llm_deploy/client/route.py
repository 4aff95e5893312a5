"""Which way a session's calls go: by the client's own path, or by botocore where only that is sure to be right."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from typing import Any

from llm_deploy.aws import Session
from llm_deploy.client.clients import runtime_client
from llm_deploy.client.credentials import Credentials, credentials_of
from llm_deploy.client.origin import AWS_AUTHORITIES, Origin, split_url
from llm_deploy.client.runtime_host import runtime_url
from llm_deploy.errors import SpecError

VARIABLE = "LLMDEPLOY_CLIENT"
"""`botocore`: use it for everything. `fast`, the default: the client's own path where that is right."""

_SAID_IN_CONFIG = rb"endpoint_url|services|use_fips_endpoint|use_dualstack_endpoint|ca_bundle"
"""Words in AWS's config file that change where calls go or whom they trust; botocore then reads what they mean."""

_YES = "true"


@dataclass(frozen=True, slots=True)
class Route:
    """A way that is right without botocore.

    Attributes:
        path: What the address of the service has before `/endpoints`; empty for AWS's own.
    """

    origin: Origin
    path: str
    region: str
    credentials: Credentials


def fast_route(session: Any, action: str) -> Route | None:  # noqa: ANN401 - ours or boto3's, which ships no types
    """The way of a session's calls; `None`: botocore's. Reads files, and loads botocore where it must.

    botocore's it is when that was asked for, when a proxy stands between, when the endpoint is to be one of FIPS's or
    dual-stack, when its address has a query, and in partitions that are not known here.

    Raises:
        LlmDeployError: Credentials cannot be found, or settings are wrong.
    """
    if _asked_for_botocore(session) or _said("AWS_USE_FIPS_ENDPOINT") or _said("AWS_USE_DUALSTACK_ENDPOINT"):
        return None
    ours = isinstance(session, Session)
    where = _where(session) if ours and not _config_says_where() else _where_botocore_says(session)
    if where is None:
        return None
    url, region, authorities = where
    try:
        origin, path = split_url(url, authorities=authorities)
    except SpecError:
        return None  # botocore says what is wrong with it
    if "?" in path or _proxied(url, origin):
        return None
    return Route(origin, path.rstrip("/"), region, credentials_of(session, action))


def _asked_for_botocore(session: Any) -> bool:  # noqa: ANN401 - as above
    said = os.environ.get(VARIABLE) or getattr(session, "wire", "fast")
    if said not in {"fast", "botocore"}:
        raise SpecError(f"environment {VARIABLE}: expected fast or botocore.")
    return said == "botocore"


def _where(session: Session) -> tuple[str, str, str] | None:
    """Address, region and authorities, where no config file has a say.

    Source: botocore 1.44, `configprovider` (names and order) and `endpoint` (REQUESTS_CA_BUNDLE).
    """
    url = session.endpoint_url
    if url is None and not _said("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"):
        url = os.environ.get("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME") or os.environ.get("AWS_ENDPOINT_URL")
    url = url or runtime_url(session.region)
    bundle = os.environ.get("AWS_CA_BUNDLE") or os.environ.get("REQUESTS_CA_BUNDLE")
    return None if url is None else (url, session.region, bundle or AWS_AUTHORITIES)


def _where_botocore_says(session: Any) -> tuple[str, str, str] | None:  # noqa: ANN401 - as above
    """The same as botocore has put it together; `None` where it would do more than we can."""
    client = runtime_client(session)
    config, verify = client.meta.config, client._endpoint.http_session._verify  # noqa: SLF001 - nowhere in public
    plain = not config.use_fips_endpoint and not config.use_dualstack_endpoint and not config.client_cert
    if not plain or config.proxies or verify is False:
        return None
    authorities = verify if isinstance(verify, str) else AWS_AUTHORITIES
    return client.meta.endpoint_url, client.meta.region_name, authorities


def _config_says_where() -> bool:
    path = os.path.expanduser(os.environ.get("AWS_CONFIG_FILE") or "~/.aws/config")  # noqa: PTH111 - pathlib is 5 ms
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - as above
            return re.search(_SAID_IN_CONFIG, file.read()) is not None
    except OSError:
        return False


def _proxied(url: str, origin: Origin) -> bool:
    """Whether a proxy stands between, as the standard library finds them (which takes 30 ms to load)."""
    scheme = "https" if origin.tls else "http"
    said = any(value and name.lower() == f"{scheme}_proxy" for name, value in os.environ.items())
    if sys.platform not in {"darwin", "win32"} and not said:
        return False
    from botocore.utils import get_environ_proxies  # noqa: PLC0415 - only where there may be a proxy

    return bool(get_environ_proxies(url).get(scheme))


def _said(variable: str) -> bool:
    return os.environ.get(variable, "").lower() == _YES
