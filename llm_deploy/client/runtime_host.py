"""The address of SageMaker's runtime in a region."""

from __future__ import annotations

import re
from functools import lru_cache


def runtime_url(region: str) -> str | None:
    """AWS's own address; `None` for a region of no partition that is known here, which botocore may know."""
    for regions, suffix in _partitions():
        if re.fullmatch(regions, region):
            return f"https://runtime.sagemaker.{region}.{suffix}"
    return None


@lru_cache(maxsize=1)
def _partitions() -> tuple[tuple[str, str], ...]:
    import json  # noqa: PLC0415 - addresses of one's own need neither
    from pathlib import Path  # noqa: PLC0415 - as above

    document = json.loads((Path(__file__).parent / "data" / "partitions.json").read_text("utf-8"))
    return tuple((each["regions"], each["suffix"]) for each in document["partitions"])
