"""What a Synapse dedicated SQL pool is asked for."""

from typing import Any

from onnx_pipeline.pools import offers as what
from onnx_pipeline.pools.offers import Offer, Offers, Value
from onnx_pipeline.pools.synapse.predict import QUESTION, wrong
from onnx_pipeline.pools.tsql.offers import (
    IDENTITY,
    READ_COMMITTED_SNAPSHOT,
    TABLE_RIGHTS,
    Probe,
    Rows,
    asked,
    right,
    text,
)

__all__ = ["ask", "without_scripts"]


def _answers(rows: Rows) -> tuple[Value | None, str]:
    why = wrong(rows)
    return why is None, why or ""


_PROBES = (
    *IDENTITY,
    Probe(
        what.SERVICE_OBJECTIVE,
        "SELECT CAST(DATABASEPROPERTYEX(DB_NAME(), 'ServiceObjective') AS NVARCHAR(128)) AS objective",
        text,
    ),
    READ_COMMITTED_SNAPSHOT,
    Probe(what.PREDICT, QUESTION, _answers, refusal_is_no=True),
    *TABLE_RIGHTS,
    right(what.MAY_COPY, "ADMINISTER DATABASE BULK OPERATIONS"),
)


def ask(pool: Any) -> Offers:
    """What it says. Raises PoolError where it cannot be reached."""
    return without_scripts(asked(pool, _PROBES))


def without_scripts(offers: Offers) -> Offers:
    """The same, and what pools of this kind never have."""
    none = "pools of this kind run no external scripts, and call no HTTPS endpoint"
    never = (what.LANGUAGES, what.EXTERNAL_SCRIPTS, what.REST_PROCEDURE)
    return Offers([*offers, *(Offer(name, False, none) for name in never)])
