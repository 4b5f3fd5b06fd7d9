"""The options of the engine `remote`: a scoring service over HTTP."""

import re
from collections.abc import Mapping
from typing import ClassVar, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import ConfigDict, Field, field_validator, model_validator

from onnx_pipeline.base.hosts import is_loopback
from onnx_pipeline.base.inference_protocol import SHA256_HEADER
from onnx_pipeline.spec.engines.options import JSON, ColumnsRead, EngineOptions
from onnx_pipeline.spec.part import SpecPart

__all__ = ["AuthSpec", "RemoteOptions", "Wire"]

Wire = Literal["arrow", "records", "data", "input_data", "v2"]

_SECRET_QUERY = frozenset({"code", "sig", "key", "api_key", "apikey", "api-key", "token", "access_token"})
_OWN_HEADERS = frozenset(
    {"accept", "accept-encoding", "authorization", "connection", "content-length", "content-type", "cookie", "host"}
    | {"proxy-authorization", "transfer-encoding", "x-functions-key", SHA256_HEADER, "x-request-id"}
)
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DEPLOYMENT = "azureml-model-deployment"
_FUNCTION_APP = ".azurewebsites.net"
_FUNCTION_SECONDS = 230.0
"""The load balancer before an Azure Function ends a request that has not answered by then."""


class AuthSpec(SpecPart):
    """How the engine `remote` signs in to its service. The secret itself stands in the environment."""

    kind: Literal["function_key", "bearer", "entra"] = Field(
        description="`function_key`: header `x-functions-key`; `bearer`: header `Authorization: Bearer "
        "...`, e.g. the key of an Azure ML endpoint; `entra`: a token of Microsoft Entra ID, by managed identity, "
        "service principal or `az login`."
    )
    env: str | None = Field(
        None, description="Name of the environment variable that holds the key (`function_key`, `bearer`)."
    )
    scope: str | None = Field(
        None,
        description="What the token is for (`entra`): `https://ml.azure.com/.default`, or `api://<application>/.default`.",
    )

    @model_validator(mode="after")
    def _complete(self) -> "AuthSpec":
        if self.kind == "entra":
            if self.env is not None or self.scope is None:
                raise ValueError(
                    "auth with `kind: entra` takes `scope` and no `env`, e.g. scope: https://ml.azure.com/.default"
                )
        elif self.scope is not None or self.env is None:
            raise ValueError(
                f"auth with `kind: {self.kind}` takes `env`, the name of the environment variable that holds the key, "
                "and no `scope`"
            )
        elif not _VARIABLE.fullmatch(self.env):
            # What stands there may be the key itself: it is not repeated.
            raise ValueError(
                "auth: `env` must be the name of an environment variable (letters, digits, underscores); a key itself "
                "never stands in YAML"
            )
        return self


class RemoteOptions(EngineOptions):
    """A scoring service over HTTP."""

    # A URL or a header that is refused may hold a key: errors do not repeat it.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    kind: Literal["remote"] = Field("remote", description="A scoring service over HTTP.")
    url: str = Field(
        "", description="The service's scoring URL, without any key: `https://example.org/models/stay/score`."
    )
    wire: Wire = Field(
        "arrow",
        description="How rows travel: `arrow` (IPC stream, by far the fastest; our own service), `records` "
        '(`[{...}]`), `data` (`{"data": [{...}]}`), `input_data` (Azure ML, MLflow), `v2` (Open Inference Protocol).',
    )
    auth: AuthSpec | None = Field(None, description="How to sign in; without it no sign-in is sent.")
    headers: Mapping[str, str] = Field(
        default_factory=dict,
        description="Headers to send besides, none of them secret: `{azureml-model-deployment: blue}`.",
    )
    inputs: Mapping[str, str] | None = Field(
        None,
        description="Where there is no `onnx`: the model's inputs and their types, `{age: float32, ward: string}`; "
        "`float32[27]` is one input of 27 columns. Without `inputs` and `outputs` the service is asked.",
    )
    outputs: Mapping[str, str] | None = Field(
        None,
        description="Where there is no `onnx`: what the service answers, in its order: `{days: float32}`.",
    )
    version: str | None = Field(
        None, description="Where there is no `onnx`: the model's version. Another version counts as another model."
    )
    metadata_url: str | None = Field(
        None,
        description="Where there is no `onnx`: where the service describes its model (Open Inference Protocol, "
        "`/v2/models/<name>`); by default derived from `url`.",
    )
    skip_unread: bool = Field(
        False,
        description="Whether columns that move no prediction stay in the pool, and are sent as columns without "
        "values. For `wire: arrow`, a scoring that names its `onnx`, and a service that states which model it has, as "
        "ours does.",
    )
    batch_rows: int | None = Field(
        None, ge=1, description="Most rows of one request; by default 65,536 for `arrow` and 5,000 for the others."
    )
    batch_bytes: int = Field(
        32_000_000,
        ge=1_000,
        le=100_000_000,
        description="Most bytes of one request's body. An Azure Function takes 100 MB.",
    )
    in_flight: int = Field(4, ge=1, le=64, description="Requests under way at the same time; rows keep their order.")
    connect_seconds: float = Field(10.0, gt=0, le=120, description="Longest wait for a connection.")
    request_seconds: float = Field(
        100.0,
        gt=0,
        le=3_600,
        description="Longest time from a request's first byte to its answer's last. An Azure Function has 230 s.",
    )
    retries: int = Field(
        5,
        ge=0,
        le=20,
        description="How often a request is sent again after 408, 429, 5xx or a broken connection, "
        "with growing waits, or as long as `Retry-After` says.",
    )
    breaker_failures: int = Field(
        25,
        ge=1,
        description="Failures in a row, over all requests, after which no more are sent for `breaker_seconds`.",
    )
    breaker_seconds: float = Field(
        30.0, gt=0, description="How long nothing is sent to a service that failed; then one request tries it."
    )
    http2: bool | None = Field(
        None,
        description="Whether HTTP/2 is spoken where the service offers it (over https). By default not with `arrow`: "
        "to cut megabytes into HTTP/2's frames takes ten times the processor time of HTTP/1.1.",
    )
    ca_file: str | None = Field(
        None, description="PEM file of the authorities that may vouch for the service; by default the system's."
    )

    engine: ClassVar[str] = "onnx_pipeline.engines.remote.engine:RemoteEngine"
    needs_artifact: ClassVar[bool] = False
    describe_model: ClassVar[tuple[str, ...]] = ("inputs", "outputs", "version", "metadata_url")
    packages: ClassVar[tuple[str, ...]] = ("httpcore", "orjson")
    extra: ClassVar[str] = "onnx-pipeline[remote]"

    @field_validator("version", mode="before")
    @classmethod
    def _version_as_text(cls, value: object) -> object:
        # Dagster reads a text that looks like a number as one, also where it is quoted.
        if isinstance(value, float):
            raise ValueError(  # noqa: TRY004 - the kind that Pydantic reports
                f"version {value!r} came as a number, and 1.10 would be 1.1; write it with a letter: v1.10"
            )
        return str(value) if isinstance(value, int) else value

    @field_validator("headers", mode="before")
    @classmethod
    def _headers_as_text(cls, value: object) -> object:
        if isinstance(value, Mapping):
            return {name: str(text) if isinstance(text, int) else text for name, text in value.items()}
        return value

    @field_validator("url", "metadata_url")
    @classmethod
    def _plain_url(cls, value: str | None) -> str | None:
        if not value:
            return value
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            # A URL that cannot be read may hold a key, so it is not repeated.
            raise ValueError("the URL must begin with https:// (or http://) and name a host")
        if parts.username is not None or any(name.casefold() in _SECRET_QUERY for name, _ in parse_qsl(parts.query)):
            raise ValueError(
                f"the URL of {parts.hostname} holds a key or password; take it out, put it into an environment "
                "variable and name that in `auth: {kind: function_key, env: ...}`"
            )
        return value

    @field_validator("headers")
    @classmethod
    def _free_headers(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        for name, text in value.items():
            if name.casefold() in _OWN_HEADERS:
                raise ValueError(f"headers: {name!r} is set by the engine itself; keys belong to `auth`")
            if not _HEADER.fullmatch(name) or not text.isascii() or not text.isprintable():
                raise ValueError(f"headers: {name!r} is no valid header, or its value is not plain text")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> "RemoteOptions":
        if not self.url:
            raise ValueError("engine with `kind: remote` needs `url`, the service's scoring URL")
        if (self.inputs is None) != (self.outputs is None):
            raise ValueError("engine: give both `inputs` and `outputs`, or neither and the service is asked")
        if self.skip_unread and self.wire != "arrow":
            raise ValueError(
                f"engine: skip_unread goes with `wire: arrow`, and the wire is {self.wire}; other services want every "
                "column"
            )
        host = urlsplit(self.url).hostname or ""
        if host.endswith(_FUNCTION_APP) and self.request_seconds > _FUNCTION_SECONDS:
            raise ValueError(
                f"engine: request_seconds is {self.request_seconds:g}, but an Azure Function is cut off after "
                f"{_FUNCTION_SECONDS:g} s; lower it, and `batch_rows` where a request takes longer"
            )
        if self.metadata_url is not None and _origin(self.metadata_url) != _origin(self.url):
            raise ValueError(
                f"engine: metadata_url is at {_origin(self.metadata_url)}, and url at {_origin(self.url)}: the sign-in "
                "for one would be sent to the other; describe the model by `inputs`, `outputs` and `version`"
            )
        if self.auth is not None and self.url.startswith("http://") and not is_loopback(host):
            raise ValueError(f"engine: a key would travel to {host} in clear text over http://; use https://")
        if self.inputs is not None and self.outputs is not None:
            from onnx_pipeline.models.declared import declared_signature

            declared_signature(self.inputs, self.outputs)
        return self

    @property
    def wants_http2(self) -> bool:
        """Whether HTTP/2 is spoken where it is offered.

        Measured for bodies of 3.2 MB over TLS on loopback: 25 ms of the client's time a megabyte, 2 ms by HTTP/1.1.
        """
        return self.wire != "arrow" if self.http2 is None else self.http2

    @property
    def columns_read(self) -> ColumnsRead:
        """Beyond what moves no prediction at all, a service has columns of its own mind about."""
        return ColumnsRead.MOVING if self.skip_unread else ColumnsRead.EVERY

    @property
    def decides(self) -> Mapping[str, JSON]:
        """Which deployment of an endpoint answers, where a header names one."""
        named = {name.casefold(): text for name, text in self.headers.items()}
        return {name: text for name, text in named.items() if name == _DEPLOYMENT}

    @property
    def model_url(self) -> str:
        return self.url


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
