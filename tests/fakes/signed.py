"""The judge of signed requests: the local cloud's own verifier, on what a fake server has seen."""

from __future__ import annotations

import hashlib

from llm_deploy.emulator.iam import signature as verifier


def objection(path: str, headers: dict[str, str], body: bytes, secret: str) -> str | None:
    """What is wrong with a request's signature; `None` when a strict server takes it.

    Host, content type, the component and the session token have to be signed where they are sent.
    """
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    raw_path, _, query = path.partition("?")
    found = verifier.read_signature(query, raw)
    if found is None:
        return "it is not signed"
    needed = {"host", "x-amz-date", "content-type", "x-amz-security-token", "x-amzn-sagemaker-inference-component"}
    unsigned = {name for name in needed if name in headers} - set(found.signed_headers)
    if unsigned:
        return f"not signed: {', '.join(sorted(unsigned))}"
    signed = verifier.Signed("POST", raw_path, query, raw, hashlib.sha256(body).hexdigest())
    return None if verifier.matches(found, signed, secret) else "the signature is another"
