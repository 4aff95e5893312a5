"""Service Quotas for SageMaker: how many instances of each type an account may use, and three that span all types.

A fresh AWS account has 0 of most GPU types. The local cloud is generous, so that a first deployment works; a quota is
set lower (or to 0, to see what happens) by a request of Service Quotas that AWS would decide on by hand and the local
cloud grants at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from llm_deploy.emulator import ledger
from llm_deploy.emulator.cloudwatch.paging import page
from llm_deploy.emulator.service import Call, Cloud, JsonService, Operation, ServiceError
from llm_deploy.emulator.store import Document

KIND = "quotas:value"
CODE, NAME = "sagemaker", "Amazon SageMaker"
PAGE = 100
INVALID_TOKEN = "InvalidPaginationTokenException"  # noqa: S105 - an error code
DATA_FILE = Path(__file__).parent / "data" / "quotas.json"


@dataclass(frozen=True, slots=True)
class Quota:
    """One quota.

    Attributes:
        aws_value: What a fresh AWS account has.
        local_value: What the local cloud grants.
    """

    code: str
    name: str
    aws_value: float
    local_value: float


@cache
def known_quotas() -> dict[str, Quota]:
    """All quotas by code."""
    data = json.loads(DATA_FILE.read_text("utf-8"))
    local = float(data["local_instances"])
    quotas = {each["code"]: Quota(each["code"], each["name"], each["aws"], each["local"]) for each in data["account"]}
    for name in _usage_names(data):
        code = data["codes"].get(name) or _made_up_code(name)
        quotas[code] = Quota(code, name, float(data["aws_values"].get(name, 0)), local)
    return quotas


def _usage_names(data: Document) -> Iterator[str]:
    for instance_type in data["instance_types"]:
        yield f"{instance_type} for endpoint usage"


def _made_up_code(name: str) -> str:
    """A stable code of AWS's form for a quota whose real code is not known. Ledger: `quotas.codes`."""
    return f"L-{hashlib.sha256(name.encode()).hexdigest()[:8].upper()}"


class Quotas:
    """The quotas of the account, and the operations on them."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def operations(self) -> dict[str, Operation]:
        """Handlers by operation name."""
        return {
            "ListServices": self.list_services,
            "ListServiceQuotas": self.list_quotas,
            "GetServiceQuota": self.get_quota,
            "ListAWSDefaultServiceQuotas": self.list_defaults,
            "GetAWSDefaultServiceQuota": self.get_default,
            "RequestServiceQuotaIncrease": self.request_increase,
        }

    def by_name(self, name: str) -> float | None:
        """The account's value of a quota by its full name; `None`: there is no such quota, so nothing is limited."""
        for quota in known_quotas().values():
            if quota.name == name:
                return self._value(quota)
        return None

    async def list_services(self, call: Call) -> Document:
        """ListServices: SageMaker is the only one."""
        del call
        return {"Services": [{"ServiceCode": CODE, "ServiceName": NAME}]}

    async def list_quotas(self, call: Call) -> Document:
        """ListServiceQuotas: this account's values."""
        return self._page(call, applied=True)

    async def get_quota(self, call: Call) -> Document:
        """GetServiceQuota: this account's value."""
        return {"Quota": self._described(_known(call.params), applied=True)}

    async def list_defaults(self, call: Call) -> Document:
        """ListAWSDefaultServiceQuotas: what AWS gives a fresh account."""
        return self._page(call, applied=False)

    async def get_default(self, call: Call) -> Document:
        """GetAWSDefaultServiceQuota: what AWS gives a fresh account."""
        return {"Quota": self._described(_known(call.params), applied=False)}

    async def request_increase(self, call: Call) -> Document:
        """RequestServiceQuotaIncrease: granted at once, also downwards. Ledger: `quotas.granted-at-once`."""
        quota = _known(call.params)
        self._cloud.store.put(KIND, quota.code, {"value": call.params["DesiredValue"]})
        now = self._cloud.clock.now()
        return {
            "RequestedQuota": {
                "Id": hashlib.sha256(f"{quota.code}{now}".encode()).hexdigest()[:32],
                "ServiceCode": CODE,
                "ServiceName": NAME,
                "QuotaCode": quota.code,
                "QuotaName": quota.name,
                "DesiredValue": call.params["DesiredValue"],
                "Status": "APPROVED",
                "Created": now,
                "LastUpdated": now,
            }
        }

    def _value(self, quota: Quota) -> float:
        stored = self._cloud.store.get(KIND, quota.code)
        return float(stored["value"]) if stored else quota.local_value

    def _page(self, call: Call, *, applied: bool) -> Document:
        _require_sagemaker(call.params)
        wanted = call.params.get("QuotaCode")
        shown, token = page(
            [quota for quota in known_quotas().values() if wanted in {None, quota.code}],
            lambda quota: quota.code,
            limit=call.params.get("MaxResults", PAGE),
            token=call.params.get("NextToken"),
            error_code=INVALID_TOKEN,
        )
        described = [self._described(quota, applied=applied) for quota in shown]
        return {"Quotas": described} | ({"NextToken": token} if token else {})

    def _described(self, quota: Quota, *, applied: bool) -> Document:
        account = f"{self._cloud.settings.account}:" if applied else ":"
        return {
            "ServiceCode": CODE,
            "ServiceName": NAME,
            "QuotaArn": f"arn:aws:servicequotas:{self._cloud.settings.region}:{account}{CODE}/{quota.code}",
            "QuotaCode": quota.code,
            "QuotaName": quota.name,
            "Value": self._value(quota) if applied else quota.aws_value,
            "Unit": "None",
            "Adjustable": True,
            "GlobalQuota": False,
        }


def install(cloud: Cloud) -> None:
    """Answer Service Quotas, and tell SageMaker what the account may use."""
    quotas = Quotas(cloud)
    cloud.registry.add_json(JsonService("service-quotas", "ServiceQuotasV20190624", quotas.operations()))
    cloud.hooks.quota = quotas.by_name


def _known(params: Document) -> Quota:
    _require_sagemaker(params)
    quota = known_quotas().get(params["QuotaCode"])
    if quota is None:
        words = ledger.text("quotas.unknown", code=params["QuotaCode"], service=CODE)
        raise ServiceError("NoSuchResourceException", words)
    return quota


def _require_sagemaker(params: Document) -> None:
    if params["ServiceCode"] != CODE:
        words = ledger.text("quotas.unknown-service", service=params["ServiceCode"])
        raise ServiceError("NoSuchResourceException", words)
