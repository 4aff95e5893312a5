"""IAM's changes reach other services late, and the product waits for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from llm_deploy.deploy.apply import Stage
from llm_deploy.deploy.inventory import Managers
from llm_deploy.deploy.service import DeploymentService
from llm_deploy.resource import MODEL, TAG_DEPLOYMENT, Resource
from llm_deploy.targets.local import LocalCloud
from llm_deploy.targets.sagemaker.managers import hosting_managers
from tests.functional.local.conftest import Running, wait_until
from tests.functional.local.people import IMAGE, allow, document, new_role, refused, refused_code, trusting


@pytest.fixture(scope="module")
def slow_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A cloud in which IAM's changes take two real seconds to reach the services."""
    cloud = LocalCloud(tmp_path_factory.mktemp("slow") / "home")
    cloud.ensure_running(port=0, speed=4)
    yield Running(cloud)
    cloud.stop()


@dataclass(frozen=True)
class Models:
    """The one kind that this module deploys."""

    managers: Managers


def test_a_new_role_cannot_be_assumed_for_a_while_and_a_deploy_waits_it_out(slow_cloud: Running) -> None:
    """In the cloud's own time; exactly that refusal is tried again. Ledger: access.consistency, sm.model.role."""
    role = new_role(slow_cloud, trust=trusting({"Service": "sagemaker.amazonaws.com"}))
    model = {"ModelName": "twin-1", "ExecutionRoleArn": role, "PrimaryContainer": {"Image": IMAGE}}
    create = slow_cloud.client("sagemaker").create_model
    message = refused(create, **model)[2]
    assert message.startswith(f"Could not assume role {role}. Please ensure that the role exists")
    service = DeploymentService(Models(hosting_managers(slow_cloud.session())))
    wanted = [Resource("Model", MODEL, "twin-1", model, tags={TAG_DEPLOYMENT: "twin"})]
    steps = list(service.apply(service.plan("twin", wanted)))
    assert any(step.stage is Stage.WAITING and step.status == "refused for now" for step in steps)
    assert steps[-1].stage is Stage.DONE
    assert slow_cloud.client("sagemaker").describe_model(ModelName="twin-1")["ExecutionRoleArn"] == role


def test_a_new_policy_is_not_effective_for_a_while(slow_cloud: Running) -> None:
    """IAM itself shows it at once; SageMaker goes by it later, and by a removed one as long.

    Ledger: access.consistency.
    """
    iam = slow_cloud.client("iam")
    iam.create_user(UserName="ann")
    key = iam.create_access_key(UserName="ann")["AccessKey"]
    ann = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    sagemaker = slow_cloud.client("sagemaker", **ann)
    assert refused(sagemaker.list_models)[1] == "UnrecognizedClientException"
    assert wait_until(lambda: refused_code(sagemaker.list_models) == "AccessDeniedException", 10)
    iam.put_user_policy(UserName="ann", PolicyName="may", PolicyDocument=document(allow("sagemaker:ListModels")))
    assert iam.list_user_policies(UserName="ann")["PolicyNames"] == ["may"]
    assert refused(sagemaker.list_models)[1] == "AccessDeniedException"
    assert wait_until(lambda: refused_code(sagemaker.list_models) is None, 10)
    iam.delete_user_policy(UserName="ann", PolicyName="may")
    sagemaker.list_models()
    assert wait_until(lambda: refused_code(sagemaker.list_models) == "AccessDeniedException", 10)
