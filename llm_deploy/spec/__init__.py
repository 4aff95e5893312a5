"""The spec: what the user wants. Documents, the rules between their fields, and the loader.

file ─┐
flags ├─ layers ─ documents (each field) ─ rules (between fields) ─ judges (the catalogue) ─▶ LoadedSpec
.env ─┘
"""

from __future__ import annotations

from llm_deploy.spec.document import Document
from llm_deploy.spec.documents import (
    DeploymentSpec,
    Dialect,
    EndpointType,
    Engine,
    Generation,
    HubModel,
    Instance,
    Limits,
    Network,
    Place,
    ResolvedSpec,
    Resources,
    S3Model,
    TargetTracking,
    Timeouts,
)
from llm_deploy.spec.layers import Origin
from llm_deploy.spec.load import Judge, LoadedSpec, Provenance, load
from llm_deploy.spec.requirements import ResourceRequirements
from llm_deploy.spec.rules import Finding
from llm_deploy.spec.updates import RollbackAlarms, Update

__all__ = [
    "DeploymentSpec",
    "Dialect",
    "Document",
    "EndpointType",
    "Engine",
    "Finding",
    "Generation",
    "HubModel",
    "Instance",
    "Judge",
    "Limits",
    "LoadedSpec",
    "Network",
    "Origin",
    "Place",
    "Provenance",
    "ResolvedSpec",
    "ResourceRequirements",
    "Resources",
    "RollbackAlarms",
    "S3Model",
    "TargetTracking",
    "Timeouts",
    "Update",
    "load",
]
