"""What every invocation is checked for, and how a container's failure is passed on."""

from __future__ import annotations

from collections.abc import Mapping

from llm_deploy.emulator import ledger
from llm_deploy.emulator.containers.fleet import Copy
from llm_deploy.emulator.protocol.model import load
from llm_deploy.emulator.protocol.validate import check_input
from llm_deploy.emulator.runtime.target import Target
from llm_deploy.emulator.sagemaker.hosting import Hosting
from llm_deploy.emulator.service import ServiceError

_MAX_MESSAGE = 1024
"""Characters of a container's error that are passed on."""

_SERVER_ERRORS = range(500, 600)


def check_headers(headers: Mapping[str, str], endpoint: str, operation: str) -> None:
    """Check names and headers against the model.

    Raises:
        ServiceError: One breaks its pattern, is too long, or is no number where one belongs.
    """
    model = load("sagemaker-runtime")
    shape = model.input_shape(operation) or ""
    members = model.shapes[shape]["members"]
    params: dict[str, object] = {}
    for name, member in members.items():
        given = headers.get(member.get("locationName", "").lower())
        if member.get("location") == "header" and given is not None:
            params[name] = _typed(name, given, model.shapes[member["shape"]]["type"])
    # The body is a payload, and its length was checked while it was read.
    problem = check_input(model, shape, {**params, "EndpointName": endpoint, "Body": ""})
    if problem:
        raise ServiceError("ValidationError", problem)


def _typed(name: str, given: str, kind: str) -> object:
    if kind != "integer":
        return given
    if not given.lstrip("-").isdecimal() or not given.isascii():
        raise ServiceError("ValidationError", ledger.text("runtime.header-number", name=name, value=given))
    return int(given)


def model_error(hosting: Hosting, target: Target, copy: Copy, status: int, original: str) -> ServiceError:
    """What the container said, as AWS passes it on. Ledger: `runtime.model-error`."""
    settings = hosting.cloud.settings
    group = target.fleet.spec.log_group
    side = "server" if status in _SERVER_ERRORS or status == 0 else "client"
    message = ledger.text(
        "runtime.model-error",
        side=side,
        status=status,
        message=original[:_MAX_MESSAGE],
        region=settings.region,
        group=group,
        account=settings.account,
    )
    fields = {
        "Message": message,
        "OriginalStatusCode": status,
        "OriginalMessage": original[:_MAX_MESSAGE],
        "LogStreamArn": hosting.cloud.arn("logs", f"log-group:{group}:log-stream:{copy.stream}"),
    }
    return ServiceError("ModelError", message, status=424, fields=fields)
