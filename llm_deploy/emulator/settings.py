"""What one local cloud was started with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

MIB = 1024 * 1024

ROOT_ACCESS_KEY = "LOCALCLOUD"
ROOT_SECRET_KEY = "local-cloud-account-root"  # noqa: S105 - made up; no real account accepts it
"""The account root's credentials, the same in every local cloud: whoever starts one knows them. A contract."""

DEFAULT_PORT = 4599
DEFAULT_SPEED = 60.0


@dataclass(frozen=True, slots=True)
class RuntimeLimits:
    """Limits of the invocation path. Real seconds, not divided by the speed: a model's tokens take real time.

    Attributes:
        body_bytes: Largest request body. Ledger: `runtime.body-limit`.
        invoke_s: Time for a whole answer. Ledger: `runtime.timeout`.
        stream_s: Time for a whole stream. Ledger: `runtime.stream-timeout`.
    """

    body_bytes: int = 6 * MIB
    invoke_s: float = 60.0
    stream_s: float = 480.0


@dataclass(frozen=True, slots=True)
class CloudSettings:
    """Everything that the command line decides.

    Attributes:
        speed: Virtual seconds per real second; every duration of the ledger is divided by it.
        model_server: Command of one container; empty means that no container can start.
        model_name: The stand-in model that the command serves.
        embedding_model_name: The one that it serves for images of embedding servers.
        split: Cut event-stream frames at arbitrary places.
        iam: Check signatures and permissions.
        seed: Seed of everything random (instance ids, places of the cuts); `None` takes one from the system.
    """

    state_dir: Path
    port: int = DEFAULT_PORT
    speed: float = DEFAULT_SPEED
    region: str = "eu-central-1"
    account: str = "000000000000"
    model_server: tuple[str, ...] = ()
    model_name: str = "smollm2-135m-instruct"
    embedding_model_name: str = "all-minilm-l6-v2"
    backend_path: Path | None = None
    split: bool = True
    iam: bool = True
    seed: int | None = None
    limits: RuntimeLimits = field(default_factory=RuntimeLimits)
