"""From the configuration to models that can be asked: transports, what endpoints say of themselves, engines."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from llm_deploy.client.patience import Patience
from llm_deploy.client.target import Allowed
from llm_deploy.errors import LlmDeployError, SpecError
from llm_deploy.gateway import config as documents
from llm_deploy.gateway.asked import Kind
from llm_deploy.gateway.backends import Backend, Lane, Speech, single_lane
from llm_deploy.gateway.routing import ServedModel

Warn = Callable[[str], None]
_SPEECH: Mapping[str, Speech] = {"tgi": "tgi", "lmi": "lmi", "openai": "openai", "openai-chat": "openai-chat"}
_OPENAI_PATHS: Mapping[Kind, str] = {
    "chat": "/v1/chat/completions",
    "completion": "/v1/completions",
    "embeddings": "/v1/embeddings",
}


@dataclass(slots=True)
class Opening:
    """What opening needs besides the configuration.

    Attributes:
        session: AWS, for endpoints; connected when the first one needs it.
        warn: Told of what does not work yet, and may later.
    """

    config: documents.GatewayConfig
    session: Any = None  # ours or boto3's, which ships no types
    warn: Warn = lambda _line: None

    async def models(self) -> dict[str, ServedModel]:
        """Every model of the configuration, by its name.

        Raises:
            SpecError: A secret is not in the environment, or nothing is configured.
            LlmDeployError: The target cannot be connected to.
        """
        return {name: await self._model(name, model) for name, model in self.config.models.items()}

    async def _model(self, name: str, model: documents.Model) -> ServedModel:
        alone = len(model.backends) == 1
        backends = [await self._backend(each, model, alone=alone) for each in model.backends]
        return ServedModel(name, model, backends)

    async def _backend(self, given: documents.Backend, model: documents.Model, *, alone: bool) -> Backend:
        # With other backends at hand, the next one is asked rather than the same again.
        patience = Patience(attempts=2 if alone else 1)
        if given.engine is not None:
            from llm_deploy.gateway.in_process import engine_backend  # noqa: PLC0415 - needs the extra `serve`

            return engine_backend(given, self.config.health)
        if given.url is not None:
            lanes, name = _http_lanes(given, model.timeout_s, patience), given.url
        else:
            lanes, name = await self._endpoint_lanes(given, model.timeout_s, patience), given.endpoint or ""
        return Backend(name, lanes, given.weight, given.model, self.config.health)

    async def _endpoint_lanes(
        self, given: documents.Backend, timeout_s: float, patience: Patience
    ) -> Mapping[Kind, Lane]:
        from llm_deploy.client.sagemaker_async import AsyncSagemakerTransport  # noqa: PLC0415 - loads botocore

        session = await self._session()
        if given.native:
            return await asyncio.to_thread(_native_lanes, given, session, Allowed(timeout_s, patience))
        component, dialect = await self._found(session, given)
        transport = AsyncSagemakerTransport(
            given.endpoint or "",
            session=session,
            inference_component_name=component,
            answer_timeout_s=timeout_s,
            patience=patience,
        )
        return single_lane(transport, _SPEECH.get(dialect, "tgi"))

    async def _found(self, session: Any, given: documents.Backend) -> tuple[str | None, str]:  # noqa: ANN401 - as above
        """Component and dialect; an endpoint that is not there yet does not keep the gateway from starting."""
        from llm_deploy.client.discovery import discover  # noqa: PLC0415 - as above

        try:
            found = await asyncio.to_thread(
                discover, session, given.endpoint or "", component=given.component, dialect=given.dialect or "auto"
            )
        except LlmDeployError as error:
            self.warn(f"endpoint {given.endpoint}: {error.message}")
            return given.component, given.dialect or "auto"
        return found.inference_component_name, found.dialect

    async def _session(self) -> Any:  # noqa: ANN401 - as above
        if self.session is None:
            from llm_deploy.targets.registry import connect  # noqa: PLC0415 - only endpoints need a cloud

            self.session = (await asyncio.to_thread(connect, self.config.target)).session
        return self.session


def _native_lanes(given: documents.Backend, session: Any, allowed: Allowed) -> Mapping[Kind, Lane]:  # noqa: ANN401 - as above
    """SageMaker's OpenAI-compatible path takes chats and nothing else; its token is renewed by itself."""
    from llm_deploy.client.bearer import Renewed, bearer_token, openai_base  # noqa: PLC0415 - loads botocore
    from llm_deploy.client.discovery import discover  # noqa: PLC0415 - as above
    from llm_deploy.client.token_async import AsyncTokenTransport  # noqa: PLC0415 - as above

    name = given.endpoint or ""
    component = given.component or discover(session, name, component=None, dialect="auto").inference_component_name
    url = f"{openai_base(session, name, component)}/chat/completions"
    transport = AsyncTokenTransport(url, Renewed(lambda: bearer_token(session)), allowed)
    return {"chat": Lane(transport, "openai")}


def _http_lanes(given: documents.Backend, timeout_s: float, patience: Patience) -> Mapping[Kind, Lane]:
    """A whole address is asked as it is; a server's root has OpenAI's routes below it."""
    from llm_deploy.client.http_async import AsyncHttpTransport  # noqa: PLC0415 - only these backends need it

    url = (given.url or "").rstrip("/")
    secret = revealed(given.key)
    headers = {"Authorization": f"Bearer {secret}"} if secret else None

    def transport(path: str) -> AsyncHttpTransport:
        return AsyncHttpTransport(f"{url}{path}", headers=headers, answer_timeout_s=timeout_s, patience=patience)

    speech = _SPEECH.get(given.dialect or "openai", "openai")
    if urlsplit(url).path.endswith("/invocations"):
        return single_lane(transport(""), speech)
    url = url.removesuffix("/v1")
    lanes: dict[Kind, Lane] = {kind: Lane(transport(path), "openai") for kind, path in _OPENAI_PATHS.items()}
    lanes["generate"] = lanes["completion"]
    return lanes


def revealed(reference: str | None) -> str | None:
    """The secret behind `${NAME}`.

    Raises:
        SpecError: The environment does not have it.
    """
    if reference is None:
        return None
    name = reference[2:-1]
    value = os.environ.get(name)
    if not value:
        raise SpecError(f"the environment has no {name}, which the configuration refers to", hint=f"export {name}=...")
    return value
