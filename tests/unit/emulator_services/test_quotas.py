"""Service Quotas says what SageMaker enforces."""

from __future__ import annotations

import pytest

from llm_deploy.emulator.quotas import known_quotas
from tests.unit.emulator_services.wire import RefusedError, Wire

G5_XLARGE = {"ServiceCode": "sagemaker", "QuotaCode": "L-1928E07B"}
"""Source: AWS General Reference."""


def test_all_pages_together_are_all_quotas(wire: Wire) -> None:
    """Each quota once, and every instance type has one by its name."""
    names: list[str] = []
    token: dict[str, str] = {}
    while True:
        answer = wire.call("quotas", "ListServiceQuotas", ServiceCode="sagemaker", MaxResults=20, **token)
        names += [quota["QuotaName"] for quota in answer["Quotas"]]
        if "NextToken" not in answer:
            break
        token = {"NextToken": answer["NextToken"]}
    assert len(names) == len(set(names)) == len(known_quotas())
    assert {"ml.g5.2xlarge for endpoint usage", "Number of instances across active endpoints"} <= set(names)


def test_aws_gives_less_than_the_local_cloud(wire: Wire) -> None:
    """The default is AWS's; the applied value lets a first deployment through."""
    default = wire.call("quotas", "GetAWSDefaultServiceQuota", **G5_XLARGE)["Quota"]
    applied = wire.call("quotas", "GetServiceQuota", **G5_XLARGE)["Quota"]
    assert applied["QuotaName"] == default["QuotaName"] == "ml.g5.xlarge for endpoint usage"
    assert (default["Value"], applied["Value"] > 0) == (0.0, True)


def test_a_request_changes_what_sagemaker_enforces(wire: Wire) -> None:
    """Ledger quotas.granted-at-once; the hook that CreateEndpoint asks sees the new value."""
    wire.call("quotas", "RequestServiceQuotaIncrease", **G5_XLARGE, DesiredValue=0)
    assert wire.call("quotas", "GetServiceQuota", **G5_XLARGE)["Quota"]["Value"] == 0.0
    assert wire.cloud.hooks.quota("ml.g5.xlarge for endpoint usage") == 0.0
    assert wire.call("quotas", "GetAWSDefaultServiceQuota", **G5_XLARGE)["Quota"]["Value"] == 0.0


def test_what_has_no_quota_is_not_limited(wire: Wire) -> None:
    """An instance type that nobody listed must not be refused for that."""
    assert wire.cloud.hooks.quota("ml.new.xlarge for endpoint usage") is None


@pytest.mark.parametrize("asked", [G5_XLARGE | {"QuotaCode": "L-00000000"}, G5_XLARGE | {"ServiceCode": "ec2"}])
def test_unknown_quotas_are_errors(wire: Wire, asked: dict[str, str]) -> None:
    """Not zero, and not silence."""
    with pytest.raises(RefusedError, match="NoSuchResourceException"):
        wire.call("quotas", "GetServiceQuota", **asked)


def test_codes_are_unique_and_of_awss_form() -> None:
    """Made-up codes collide neither with each other nor with the known ones."""
    assert len({quota.name for quota in known_quotas().values()}) == len(known_quotas())
    assert all(len(code) == len("L-1928E07B") and code.startswith("L-") for code in known_quotas())
