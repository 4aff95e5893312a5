"""SageMaker's own OpenAI path: which requests are for it, and how it refuses them.

Ledger: `runtime.openai.errors`.
"""

from __future__ import annotations

import json
import re

from llm_deploy.emulator.http import Request
from llm_deploy.emulator.service import ServiceError

NATIVE = re.compile(
    r"^/endpoints/(?P<endpoint>[^/]+)(?:/inference-components/(?P<component>[^/]+))?/openai/(?P<rest>.*)$"
)
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_MODEL_ERROR = "ModelError"


def is_native(path: str) -> bool:
    """Whether a path is below an endpoint's `/openai/`."""
    return NATIVE.match(path) is not None


async def refuse_native(request: Request, error: ServiceError) -> None:
    """Write an error as this path does; a container's keeps the status that the container gave it."""
    original = int(error.fields.get("OriginalStatusCode", 0))
    status = original if error.code == _MODEL_ERROR and original else error.status
    await request.respond(status, error_body(error), [("content-type", "application/json")])


def error_body(error: ServiceError) -> bytes:
    """OpenAI's error document."""
    kind = "server_error" if error.code == _MODEL_ERROR or error.status >= 500 else "invalid_request_error"  # noqa: PLR2004 - HTTP's border
    code = _WORD.sub("_", error.code.removesuffix("Exception")).lower()
    return json.dumps({"error": {"message": error.message, "type": kind, "code": code}}).encode()
