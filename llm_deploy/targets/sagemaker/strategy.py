"""The pure function from a resolved spec to its resources."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from llm_deploy.resource import (
    ENDPOINT,
    ENDPOINT_CONFIG,
    INFERENCE_COMPONENT,
    MODEL,
    SCALABLE_TARGET,
    SCALING_POLICY,
    TAG_CONTENT,
    TAG_DEPLOYMENT,
    TAG_DIALECT,
    TAG_ENDPOINT_TYPE,
    TAG_MACHINE,
    TAG_MODEL,
    TAG_NETWORK,
    TAG_SAMPLING,
    TAG_TTL,
    Resource,
    content_hash,
    content_name,
)
from llm_deploy.spec import DeploymentSpec, EndpointType, ResolvedSpec, S3Model, TargetTracking, durations

Document = dict[str, Any]

ENDPOINT_TYPE_WORDS = {
    EndpointType.MODEL_BASED: "model",
    EndpointType.INFERENCE_COMPONENT_BASED: "inference-component",
}
TAG_VALUE_CHARACTERS = 256
FOREVER = "none"
"""The tag of a spec without a ttl: what is left out would not take an earlier one away."""
METRIC_OF_COPIES = "SageMakerInferenceComponentInvocationsPerCopy"
METRIC_OF_INSTANCES = "SageMakerVariantInvocationsPerInstance"


def resources(resolved: ResolvedSpec) -> tuple[Resource, ...]:
    """Everything that a deployment is made of, in the order in which it is made. Pure."""
    model = _model(resolved)
    config = _endpoint_config(resolved, model.name)
    found = [model, config, _endpoint(resolved, config.name)]
    if resolved.component_name is not None:
        found.append(_component(resolved, model.name))
    found.extend(_scaling(resolved))
    return tuple(found)


def _model(resolved: ResolvedSpec) -> Resource:
    document = {
        "ExecutionRoleArn": resolved.execution_role_arn,
        "PrimaryContainer": _container(resolved),
        **_network(resolved.spec),
    }
    name = content_name(resolved.spec.name, _content(document))
    return Resource(
        "Model",
        MODEL,
        name,
        {"ModelName": name, **document},
        tags=_tags(resolved),
        purpose=f"{model_id(resolved.spec)} in the {resolved.spec.engine} container",
    )


def _container(resolved: ResolvedSpec) -> Document:
    container: Document = {"Image": resolved.image_uri, "Environment": dict(resolved.environment)}
    model = resolved.spec.model
    if isinstance(model, S3Model):
        source: Document = {"S3Uri": model.s3_uri, "S3DataType": "S3Prefix", "CompressionType": "None"}
        if model.accept_eula:
            source["ModelAccessConfig"] = {"AcceptEula": True}
        container["ModelDataSource"] = {"S3DataSource": source}
    return container


def _endpoint_config(resolved: ResolvedSpec, model_name: str) -> Resource:
    spec = resolved.spec
    document: Document = {"ProductionVariants": [_variant(resolved, model_name)]}
    if resolved.component_name is not None:
        document |= {"ExecutionRoleArn": resolved.execution_role_arn, **_network(spec)}
    if spec.kms_key_id:
        document["KmsKeyId"] = spec.kms_key_id
    name = content_name(_config_base(spec), _content(document))
    count = spec.instance.initial_count
    return Resource(
        "EndpointConfig",
        ENDPOINT_CONFIG,
        name,
        {"EndpointConfigName": name, **document},
        tags=_tags(resolved),
        depends_on=("Model",),
        purpose=f"{count} x {spec.instance.type}, {_price(resolved)}",
    )


def _content(document: Document) -> Document:
    """What a name is made from: the same in every account, so that a template that knows none has the same names."""
    role = document.get("ExecutionRoleArn")
    return document if role is None else {**document, "ExecutionRoleArn": role.partition(":role/")[2] or role}


def _config_base(spec: DeploymentSpec) -> str:
    """Config names begin with the deployment's name, whatever else is asked for, so that a list by name finds them."""
    base = spec.endpoint_config_base
    return base if base.startswith(spec.name) else f"{spec.name}-{base}"


def _variant(resolved: ResolvedSpec, model_name: str) -> Document:
    instance = resolved.spec.instance
    variant: Document = {
        "VariantName": resolved.spec.variant_name,
        "InstanceType": instance.type,
        "InitialInstanceCount": instance.initial_count,
        "RoutingConfig": {"RoutingStrategy": resolved.spec.routing_strategy},
    }
    if resolved.component_name is None:
        variant |= {"ModelName": model_name, "InitialVariantWeight": 1.0, **_startup(resolved.spec)}
    else:
        variant |= _managed_instances(resolved.spec)
    if instance.volume_size_gib is not None:
        variant["VolumeSizeInGB"] = instance.volume_size_gib
    if resolved.inference_ami_version is not None:
        variant["InferenceAmiVersion"] = resolved.inference_ami_version
    return variant


def _managed_instances(spec: DeploymentSpec) -> Document:
    """Instances that follow the copies. Without autoscaling and without bounds there is nothing to manage."""
    bounds = spec.instance.min_count, spec.instance.max_count
    if spec.autoscaling is None and bounds == (None, None):
        return {}
    initial = spec.instance.initial_count
    most_copies = spec.autoscaling.max_copies if spec.autoscaling else initial
    return {
        "ManagedInstanceScaling": {
            "Status": "ENABLED",
            "MinInstanceCount": initial if spec.instance.min_count is None else spec.instance.min_count,
            "MaxInstanceCount": spec.instance.max_count or max(initial, most_copies),
        }
    }


def _startup(spec: DeploymentSpec) -> Document:
    found = {
        "ModelDataDownloadTimeoutInSeconds": spec.timeouts.model_download_s,
        "ContainerStartupHealthCheckTimeoutInSeconds": spec.timeouts.container_startup_s,
    }
    return {key: value for key, value in found.items() if value is not None}


def _endpoint(resolved: ResolvedSpec, config_name: str) -> Resource:
    name = resolved.spec.name
    document: Document = {"EndpointName": name, "EndpointConfigName": config_name}
    if resolved.spec.autoscaling is not None:
        # An update would otherwise reset the instance count that autoscaling chose to the initial one.
        document["RetainAllVariantProperties"] = True
    sampling = resolved.spec.generation.model_dump()
    return Resource(
        "Endpoint",
        ENDPOINT,
        name,
        document,
        tags={
            **_tags(resolved),
            TAG_NETWORK: content_hash(network) if (network := _network(resolved.spec)) else "none",
            TAG_TTL: durations.canonical(resolved.spec.ttl) if resolved.spec.ttl else FOREVER,
            TAG_SAMPLING: " ".join(f"{key}={value}" for key, value in sampling.items()),
        },
        depends_on=("EndpointConfig",),
        purpose="what callers invoke; bills from now until it is deleted",
        write_only=frozenset({"RetainAllVariantProperties"}),
        create_only=frozenset({f"Tags.{TAG_ENDPOINT_TYPE}", f"Tags.{TAG_NETWORK}"}),
    )


def _component(resolved: ResolvedSpec, model_name: str) -> Resource:
    spec, name = resolved.spec, resolved.component_name or resolved.spec.name
    specification: Document = {
        "ModelName": model_name,
        "ComputeResourceRequirements": {
            "MinMemoryRequiredInMb": spec.resources.memory_mib,
            "NumberOfCpuCoresRequired": float(spec.resources.num_cpus),
            "NumberOfAcceleratorDevicesRequired": float(spec.resources.num_accelerators),
        },
    }
    if spec.resources.max_memory_mib is not None:
        specification["ComputeResourceRequirements"]["MaxMemoryRequiredInMb"] = spec.resources.max_memory_mib
    if startup := _startup(spec):
        specification["StartupParameters"] = startup
    document: Document = {
        "InferenceComponentName": name,
        "EndpointName": spec.name,
        "VariantName": spec.variant_name,
        "Specification": specification,
        "RuntimeConfig": {"CopyCount": spec.resources.copies},
    }
    return Resource(
        "InferenceComponent",
        INFERENCE_COMPONENT,
        name,
        document,
        tags={**_tags(resolved), TAG_CONTENT: content_hash(specification)},
        depends_on=("Model", "Endpoint"),
        purpose=f"{_copies(spec)} of the model, {_accelerators(spec)} each",
        write_only=frozenset({"RuntimeConfig.CopyCount"} if spec.autoscaling else ()),
        create_only=frozenset({"VariantName"}),
    )


def _scaling(resolved: ResolvedSpec) -> Iterator[Resource]:
    tracking = resolved.spec.autoscaling
    if tracking is None:
        return
    base = _scaled_thing(resolved)
    component = resolved.component_name is not None
    over = "InferenceComponent" if component else "Endpoint"
    yield Resource(
        "ScalableTarget",
        SCALABLE_TARGET,
        base["ResourceId"],
        {**base, "MinCapacity": tracking.min_copies, "MaxCapacity": tracking.max_copies},
        tags={TAG_DEPLOYMENT: resolved.spec.name} | ({} if component else {TAG_MACHINE: resolved.spec.instance.type}),
        depends_on=(over,),
        purpose=f"between {tracking.min_copies} and {tracking.max_copies} {_unit(resolved)}",
        replace_on=frozenset({TAG_MACHINE}),
    )
    yield _tracking_policy(resolved, base, tracking)


def _tracking_policy(resolved: ResolvedSpec, base: Document, tracking: TargetTracking) -> Resource:
    default = METRIC_OF_COPIES if resolved.component_name else METRIC_OF_INSTANCES
    metric = tracking.metric or default
    name = f"{resolved.spec.name}-target-tracking"
    configuration = {
        "PredefinedMetricSpecification": {"PredefinedMetricType": metric},
        "TargetValue": float(tracking.target),
        "ScaleInCooldown": tracking.scale_in_cooldown_s,
        "ScaleOutCooldown": tracking.scale_out_cooldown_s,
        "DisableScaleIn": tracking.disable_scale_in,
    }
    return Resource(
        "ScalingPolicy",
        SCALING_POLICY,
        f"{base['ResourceId']}|{name}",
        {
            "PolicyName": name,
            "PolicyType": "TargetTrackingScaling",
            **base,
            "TargetTrackingScalingPolicyConfiguration": configuration,
        },
        depends_on=("ScalableTarget",),
        purpose=f"keeps {metric} near {tracking.target:g}",
    )


def _scaled_thing(resolved: ResolvedSpec) -> Document:
    if resolved.component_name is not None:
        resource_id = f"inference-component/{resolved.component_name}"
        dimension = "sagemaker:inference-component:DesiredCopyCount"
    else:
        resource_id = f"endpoint/{resolved.spec.name}/variant/{resolved.spec.variant_name}"
        dimension = "sagemaker:variant:DesiredInstanceCount"
    return {"ServiceNamespace": "sagemaker", "ResourceId": resource_id, "ScalableDimension": dimension}


def _network(spec: DeploymentSpec) -> Document:
    network: Document = {}
    if spec.network.subnets:
        network["VpcConfig"] = {
            "SecurityGroupIds": list(spec.network.security_group_ids),
            "Subnets": list(spec.network.subnets),
        }
    if spec.network.isolation:
        network["EnableNetworkIsolation"] = True
    return network


def _tags(resolved: ResolvedSpec) -> dict[str, str]:
    spec = resolved.spec
    return {
        **spec.tags,
        TAG_DEPLOYMENT: spec.name,
        TAG_ENDPOINT_TYPE: ENDPOINT_TYPE_WORDS[spec.endpoint_type],
        TAG_DIALECT: resolved.dialect,
        TAG_MODEL: tag_value(model_id(spec)),
    }


def tag_value(text: str) -> str:
    """A text as AWS takes it in a tag: 256 characters, some signs only; the end, which tells models apart, is kept."""
    return re.sub(r"[^\w .:/=+@-]", "_", text)[-TAG_VALUE_CHARACTERS:]


def model_id(spec: DeploymentSpec) -> str:
    """The model's Hub id or S3 prefix."""
    return spec.model.s3_uri if isinstance(spec.model, S3Model) else spec.model.id


def _copies(spec: DeploymentSpec) -> str:
    return "1 copy" if spec.resources.copies == 1 else f"{spec.resources.copies} copies"


def _accelerators(spec: DeploymentSpec) -> str:
    count = spec.resources.num_accelerators
    if count == 0:
        return f"{spec.resources.num_cpus:g} CPUs"
    return "1 accelerator" if count == 1 else f"{count} accelerators"


def _unit(resolved: ResolvedSpec) -> str:
    return "copies" if resolved.component_name else "instances"


def _price(resolved: ResolvedSpec) -> str:
    if resolved.usd_per_hour is None:
        return "price unknown"
    cost = resolved.usd_per_hour * resolved.spec.instance.initial_count
    return f"${cost:.2f}/h" + (f" ({resolved.price_note})" if resolved.price_note else "")
