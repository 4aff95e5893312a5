"""Where connections go: an origin, the options of its sockets, and the one TLS context of each set of authorities."""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from llm_deploy.client.transport import KEEP_ALIVE_IDLE_S
from llm_deploy.errors import SpecError

if TYPE_CHECKING:
    from ssl import SSLContext

AWS_AUTHORITIES = "aws"
"""The authorities that botocore trusts: certifi's where it is installed, its own copy otherwise."""

_PORTS = {"http": 80, "https": 443}


class NoConnectionError(OSError):
    """No connection could be made; nothing was sent."""


class NotTrustedError(OSError):
    """The other end does not speak TLS, or does not prove who it is; nothing was sent."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The other end of connections.

    Attributes:
        host: A name or an address, without brackets.
        authorities: Whom to trust: a file or folder of certificates, `AWS_AUTHORITIES`, or `None`: the system's.
    """

    host: str
    port: int
    tls: bool
    authorities: str | None = None

    @property
    def host_header(self) -> str:
        """As it stands in `Host`, and in what is signed."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == _PORTS["https" if self.tls else "http"] else f"{name}:{self.port}"


def split_url(url: str, *, authorities: str | None = None) -> tuple[Origin, str]:
    """The origin of an address, and what follows it: the path with the query.

    Raises:
        SpecError: It is no HTTP address, or has a user or a fragment in it.
    """
    hint = "For example http://127.0.0.1:8080/invocations."
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise SpecError(f"not an HTTP address: {url!r}", hint=hint) from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise SpecError(f"not an HTTP address: {url!r}", hint=hint)
    if parts.username is not None or parts.fragment:
        raise SpecError("an address may have no user and no fragment; keys go into headers", hint=hint)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = parts.hostname if parts.hostname.isascii() else parts.hostname.encode("idna").decode()
    tls = parts.scheme == "https"
    return Origin(host, _PORTS[parts.scheme] if port is None else port, tls, authorities), path


def set_options(of: socket.socket) -> None:
    """No delay for small packets, and probes that keep a silent connection known to what stands between."""
    with suppress(OSError):  # the other end has just closed it: whoever sends is told
        of.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        of.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):  # Linux; macOS and Windows keep their own interval
            of.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEP_ALIVE_IDLE_S)


@lru_cache(maxsize=8)
def tls_context(authorities: str | None) -> SSLContext:
    """The context for these authorities; made once (it takes 20 ms), and shared by all connections.

    Raises:
        SpecError: The file of authorities is none.
    """
    import ssl  # noqa: PLC0415 - 15 ms that only TLS needs
    from pathlib import Path  # noqa: PLC0415 - as above

    path = _aws_bundle() if authorities == AWS_AUTHORITIES else authorities
    try:
        folder = path is not None and Path(path).is_dir()
        context = ssl.create_default_context(cafile=None if folder else path, capath=path if folder else None)
    except OSError as error:
        raise SpecError(
            f"the certificates in {path} cannot be read: {error}", hint="AWS_CA_BUNDLE or ca_bundle names the file."
        ) from error
    context.set_alpn_protocols(["http/1.1"])
    return context


def _aws_bundle() -> str | None:
    from importlib.util import find_spec  # noqa: PLC0415 - as above
    from pathlib import Path  # noqa: PLC0415 - as above

    for package in ("certifi", "botocore"):
        found = find_spec(package)  # finds it without importing it
        for place in (found.submodule_search_locations or ()) if found else ():
            path = Path(place) / "cacert.pem"
            if path.is_file():
                return str(path)
    return None
