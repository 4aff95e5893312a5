"""Which AWS services the backend answers, and how the program behind it is set up for them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from llm_deploy.emulator.settings import ROOT_ACCESS_KEY, ROOT_SECRET_KEY

SERVICES = frozenset(
    {"iam", "sts", "s3", "s3control", "secretsmanager", "sns", "ssm", "kms", "ecr", "cloudformation"},
)
"""SigV4 service names (signing names, not endpoint names) that are passed on; all others are ours or refused."""

REGIONAL_JSON = frozenset({"secretsmanager", "ssm", "kms", "ecr"})
REGIONAL_QUERY = frozenset({"sns", "cloudformation"})
"""Of these every region has its own; IAM and STS have none, and S3 clients are led to a bucket's region."""

EXECUTION_ROLE_NAME = "llmdeploy-local-execution"
"""The role that an administrator has prepared in this account: SageMaker may assume it."""


@dataclass(frozen=True, slots=True)
class BackendSettings:
    """What the backend's process needs to know.

    Attributes:
        path: Folder that holds the unpacked `ministack` package; it goes in front of the child's `sys.path`.
        state_dir: Where the backend keeps its own state, across restarts.
        public_port: Port of the local cloud, which appears in the URLs that answers contain and which stacks call.
        speed: Virtual seconds in a real one.
        iam: Check permissions.
    """

    path: Path
    state_dir: Path
    region: str
    account: str
    public_port: int
    speed: float
    iam: bool = True

    @property
    def execution_role_arn(self) -> str:
        """ARN of the prepared role."""
        return f"arn:aws:iam::{self.account}:role/{EXECUTION_ROLE_NAME}"


PORT_VARIABLE = "LOCAL_CLOUD_PORT"
SPEED_VARIABLE = "LOCAL_CLOUD_SPEED"

_INHERITED = frozenset({"PATH", "HOME", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME"})


def child_environment(settings: BackendSettings, inherited: dict[str, str]) -> dict[str, str]:
    """The child's whole environment: what a Python program needs, plus MiniStack's own knobs.

    Nothing else of ours: its knobs have common names (`AUTH`, `USE_SSL`, `SERVICES`), and credentials are not for it,
    but for the made-up ones of the account root.
    Docker is pointed at a socket that does not exist because MiniStack otherwise removes containers it takes for
    leftovers of its own.
    """
    kept = {name: value for name, value in inherited.items() if name in _INHERITED or name.startswith("LC_")}
    return kept | {
        "SERVICES": ",".join(sorted(SERVICES - {"s3control"})),
        "MINISTACK_REGION": settings.region,
        "MINISTACK_ACCOUNT_ID": settings.account,
        "MINISTACK_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(settings.public_port),
        PORT_VARIABLE: str(settings.public_port),
        SPEED_VARIABLE: str(settings.speed),
        "PERSIST_STATE": "1",
        "STATE_DIR": str(settings.state_dir / "services"),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(settings.state_dir / "s3"),
        "DOCKER_HOST": "unix:///nonexistent/docker.sock",
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
        "LOG_LEVEL": "WARNING",
        "AUTH": str(settings.iam).lower(),
        "AWS_ACCESS_KEY_ID": ROOT_ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": ROOT_SECRET_KEY,
    }
