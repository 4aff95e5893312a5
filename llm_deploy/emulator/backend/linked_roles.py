"""CreateServiceLinkedRole under AWS's names: MiniStack makes names up. Runs in the child.

Ledger: `access.service-linked-role`, `access.service-linked-role.taken`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from llm_deploy.emulator import ledger
from llm_deploy.emulator.iam.service_linked import ROLE_NAMES

Form = dict[str, Any]
Answer = tuple[int, dict[str, str], bytes]


def use_aws_names(iam: Any) -> None:  # noqa: ANN401 - the module `ministack.services.iam`, which has no types
    """Let MiniStack's IAM name the roles of services that we know as AWS does."""
    handlers: dict[str, Callable[[Form], Answer]] = iam._IAM_HANDLERS  # noqa: SLF001 - pinned by hash
    made_up = handlers["CreateServiceLinkedRole"]

    def create(form: Form) -> Answer:
        service = iam._p(form, "AWSServiceName")  # noqa: SLF001 - as above
        return _create(iam, service) if service in ROLE_NAMES else made_up(form)

    handlers["CreateServiceLinkedRole"] = create


def _create(iam: Any, service: str) -> Answer:  # noqa: ANN401 - as above
    name = ROLE_NAMES[service]
    if name in iam._roles:  # noqa: SLF001 - as above
        text = ledger.text("access.service-linked-role.taken", name=name)
        answer: Answer = iam._error(400, "InvalidInput", text)  # noqa: SLF001 - as above
        return answer
    trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    status, headers, body = iam._create_role(  # noqa: SLF001 - as above
        {
            "RoleName": [name],
            "Path": [f"/aws-service-role/{service}/"],
            "AssumeRolePolicyDocument": [json.dumps({"Version": "2012-10-17", "Statement": [trust]})],
        }
    )
    return status, headers, body.replace(b"CreateRoleRes", b"CreateServiceLinkedRoleRes")
