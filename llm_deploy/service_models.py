"""A smaller copy of botocore's model of SageMaker, because reading the whole takes a fifth of a short command's time.

SageMaker's model has over 400 operations, 5 MB of JSON; deployments use some twenty of them. The part that those reach
is written once per botocore version into the user's cache, from the botocore that is installed, and botocore's own
loader reads it from there. Nothing is shipped and nothing can go stale; without a cache botocore reads its own file.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

SERVICE, MODEL = "sagemaker", "service-2"
USED = re.compile(
    r"(Create|Describe|Delete|List|Update)(Model|EndpointConfig|Endpoint|InferenceComponent)s?"
    r"|UpdateEndpointWeightsAndCapacities|UpdateInferenceComponentRuntimeConfig|AddTags|ListTags|DeleteTags"
)
"""The operations of SageMaker hosting."""


def use_smaller_models(session: Any) -> None:  # noqa: ANN401 - botocore ships no types
    """Let a botocore session's loader find the smaller copy first; it is written now if this botocore has none yet."""
    import botocore  # noqa: PLC0415 - whoever has a session has loaded it

    folder = cache_folder() / f"botocore-{botocore.__version__}"
    loader = session.get_component("data_loader")
    if not folder.is_dir():
        with contextlib.suppress(OSError):
            _write(folder, loader)
    if folder.is_dir():
        loader.search_paths.insert(0, str(folder))


def cache_folder() -> Path:
    """Where small derived files are kept: `LLMDEPLOY_CACHE`, else `llmdeploy` in the user's cache folder."""
    if own := os.environ.get("LLMDEPLOY_CACHE"):
        return Path(own).expanduser().absolute()
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification: a path that is not absolute is to be ignored.
    return (Path(xdg) if Path(xdg).is_absolute() else Path.home() / ".cache") / "llmdeploy"


def smaller(model: dict[str, Any]) -> dict[str, Any]:
    """The operations in use and every shape that they reach, without the documentation. Pure."""
    operations = {name: _undocumented(item) for name, item in model["operations"].items() if USED.fullmatch(name)}
    reached: dict[str, Any] = {}
    waiting = [name for item in operations.values() for name in _shapes_in(item)]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached[name] = _undocumented(model["shapes"][name])
            waiting.extend(_shapes_in(reached[name]))
    return {**model, "operations": operations, "shapes": reached}


def _write(folder: Path, loader: Any) -> None:  # noqa: ANN401 - botocore ships no types
    """Write the copy beside its place and move it there, so that a reader finds a whole one or none."""
    version = loader.determine_latest_version(SERVICE, MODEL)
    text = json.dumps(smaller(loader.load_service_model(SERVICE, MODEL)), separators=(",", ":"))
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    place = partial / SERVICE / version
    try:
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{MODEL}.json").write_text(text, "utf-8")
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _undocumented(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        # A member may be named so too; then its value is a document and not a text.
        return {key: _undocumented(item) for key, item in value.items() if not _is_documentation(key, item)}
    return [_undocumented(item) for item in value] if isinstance(value, list) else value


def _is_documentation(key: str, value: object) -> bool:
    return key == "documentation" and isinstance(value, str)


def _shapes_in(value: Any) -> list[str]:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        own = [value["shape"]] if isinstance(value.get("shape"), str) else []
        return own + [name for item in value.values() for name in _shapes_in(item)]
    return [name for item in value for name in _shapes_in(item)] if isinstance(value, list) else []
