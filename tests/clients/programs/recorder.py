"""What boto3 clients send that changes something, recorded before botocore builds the request."""

from __future__ import annotations

from typing import Any

READS = ("Describe", "List", "Get", "Head", "Invoke", "Simulate", "Filter")


def record(events: Any, sent: list[dict[str, Any]]) -> None:  # noqa: ANN401 - botocore ships no types
    """Append every later request to `sent`, in order: service, operation, parameters.

    Args:
        events: A session's hooks, for the clients that it has not made yet, or a client's (`client.meta.events`).
        sent: What has been sent so far.
    """

    def keep(params: dict[str, Any], model: Any, **_: object) -> None:  # noqa: ANN401 - as above
        if not model.name.startswith(READS):
            sent.append({"service": model.service_model.service_name, "operation": model.name, "request": dict(params)})

    events.register("before-parameter-build.*.*", keep)
