"""botocore's service models, read as plain JSON.

The models are data files; reading them does not import botocore, which would cost most of the start-up time.
"""

from __future__ import annotations

import gzip
import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

Shape = dict[str, Any]


class ServiceModel:
    """Operations and shapes of one service."""

    def __init__(self, raw: dict[str, Any]) -> None:
        self.operations: dict[str, Shape] = raw["operations"]
        self.shapes: dict[str, Shape] = raw["shapes"]
        self.metadata: dict[str, Any] = raw["metadata"]

    def input_shape(self, operation: str) -> str | None:
        """Name of the input shape of an operation; `None` when it takes nothing."""
        return self._shape_name(operation, "input")

    def output_shape(self, operation: str) -> str | None:
        """Name of the output shape of an operation; `None` when it answers nothing."""
        return self._shape_name(operation, "output")

    def _shape_name(self, operation: str, side: str) -> str | None:
        reference = self.operations[operation].get(side)
        return None if reference is None else str(reference["shape"])


@cache
def load(service: str) -> ServiceModel:
    """The newest model of a service that botocore ships (`"sagemaker"`).

    Raises:
        LookupError: botocore is not installed, or does not know the service.
    """
    spec = find_spec("botocore")
    if spec is None or not spec.submodule_search_locations:
        raise LookupError("botocore is not installed")
    folder = Path(spec.submodule_search_locations[0]) / "data" / service
    files = sorted(folder.glob("*/service-2.json*"))
    if not files:
        raise LookupError(f"botocore has no model of {service}")
    raw = files[-1].read_bytes()
    return ServiceModel(json.loads(gzip.decompress(raw) if files[-1].suffix == ".gz" else raw))
