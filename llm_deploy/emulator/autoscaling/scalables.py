"""What can be scaled: SageMaker's three dimensions, their resource ids, and the metrics that belong to them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from llm_deploy.emulator import ledger
from llm_deploy.emulator.service import ServiceError
from llm_deploy.emulator.store import Document

NAMESPACE = "sagemaker"
METRIC_NAMESPACE = "AWS/SageMaker"


@dataclass(frozen=True, slots=True)
class PredefinedMetric:
    """What a predefined metric type stands for in CloudWatch.

    Attributes:
        period_s, high_periods, low_periods: Of the two alarms of a target-tracking policy.
    """

    name: str
    statistic: str = "Sum"
    period_s: int = 60
    high_periods: int = 3
    low_periods: int = 15


@dataclass(frozen=True, slots=True)
class Dimension:
    """A scalable dimension.

    Attributes:
        pattern: The resource ids it applies to; the groups are values of `metric_dimensions`.
        least: Smallest capacity that may be registered.
    """

    name: str
    pattern: re.Pattern[str]
    metric_dimensions: tuple[str, ...]
    metrics: Mapping[str, PredefinedMetric]
    least: int


_VARIANT = re.compile(r"endpoint/([^/]+)/variant/([^/]+)")
_COMPONENT = re.compile(r"inference-component/([^/]+)")

DIMENSIONS = {
    dimension.name: dimension
    for dimension in (
        Dimension(
            "sagemaker:variant:DesiredInstanceCount",
            _VARIANT,
            ("EndpointName", "VariantName"),
            {
                "SageMakerVariantInvocationsPerInstance": PredefinedMetric("InvocationsPerInstance"),
                "SageMakerVariantConcurrentRequestsPerModelHighResolution": PredefinedMetric(
                    "ConcurrentRequestsPerModel", statistic="Maximum", period_s=10, low_periods=90
                ),
            },
            least=1,
        ),
        Dimension(
            "sagemaker:inference-component:DesiredCopyCount",
            _COMPONENT,
            ("InferenceComponentName",),
            {
                "SageMakerInferenceComponentInvocationsPerCopy": PredefinedMetric("InvocationsPerCopy"),
                "SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution": PredefinedMetric(
                    "ConcurrentRequestsPerCopy", statistic="Maximum", period_s=10, low_periods=90
                ),
            },
            least=0,
        ),
        Dimension(
            "sagemaker:variant:DesiredProvisionedConcurrency",
            _VARIANT,
            ("EndpointName", "VariantName"),
            {
                "SageMakerVariantProvisionedConcurrencyUtilization": PredefinedMetric(
                    "ServerlessProvisionedConcurrencyUtilization", statistic="Maximum"
                ),
            },
            least=1,
        ),
    )
}
"""Ledger: `autoscaling.dimensions`, `autoscaling.alarm-periods`."""


@dataclass(frozen=True, slots=True)
class ScalableId:
    """Which capacity of which resource. Three strings that always travel together."""

    resource: str
    dimension: Dimension

    @property
    def key(self) -> str:
        """Name in the store; `|` cannot be in a dimension."""
        return f"{self.dimension.name}|{self.resource}"

    @property
    def fields(self) -> Document:
        """As AWS's documents have it."""
        return {
            "ServiceNamespace": NAMESPACE,
            "ResourceId": self.resource,
            "ScalableDimension": self.dimension.name,
        }

    @property
    def names(self) -> tuple[str, ...]:
        """The endpoint and the variant, or the inference component."""
        found = self.dimension.pattern.fullmatch(self.resource)
        return found.groups() if found else ()

    @property
    def metric_dimensions(self) -> list[Document]:
        """CloudWatch's dimensions of this resource's own metrics."""
        pairs = zip(self.dimension.metric_dimensions, self.names, strict=True)
        return [{"Name": name, "Value": value} for name, value in pairs]


def scalable_id(params: Document) -> ScalableId:
    """The scalable that a request names.

    Raises:
        ServiceError: Another namespace, a dimension of another service, or a resource id that does not fit.
    """
    namespace, resource, name = params["ServiceNamespace"], params["ResourceId"], params["ScalableDimension"]
    if namespace != NAMESPACE:
        raise ServiceError("ValidationException", ledger.text("autoscaling.namespace", namespace=namespace))
    dimension = DIMENSIONS.get(name)
    if dimension is None or not dimension.pattern.fullmatch(resource):
        words = ledger.text("autoscaling.unsupported", namespace=namespace, resource=resource, dimension=name)
        raise ServiceError("ValidationException", words)
    return ScalableId(resource, dimension)


def check_namespace(params: Document) -> None:
    """Refuse another namespace than SageMaker's: an empty list would look like an answer.

    Raises:
        ServiceError: It is another one.
    """
    if params["ServiceNamespace"] != NAMESPACE:
        words = ledger.text("autoscaling.namespace", namespace=params["ServiceNamespace"])
        raise ServiceError("ValidationException", words)
