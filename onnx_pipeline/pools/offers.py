"""What a pool offers beside its tables: asked once, for people and for the engines that need it.

Each kind of pool has its own questions. What a pool refuses to say is not known, and ends nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from onnx_pipeline.base.imports import imported

__all__ = ["Offer", "Offers", "Value", "offers_of"]

Value: TypeAlias = str | int | bool | tuple[str, ...]

VERSION = "version"
EDITION = "edition"
ENGINE_EDITION = "engine edition"
COMPATIBILITY = "compatibility level"
SERVICE_OBJECTIVE = "service objective"
SNAPSHOT = "snapshot isolation"
READ_COMMITTED_SNAPSHOT = "read committed snapshot"
PREDICT = "PREDICT with ONNX"
ML_SERVICES = "ML Services"
EXTERNAL_SCRIPTS = "external scripts enabled"
LANGUAGES = "external languages"
USABLE_LANGUAGES = "external languages that this user may run"
REST_PROCEDURE = "sp_invoke_external_rest_endpoint"
REST_ENABLED = "external rest endpoint enabled"
MAY_CREATE_TABLE = "right CREATE TABLE"
OWN_SCHEMAS = "schemas that this user may make tables in"
MAY_WRITE_LOG = "rights on onnx_scoring_log"
MAY_WRITE_MODELS = "rights on onnx_models"
MAY_RUN_SCRIPTS = "right EXECUTE ANY EXTERNAL SCRIPT"
MAY_CALL_ENDPOINTS = "right EXECUTE ANY EXTERNAL ENDPOINT"
MAY_COPY = "right ADMINISTER DATABASE BULK OPERATIONS"
WRITABLE = "file"

ABOUT: Mapping[str, str] = {
    COMPATIBILITY: "130 and later have OPENJSON, which the procedures in sql/ read JSON with",
    SNAPSHOT: "reads of a partition from one moment, by who asks for it",
    READ_COMMITTED_SNAPSHOT: "readers see the old partition or the new one while a load commits, and wait for none",
    PREDICT: "scoring within a Synapse pool",
    ML_SERVICES: "external scripts of any language",
    EXTERNAL_SCRIPTS: "external scripts; sp_configure turns them on",
    LANGUAGES: "scoring within the server; `onnx-pipeline extension deploy` registers ONNX",
    USABLE_LANGUAGES: "GRANT EXECUTE EXTERNAL SCRIPT ON EXTERNAL LANGUAGE::... gives one more",
    REST_PROCEDURE: "calls over HTTPS out of T-SQL: sp_onnx_service_scoring",
    REST_ENABLED: "the same on SQL Server 2025; sp_configure turns it on",
    MAY_CREATE_TABLE: "staging and landing tables, and a target that does not stand yet",
    OWN_SCHEMAS: "where a target and what lies beside it may be",
    MAY_WRITE_LOG: "every load",
    MAY_WRITE_MODELS: "registering a model",
    MAY_RUN_SCRIPTS: "external scripts",
    MAY_CALL_ENDPOINTS: "sp_invoke_external_rest_endpoint",
    MAY_COPY: "COPY INTO, by which predictions come in",
    WRITABLE: "everything: source, target, log and models lie in it",
}
"""What each is asked for, where its name does not say so."""

_ASKED = {
    "duckdb": "onnx_pipeline.pools.duckdb.offers:ask",
    "mssql": "onnx_pipeline.pools.tsql.offers:ask",
    "synapse": "onnx_pipeline.pools.synapse.offers:ask",
    "fabric": "onnx_pipeline.pools.fabric.offers:ask",
}
"""Who asks a kind of pool."""


@dataclass(frozen=True)
class Offer:
    """One thing, and whether or how far the pool has it."""

    name: str
    value: Value | None = None
    """None where it is not known."""
    why: str = ""
    """Why it is not known, or why the pool has it not; holds no secret."""

    @property
    def about(self) -> str:
        """What it is asked for; empty where its name says so."""
        return ABOUT.get(self.name, "")

    @property
    def told(self) -> str:
        """In words: `yes`, `no: ...`, `not known: ...`, or the value."""
        if self.value is None:
            return f"not known: {self.why}"
        if isinstance(self.value, tuple):
            text = ", ".join(self.value) or "none"
        else:
            text = {True: "yes", False: "no"}[self.value] if isinstance(self.value, bool) else str(self.value)
        return f"{text}: {self.why}" if self.why else text


class Offers:
    """What a pool offers, in the order in which people read it."""

    def __init__(self, offers: Iterable[Offer]) -> None:
        self._by_name = {offer.name: offer for offer in offers}

    def __iter__(self) -> Iterator[Offer]:
        return iter(self._by_name.values())

    def __getitem__(self, name: str) -> Offer:
        """What was found of it; not known where pools of this kind are not asked for it."""
        return self._by_name.get(name) or Offer(name, None, "pools of this kind are not asked for it")


class _Pool(Protocol):
    @property
    def kind(self) -> str: ...


def offers_of(pool: _Pool) -> Offers:
    """Ask a pool, whatever it is. Raises PoolError where it does not answer at all."""
    if pool.kind not in _ASKED:
        return Offers(())
    ask: Callable[[Any], Offers] = imported(_ASKED[pool.kind])
    return ask(pool)
