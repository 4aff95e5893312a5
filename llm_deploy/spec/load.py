"""From files, flags and the environment to one checked spec; every problem at once, each with its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from llm_deploy.errors import SpecError
from llm_deploy.spec import layers, rules, short_forms, source, vocabulary
from llm_deploy.spec.documents import RULES_LATER, DeploymentSpec, HubModel
from llm_deploy.spec.layers import DEFAULT, Layer, Origin
from llm_deploy.spec.problems import problems_of
from llm_deploy.spec.rules import Finding, Path, dotted

if TYPE_CHECKING:
    from llm_deploy.settings import Settings
    from llm_deploy.spec.documents import EndpointType

FROM_ENV = "from_env"
"""The one key of a file that is not of the spec: take what the file leaves out from the seed's variables."""

Judge = Callable[[DeploymentSpec], Iterable[Finding]]
"""Somebody else's findings on a spec (the catalogue's), reported together with ours."""

Provenance = Mapping[str, Origin]
"""By dotted field: where its value came from."""

NOTE_KEPT_BACK = (
    "HUGGINGFACE_ACCESS_TOKEN is not sent to the container, because DescribeModel would show it. "
    "A gated model needs it: stage the model to S3, or set allow_token_in_environment: true."
)

_PLACEHOLDERS: Mapping[str, Any] = {"name": "placeholder", "model": {"id": "placeholder/placeholder"}}


@dataclass(frozen=True)
class LoadedSpec:
    """A spec and how it came about.

    Attributes:
        provenance: For every leaf field (dotted), its origin; `str(origin)` is what `config show` prints.
        notes: What the loader did or left out that the user should know.
    """

    spec: DeploymentSpec
    provenance: Provenance
    notes: tuple[str, ...] = field(default=())


def load(
    path: FilePath | str | None,
    *,
    settings: Settings,
    overrides: Mapping[str, str] | None = None,
    endpoint_type: EndpointType | str | None = None,
    judges: Iterable[Judge] = (),
) -> LoadedSpec:
    """Read, merge and check a spec. Precedence: flags, file, seed's variables, defaults.

    The seed's variables count only when `path` is `None` (the Twin) or the file says `from_env: true`.

    Args:
        path: The spec's file.
        settings: Who and where; `HUGGINGFACE_ACCESS_TOKEN` is taken over only if the spec allows it.
        overrides: `--set` flags: dotted field to text.
        endpoint_type: The flag of that name, in any spelling.
        judges: More checks; see `llm_deploy.catalog.load_spec` for the one with the catalogue's.

    Raises:
        SpecError: Everything that is wrong, one line each: `file:line: field: what was expected`.
    """
    flags = _flags(overrides or {}, endpoint_type)
    layer = layers.over(_layer(path, settings, flags), flags)
    layer, notes = _with_token(layer, settings)
    spec = _checked(layer, judges, "flags" if path is None else str(path))
    return LoadedSpec(spec, _provenance(spec, layer), notes)


def _layer(path: FilePath | str | None, settings: Settings, flags: Layer) -> Layer:
    if path is None:
        return vocabulary.twin(settings, model_based=_model_based(flags))
    file = source.read(FilePath(path))
    from_env = file.raw.pop(FROM_ENV, False)
    if not isinstance(from_env, bool):
        raise SpecError(f"{file.where((FROM_ENV,))}: {FROM_ENV}: expected true or false.")
    written = layers.from_source(file)
    if not from_env:
        return written
    model_based = _model_based(layers.over(written, flags))
    return layers.over(vocabulary.from_settings(settings, only_set=True, model_based=model_based), written)


def _model_based(layer: Layer) -> bool:
    return short_forms.endpoint_type(layer.values.get("endpoint_type")) == short_forms.ENDPOINT_TYPE_WORDS["model"]


def _flags(overrides: Mapping[str, str], endpoint_type: EndpointType | str | None) -> Layer:
    flags = layers.from_flags(overrides)
    if endpoint_type is None:
        return flags
    named = Layer({"endpoint_type": endpoint_type}, {("endpoint_type",): Origin("flag", "--endpoint-type")})
    return layers.over(flags, named)


def _with_token(layer: Layer, settings: Settings) -> tuple[Layer, tuple[str, ...]]:
    """Hand the Hub token to a container that is allowed to have it; say so when it is not."""
    token = settings.HUGGINGFACE_ACCESS_TOKEN
    environment = layer.values.get("environment") or {}
    model = layer.values.get("model")
    from_hub = isinstance(model, Mapping) and "id" in model
    if token is None or not from_hub or not isinstance(environment, Mapping):
        return layer, ()
    if str(layer.values.get("allow_token_in_environment", "false")).lower() not in {"true", "yes", "on", "1"}:
        return layer, (NOTE_KEPT_BACK,)
    if rules.TOKEN_NAMES & environment.keys():
        return layer, ()
    origin = Origin("env", settings.origin("HUGGINGFACE_ACCESS_TOKEN") or "HUGGINGFACE_ACCESS_TOKEN")
    added = Layer({"environment": {"HF_TOKEN": token.get_secret_value()}}, {("environment", "HF_TOKEN"): origin})
    return layers.over(layer, added), ("The Hub token is in the container's environment; DescribeModel shows it.",)


def _checked(layer: Layer, judges: Iterable[Judge], name: str) -> DeploymentSpec:
    spec, wrong = _validated(short_forms.without_empty_sections(layer.values))
    findings = [*wrong]
    if spec is not None:
        broken = {finding.path for finding in wrong}
        judged = [*rules.check(spec), *(finding for judge in judges for finding in judge(spec))]
        findings += [finding for finding in judged if not _moot(finding, broken)]
    if findings or spec is None:
        raise SpecError("\n".join(dict.fromkeys(_line(finding, layer, name) for finding in findings)))
    return spec


def _validated(values: Mapping[str, Any]) -> tuple[DeploymentSpec | None, tuple[Finding, ...]]:
    """The spec and its fields' errors; with errors, a spec without the wrong fields, for the rules to look at."""
    try:
        return DeploymentSpec.model_validate(values, context={RULES_LATER: True}), ()
    except ValidationError as error:
        wrong = problems_of(error, DeploymentSpec)
    kept = _without(values, {finding.path for finding in wrong})
    try:
        return DeploymentSpec.model_validate({**_PLACEHOLDERS, **kept}, context={RULES_LATER: True}), wrong
    except ValidationError:
        return None, wrong


def _without(values: Mapping[str, Any], wrong: set[Path], path: Path = ()) -> dict[str, Any]:
    kept = {}
    for key, value in values.items():
        here = (*path, key)
        inside_list = any(found[: len(here)] == here and isinstance((*found, "")[len(here)], int) for found in wrong)
        if here in wrong or inside_list or (here == ("model",) and any(found[0] == "model" for found in wrong)):
            continue
        kept[key] = _without(value, wrong, here) if isinstance(value, Mapping) else value
    return kept


def _moot(finding: Finding, broken: set[Path]) -> bool:
    read = (finding.path, *finding.involves)
    return any(_related(one, other) for one in read for other in broken)


def _related(one: Path, other: Path) -> bool:
    length = min(len(one), len(other))
    return one[:length] == other[:length]


def _line(finding: Finding, layer: Layer, name: str) -> str:
    origin = layer.origin(finding.path)
    if origin is None or origin is DEFAULT:
        involved = (layer.origin(path) for path in finding.involves)
        origin = next((found for found in involved if found is not None and found is not DEFAULT), origin)
    where = name if origin is None or origin is DEFAULT else str(origin)
    text = f"{where}: {finding}"
    return text if text.endswith("?") else f"{text}."


def _provenance(spec: DeploymentSpec, layer: Layer) -> Provenance:
    dumped = spec.model_dump(mode="json")
    leaves = {path: _at(dumped, path) for path in layers.paths(dumped)}
    return {
        dotted(path): layer.origins.get(path, DEFAULT)
        for path, value in leaves.items()
        if not (isinstance(value, dict | list) and value)
    }


def _at(value: Any, path: Path) -> Any:  # noqa: ANN401 - any dumped value
    for part in path:
        value = value[part]
    return value


def is_pinned(model: HubModel) -> bool:
    """Whether a model's revision is a commit hash, the only name that cannot move."""
    revision = model.revision or ""
    return len(revision) == 40 and all(letter in "0123456789abcdef" for letter in revision)  # noqa: PLR2004 - SHA-1
