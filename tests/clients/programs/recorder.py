"""What a boto3 session sends that changes something, recorded before botocore builds the request."""

from __future__ import annotations

from typing import Any

READS = ("Describe", "List", "Get", "Head", "Invoke", "Simulate", "Filter")


def record(boto_session: Any, sent: list[dict[str, Any]]) -> None:  # noqa: ANN401 - boto3 ships no types
    """Append every later request of this session's clients to `sent`, in order: service, operation, parameters."""

    def keep(params: dict[str, Any], model: Any, **_: object) -> None:  # noqa: ANN401 - as above
        if not model.name.startswith(READS):
            sent.append({"service": model.service_model.service_name, "operation": model.name, "request": dict(params)})

    # Clients copy their session's handlers when they are made, so this comes before the first of them.
    boto_session.events.register("before-parameter-build.*.*", keep)
