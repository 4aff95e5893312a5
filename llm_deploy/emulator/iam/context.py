"""Condition keys that every request has."""

from __future__ import annotations

from datetime import UTC, datetime

Keys = dict[str, tuple[str, ...]]


def global_keys(*, region: str, account: str, address: str, agent: str, now: float, via: str | None = None) -> Keys:
    """AWS's global condition keys of a request, but for those of who asks and of what is asked for.

    `address` is where it came from and `agent` its User-Agent, empty when it has none. `via` is the service through
    which it came, `cloudformation.amazonaws.com`, or `None` when the caller made it. `now` is in seconds since the
    epoch.
    """
    keys: Keys = {
        "aws:requestedregion": (region,),
        "aws:resourceaccount": (account,),
        "aws:sourceip": (address,),
        "aws:securetransport": ("false",),
        "aws:currenttime": (datetime.fromtimestamp(now, UTC).isoformat(),),
        "aws:epochtime": (str(int(now)),),
        "aws:viaawsservice": (str(via is not None).lower(),),
    }
    if agent:
        keys["aws:useragent"] = (agent,)
    if via is not None:
        keys |= {"aws:calledvia": (via,), "aws:calledviafirst": (via,), "aws:calledvialast": (via,)}
    return keys
