"""Keeping web pages away from a gateway that asks for no keys.

Any page that somebody has open may post to 127.0.0.1, or point a name of its own there; without keys nothing else would
stop it from generating, and from reading what is generated. A browser says where a page comes from (`Origin`), and for
whom it takes the server (`Host`).
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from llm_deploy.errors import AccessDeniedError
from llm_deploy.gateway.asgi import Scope, header
from llm_deploy.gateway.config_file import is_loopback


@dataclass(frozen=True, slots=True)
class BrowserGuard:
    """Refuses what a page of a foreign origin asks.

    Attributes:
        origins: Allowed ones; `*` is any.
        any_host: Others may reach the gateway on purpose, under whatever name.
    """

    origins: tuple[str, ...]
    any_host: bool

    def check(self, scope: Scope) -> None:
        """Look at one request.

        Raises:
            AccessDeniedError: It comes from a page of another origin, or for another host.
        """
        origin = header(scope, b"origin").decode("latin-1")
        host = header(scope, b"host").decode("latin-1")
        if not self.any_host and host and not _is_local(host):
            raise AccessDeniedError(f"without keys, this gateway answers on loopback alone, not as {host[:100]!r}")
        if origin and "*" not in self.origins and origin not in self.origins and not _same(origin, host):
            raise AccessDeniedError("pages of this origin may not use this gateway", hint="cors.origins allows them.")


def _is_local(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    return name is not None and is_loopback(name)


def _same(origin: str, host: str) -> bool:
    return origin.partition("://")[2] == host
