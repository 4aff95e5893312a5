"""The seed's `.env` vocabulary as a layer of a spec, and the Twin: what it describes when no file is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_deploy.errors import SpecError
from llm_deploy.spec import short_forms
from llm_deploy.spec.layers import DEFAULT, Layer, Origin, paths

if TYPE_CHECKING:
    from llm_deploy.settings import Settings

_TWIN_MOST_COPIES = 2

FIELDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("SAGEMAKER_ENDPOINT_INFERENCE", ("name",)),
    ("SAGEMAKER_ENDPOINT_CONFIG_INFERENCE", ("endpoint_config_name",)),
    ("HF_MODEL_ID", ("model",)),
    ("HF_MODEL_QUANTIZE", ("quantize",)),
    ("GPU_INSTANCE_TYPE", ("instance", "type")),
    ("COPIES", ("resources", "copies")),
    ("SM_NUM_GPUS", ("resources", "num_accelerators")),
    ("GPUS", ("resources", "num_accelerators")),
    ("CPUS", ("resources", "num_cpus")),
    ("MAX_INPUT_LENGTH", ("limits", "max_input_tokens")),
    ("MAX_TOTAL_TOKENS", ("limits", "max_total_tokens")),
    ("MAX_BATCH_PREFILL_TOKENS", ("limits", "max_batch_prefill_tokens")),
    ("MAX_BATCH_TOTAL_TOKENS", ("limits", "max_batch_total_tokens")),
    ("TEMPERATURE_INFERENCE", ("generation", "temperature")),
    ("TOP_P_INFERENCE", ("generation", "top_p")),
    ("MAX_NEW_TOKENS_INFERENCE", ("generation", "max_new_tokens")),
)
"""Each variable and the field that it fills. Of several for one field, the later wins where both are set."""


def from_settings(settings: Settings, *, only_set: bool, model_based: bool = False) -> Layer:
    """The variables as a layer.

    Args:
        settings: The variables.
        only_set: Leave those out that have their reference defaults.
        model_based: COPIES are instances there: each runs one copy.

    Raises:
        SpecError: A variable is wrong, or SM_NUM_GPUS and GPUS are both set and differ.
    """
    if settings.problems:
        raise SpecError("\n".join(settings.problems))
    _refuse_two_gpu_counts(settings)
    layer = Layer()
    for variable, field in FIELDS:
        value, origin = getattr(settings, variable), settings.origin(variable)
        path = ("instance", "initial_count") if variable == "COPIES" and model_based else field
        if value is None or (origin is None and (only_set or _already_set(layer, path))):
            continue
        _put(layer, path, value, DEFAULT if origin is None else Origin("env", origin))
    if layer.values.get("endpoint_config_name") == layer.values.get("name") or not settings.origin(
        "SAGEMAKER_ENDPOINT_CONFIG_INFERENCE"
    ):
        layer.values.pop("endpoint_config_name", None)
        layer.origins.pop(("endpoint_config_name",), None)
    return layer


def twin(settings: Settings, *, model_based: bool = False) -> Layer:
    """The whole deployment that the variables describe; with their defaults it is `configs/twin.yaml`."""
    layer = from_settings(settings, only_set=False, model_based=model_based)
    values: dict[str, Any] = {
        "engine": "tgi",
        "autoscaling": {"min_copies": 1, "max_copies": max(_TWIN_MOST_COPIES, settings.COPIES)},
    }
    return Layer({**layer.values, **values}, {**dict.fromkeys(paths(values), DEFAULT), **layer.origins})


def _put(layer: Layer, path: tuple[str, ...], value: object, origin: Origin) -> None:
    values = layer.values
    for parent in path[:-1]:
        values = values.setdefault(parent, {})
    values[path[-1]] = short_forms.model(value) if path == ("model",) else value
    for inner in (path, *((*path, *rest) for rest in paths(values[path[-1]]))):
        layer.origins[inner] = origin


def _already_set(layer: Layer, path: tuple[str, ...]) -> bool:
    found = layer.origins.get(path)
    return found is not None and found is not DEFAULT


def _refuse_two_gpu_counts(settings: Settings) -> None:
    one, other = settings.origin("SM_NUM_GPUS"), settings.origin("GPUS")
    if one and other and settings.SM_NUM_GPUS != settings.GPUS:
        raise SpecError(
            f"{other}: {settings.GPUS} contradicts {one} ({settings.SM_NUM_GPUS}); "
            "both are the GPUs of one copy, which is the tensor parallel degree.",
            hint="Set them to the same number, or only one of them.",
        )
