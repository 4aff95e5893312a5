"""Application Auto Scaling for SageMaker: targets, policies and scheduled actions, kept and checked as AWS does.

Nothing acts on them yet: no alarm is evaluated, no capacity is changed, and DescribeScalingActivities is empty.
"""

from __future__ import annotations

from llm_deploy.emulator.autoscaling.policies import Policies
from llm_deploy.emulator.autoscaling.schedules import Schedules
from llm_deploy.emulator.autoscaling.targets import Targets
from llm_deploy.emulator.cloudwatch.alarms import Alarms
from llm_deploy.emulator.service import Cloud, JsonService
from llm_deploy.emulator.store import Document


def install(cloud: Cloud) -> None:
    """Answer Application Auto Scaling."""
    policies = Policies(cloud, Alarms(cloud))
    schedules = Schedules(cloud)
    targets = Targets(cloud, dependents=(policies, schedules))
    operations = targets.operations() | policies.operations() | schedules.operations()

    def implied(operation: str, params: Document) -> Document:
        return targets.implied(operation, params) | policies.implied(operation, params)

    cloud.implied["application-autoscaling"] = implied
    cloud.tags["application-autoscaling"] = targets.tags_of
    cloud.registry.add_json(JsonService("application-autoscaling", "AnyScaleFrontendService", operations))
