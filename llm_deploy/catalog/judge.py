"""What the catalogue finds wrong with a spec: instance types, drivers, engines' words. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from llm_deploy.catalog.containers import Image, engine_facts, image_uri, number, own_image
from llm_deploy.catalog.data_files import data
from llm_deploy.catalog.environment import environment
from llm_deploy.catalog.instances import InstanceType, instances, unknown_instance
from llm_deploy.errors import SpecError
from llm_deploy.spec import DeploymentSpec, EndpointType, Finding, LoadedSpec, load, rules
from llm_deploy.spec.problems import suggestion

if TYPE_CHECKING:
    from llm_deploy.settings import Settings

_INSTANCE = ("instance", "type")


def load_spec(path: FilePath | str | None, *, settings: Settings, **options: Any) -> LoadedSpec:  # noqa: ANN401 - passed on
    """`spec.load` with the catalogue's findings beside the spec's own. Takes the same options."""
    return load(path, settings=settings, judges=(findings,), **options)


def findings(spec: DeploymentSpec) -> Iterator[Finding]:
    """Everything that is wrong with a spec as far as instances and engines are concerned."""
    yield from _version(spec)
    yield from _quantize(spec)
    yield from _whole_environment(spec)
    found = instances().get(spec.instance.type)
    if found is None:
        yield Finding(_INSTANCE, unknown_instance(spec.instance.type))
        return
    yield from _fits(spec, found)
    yield from _volume(spec, found)
    yield from _driver(spec, found)


def copies_per_instance(spec: DeploymentSpec, instance: InstanceType) -> int:
    """How many copies one machine holds, counted by accelerators alone."""
    return instance.accelerators // spec.resources.num_accelerators


def _fits(spec: DeploymentSpec, instance: InstanceType) -> Iterator[Finding]:
    resources = spec.resources
    involves = (_INSTANCE, ("endpoint_type",))
    if resources.num_accelerators > instance.accelerators:
        yield Finding(
            ("resources", "num_accelerators"),
            f"{resources.num_accelerators} is more than the {instance.accelerators} of {instance.name}",
            involves,
        )
        return
    if instance.kind == "neuron" and spec.image is None:
        yield Finding(
            _INSTANCE,
            f"{instance.name} has {instance.accelerator}, and the catalogue's images are for GPUs; give `image:` one "
            "that is built for Neuron",
            (("engine",),),
        )
    if spec.endpoint_type is EndpointType.INFERENCE_COMPONENT_BASED:
        yield from _component_fits(spec, instance)


def _component_fits(spec: DeploymentSpec, instance: InstanceType) -> Iterator[Finding]:
    resources = spec.resources
    if resources.num_cpus > instance.vcpu:
        yield Finding(
            ("resources", "num_cpus"),
            f"{resources.num_cpus:g} is more than the {instance.vcpu} of {instance.name}",
            (_INSTANCE,),
        )
    if resources.memory_mib > instance.memory_gib * 1024:
        yield Finding(
            ("resources", "memory_mib"),
            f"{resources.memory_mib} is more than the {instance.memory_gib * 1024} of {instance.name}",
            (_INSTANCE,),
        )
    machines = max(spec.instance.initial_count, spec.instance.max_count or 0)
    room = machines * copies_per_instance(spec, instance)
    # With autoscaling and no bound of instances, SageMaker is asked to start as many as the copies need.
    if resources.copies > room and not (spec.autoscaling and spec.instance.max_count is None):
        yield Finding(
            ("resources", "copies"),
            f"{resources.copies} copies do not fit on {machines} of {instance.name}, which holds "
            f"{copies_per_instance(spec, instance)}; raise instance.initial_count or instance.max_count",
            (_INSTANCE, ("resources", "num_accelerators"), ("instance", "max_count"), ("instance", "initial_count")),
        )


def _volume(spec: DeploymentSpec, instance: InstanceType) -> Iterator[Finding]:
    if instance.volume:
        return
    reason = f"{instance.name} has {'NVMe disks' if instance.nvme_gb else 'fixed disks'} and AWS refuses"
    if spec.instance.volume_size_gib is not None:
        yield Finding(("instance", "volume_size_gib"), f"{reason} a volume size; leave it out", (_INSTANCE,))
    if spec.kms_key_id is not None:
        yield Finding(("kms_key_id",), f"{reason} a volume key; leave it out", (_INSTANCE,))


def _driver(spec: DeploymentSpec, instance: InstanceType) -> Iterator[Finding]:
    chosen = spec.instance.inference_ami_version
    if chosen is None:
        return
    path = ("instance", "inference_ami_version")
    amis = data("containers")["amis"]
    if chosen not in amis:
        yield Finding(path, f"{chosen!r} is unknown; expected {', '.join(amis)}{suggestion(chosen, amis)}")
        return
    if instance.family not in amis[chosen]["families"]:
        fitting = [name for name, row in amis.items() if instance.family in row["families"]]
        yield Finding(
            path, f"{chosen} does not run on {instance.name}; {', '.join(fitting) or 'none'} does", (_INSTANCE,)
        )
    cuda = _cuda(spec) if not list(_version(spec)) else None
    if cuda and amis[chosen]["cuda"] and _too_old(amis[chosen]["cuda"], cuda):
        yield Finding(
            path,
            f"the image needs CUDA {cuda} and {chosen} brings {amis[chosen]['cuda']}: the container would not start "
            "and leave no log; leave it out to have the right one chosen",
            (("image",), ("engine",)),
        )


def _too_old(ami_cuda: str, image_cuda: str) -> bool:
    """A driver a whole major version behind. 12.4 (gpu-3-1) passes: AWS's own page runs CUDA 13 images on it."""
    return number(ami_cuda)[0] < number(image_cuda)[0] and number(ami_cuda) < (12, 4)


def _cuda(spec: DeploymentSpec) -> str | None:
    if spec.image:
        return own_image(spec.image, spec.engine).cuda
    return _newest(spec).cuda


def _newest(spec: DeploymentSpec) -> Image:
    return image_uri(spec.engine, data("instances")["price_region"], spec.engine_version)


def _version(spec: DeploymentSpec) -> Iterator[Finding]:
    if spec.engine_version is None or spec.image is not None:
        return
    try:
        _newest(spec)
    except SpecError as error:
        yield Finding(("engine_version",), error.message, (("engine",),))


def _quantize(spec: DeploymentSpec) -> Iterator[Finding]:
    known = engine_facts(spec.engine)["quantize"]
    if spec.quantize and known and spec.quantize not in known:
        yield Finding(
            ("quantize",),
            f"{spec.quantize!r} is unknown to {spec.engine}; expected {', '.join(known)}"
            f"{suggestion(spec.quantize, known)}",
            (("engine",),),
        )


def _whole_environment(spec: DeploymentSpec) -> Iterator[Finding]:
    """Limits on the engine's and the user's variables together, and variables that contradict the spec."""
    own = spec.model_copy(update={"environment": {}})
    for key, value in environment(own).items():
        written = spec.environment.get(key)
        if written is not None and written != value and key not in rules.TENSOR_PARALLEL_VARIABLES:
            yield Finding(
                ("environment", key), f"contradicts the spec, from which {key}={value} follows; change that field"
            )
    whole = environment(spec)
    if len(spec.environment) <= rules.ENVIRONMENT_ENTRIES:
        for finding in rules.check_environment(whole):
            if finding.path == ("environment",):
                yield Finding(finding.path, f"{finding.message} (the engine's own variables are counted)")
