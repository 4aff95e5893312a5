"""The targets by name, and the door to one: `connect("local")` gives a session, a place and the settings to use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from llm_deploy.aws import Session, aws_errors
from llm_deploy.errors import SpecError
from llm_deploy.settings import Settings, load_settings

if TYPE_CHECKING:
    from pydantic import SecretStr

    from llm_deploy.spec import Place

DEFAULT_TARGET = "sagemaker"


@dataclass(frozen=True)
class Connection:
    """One cloud, one account, one region, and who is asking.

    Attributes:
        target: The name that was asked for.
        session: Clients of that cloud.
        settings: Settings as they hold for this target.
        prepared_role_arn: An execution role that stands ready in this account; `None`: the user names one.
    """

    target: str
    session: Session
    settings: Settings
    prepared_role_arn: str | None = None

    @property
    def region(self) -> str:
        """The region's name."""
        return self.session.region

    @cached_property
    def identity(self) -> Mapping[str, str]:
        """The caller as the cloud sees it: `Account`, `Arn`. Raises CredentialsError."""
        with aws_errors("find out who is calling (sts:GetCallerIdentity)"):
            answer = self.session.client("sts").get_caller_identity()
        return {"Account": answer["Account"], "Arn": answer["Arn"]}

    @property
    def account(self) -> str:
        """The account's number."""
        return self.identity["Account"]

    @property
    def place(self) -> Place:
        """Partition, region and account."""
        from llm_deploy.spec import Place  # noqa: PLC0415 - 50 ms that only commands with a spec need to pay

        return Place(partition=self.identity["Arn"].split(":")[1], region=self.region, account=self.account)

    def describe(self) -> str:
        """One line that says where a command is about to act, and as whom."""
        return (
            f"target {self.target}, account {self.account}, region {self.region}, "
            f"as {self.identity['Arn'].rsplit(':', 1)[-1]}"
        )


def connect(target: str | None = None, *, settings: Settings | None = None) -> Connection:
    """Open a target: the argument, else `LLMDEPLOY_TARGET`, else `sagemaker`.

    The local cloud is started when it is not running. Nothing is asked of AWS yet.

    Raises:
        SpecError: No such target, or a region that does not exist.
        LocalCloudError: The local cloud cannot be started.
    """
    settings = settings or load_settings()
    name = target or settings.LLMDEPLOY_TARGET or DEFAULT_TARGET
    if name not in _TARGETS:
        raise SpecError(
            f"unknown target '{name}'; known: {', '.join(_TARGETS)}", hint="Use --target or LLMDEPLOY_TARGET."
        )
    return _TARGETS[name](settings)


def _sagemaker(settings: Settings) -> Connection:
    session = Session(
        region=settings.AWS_REGION,
        profile=settings.AWS_PROFILE,
        endpoint_url=settings.AWS_ENDPOINT_URL,
        access_key=_revealed(settings.AWS_ACCESS_KEY),
        secret_key=_revealed(settings.AWS_SECRET_KEY),
        token=_revealed(settings.session_token),
        role_arn=settings.LLMDEPLOY_ROLE_ARN,
    )
    return Connection("sagemaker", session, settings)


def _local(settings: Settings) -> Connection:
    from llm_deploy.targets.local import LocalCloud  # noqa: PLC0415 - only this target needs it

    cloud = LocalCloud()
    status = cloud.ensure_running()
    environment = cloud.environment(status)
    session = Session(
        region=status.region,
        endpoint_url=status.url,
        access_key=environment["AWS_ACCESS_KEY_ID"],
        secret_key=environment["AWS_SECRET_ACCESS_KEY"],
        role_arn=settings.role_in(status.account),
    )
    return Connection("local", session, settings, prepared_role_arn=environment["AWS_ARN_ROLE"])


def _revealed(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None


_TARGETS: Mapping[str, Callable[[Settings], Connection]] = {"sagemaker": _sagemaker, "local": _local}
