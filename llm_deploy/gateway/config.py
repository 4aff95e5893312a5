"""What a gateway serves and what it allows: the documents of its configuration file."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from llm_deploy.dialects.names import DialectName
from llm_deploy.gateway.state.config import StateConfig
from llm_deploy.rag.config import RagConfig
from llm_deploy.tracing.config import TracingConfig

Keys = Literal["required", "off"]
ROUTES = frozenset(
    {"/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/generate", "/generate_stream", "/rag"}
)
"""The paths of requests that are limited."""


def _known_route(path: str) -> str:
    if path not in ROUTES:
        raise ValueError(f"expected one of {', '.join(sorted(ROUTES))}")
    return path


Route = Annotated[str, AfterValidator(_known_route)]
ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$", max_length=128)]
SecretName = Annotated[str, Field(pattern=r"^\$\{[A-Za-z_][A-Za-z0-9_]*\}$")]
"""A reference to a variable of the environment, `${NAME}`: secrets are never written into the file."""

DEFAULT_PORT = 8000
_MIB = 1024 * 1024


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Listen(_Document):
    """Where the gateway listens."""

    host: str = Field("127.0.0.1", description="Address; anything but loopback needs keys.")
    port: int = Field(DEFAULT_PORT, ge=0, le=65535, description="Port; 0 is any free one.")


class Backend(_Document):
    """One place that answers for a model: exactly one of `endpoint`, `url` and `engine`."""

    endpoint: str | None = Field(None, description="Name of a SageMaker endpoint.")
    component: str | None = Field(None, description="Its inference component; found when it has just one.")
    native: bool = Field(False, description="Use the endpoint's own OpenAI path (chat completions only).")
    url: str | None = Field(
        None,
        pattern=r"^https?://\S+$",
        description="A server with OpenAI's routes, or a whole address of /invocations.",
    )
    key: SecretName | None = Field(None, description="Sent to `url` as a bearer token: ${NAME} of the environment.")
    engine: str | None = Field(None, description="A known model or a .gguf file, run in this very process.")
    parallel: int = Field(4, ge=1, le=256, description="Of `engine`: generations at the same time.")
    context: int | None = Field(None, ge=1, description="Of `engine`: tokens of prompt and answer together.")
    dialect: DialectName | None = Field(None, description="What the engine speaks; looked up, or tried, otherwise.")
    model: str | None = Field(None, description="The model's name there, where the server wants one.")
    weight: float = Field(1.0, ge=0, le=1000, description="Share of the requests; 0: only when others cannot.")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        places = [self.endpoint, self.url, self.engine]
        if sum(place is not None for place in places) != 1:
            raise ValueError("a backend has exactly one of endpoint, url and engine")
        if self.url and "@" in self.url.partition("://")[2].partition("/")[0]:
            raise ValueError("url holds a user or password, which logs and metrics would show; use key: ${NAME}")
        if self.key and not self.url:
            raise ValueError("key belongs to a url")
        if (self.component or self.native) and not self.endpoint:
            raise ValueError("component and native belong to an endpoint")
        return self

    @property
    def place(self) -> str:
        """The backend in a word, for logs and metrics."""
        return self.endpoint or self.url or self.engine or ""


class Model(_Document):
    """A name that callers use, and what stands behind it."""

    backends: tuple[Backend, ...] = Field(min_length=1, max_length=32, description="Where it is answered.")
    max_tokens: int = Field(4096, ge=1, description="Most new tokens a request may ask for.")
    default_tokens: int | None = Field(None, ge=1, description="New tokens where a request does not say.")
    concurrency: int = Field(512, ge=1, description="Requests of this model at once; more are refused with 429.")
    timeout_s: float = Field(600.0, gt=0, le=3600, description="Longest time for a whole answer.")


class Limits(_Document):
    """Bounds of all models together."""

    concurrency: int = Field(2048, ge=1, description="Requests at once; more are refused with 429.")
    body_bytes: int = Field(2 * _MIB, ge=1024, le=64 * _MIB, description="Largest body of a request.")
    body_timeout_s: float = Field(30.0, gt=0, description="Longest time for a request's body to arrive.")
    stall_s: float = Field(60.0, gt=0, description="A reader that takes nothing for so long is cut off.")
    routes: dict[Route, Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict, description="Requests at once by route, for example {/rag: 16}."
    )


class Health(_Document):
    """How long a backend that failed is left alone."""

    pause_s: float = Field(5.0, ge=0, description="After a first failure; doubled by each further one.")
    longest_pause_s: float = Field(60.0, ge=0, description="Never longer than this.")


class Cors(_Document):
    """Browsers of other origins; none by default."""

    origins: tuple[str, ...] = Field((), description="Origins, for example https://app.example.com; * is any.")


class Logs(_Document):
    """What is written of each request, as one line of JSON on standard error."""

    requests: bool = Field(True, description="One line a request.")
    prompts: bool = Field(False, description="Also the bodies of requests; they may hold personal data.")


class Drain(_Document):
    """What happens between SIGTERM and the end."""

    notice_s: float = Field(0.0, ge=0, le=600, description="/readyz says 503 this long before no more is accepted.")
    finish_s: float = Field(30.0, ge=0, le=3600, description="Running answers get this long.")


class GatewayConfig(_Document):
    """A gateway."""

    listen: Listen = Field(default_factory=Listen)
    keys: Keys = Field("required", description="API keys; off is for loopback.")
    allow_open: bool = Field(False, description="Let `keys: off` stand on an address others can reach.")
    target: Literal["sagemaker", "local"] | None = Field(
        None, description="Where endpoints are; else LLMDEPLOY_TARGET."
    )
    models: dict[ModelName, Model] = Field(default_factory=dict, max_length=256, description="By public name.")
    default_model: str | None = Field(None, description="For requests without a model, as TGI's are; else the first.")
    limits: Limits = Field(default_factory=Limits)
    health: Health = Field(default_factory=Health)
    cors: Cors = Field(default_factory=Cors)
    logs: Logs = Field(default_factory=Logs)
    drain: Drain = Field(default_factory=Drain)
    rag: RagConfig | None = Field(None, description="Answers from documents: POST /rag.")
    tracing: TracingConfig | None = Field(None, description="Spans of each request; by default of /rag only.")
    state: StateConfig = Field(StateConfig(), description="Where keys, usage and budgets are kept.")

    @field_validator("keys", mode="before")
    @classmethod
    def _off_is_a_word(cls, keys: object) -> object:
        return "off" if keys is False else keys  # what YAML makes of a bare off

    @model_validator(mode="after")
    def _known_default(self) -> Self:
        if self.default_model is not None and self.default_model not in self.models:
            raise ValueError(f"default_model names {self.default_model}, which is not among models")
        if self.rag is not None and self.rag.model and self.rag.model not in self.models:
            raise ValueError(f"rag.model names {self.rag.model}, which is not among models")
        return self
