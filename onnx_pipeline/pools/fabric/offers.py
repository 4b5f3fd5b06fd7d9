"""What a Fabric Warehouse is asked for: it has no PREDICT, and its readers always see one snapshot."""

from typing import Any

from onnx_pipeline.pools import offers as what
from onnx_pipeline.pools.offers import Offer, Offers
from onnx_pipeline.pools.synapse.offers import without_scripts
from onnx_pipeline.pools.tsql.offers import IDENTITY, TABLE_RIGHTS, asked, right

__all__ = ["ask"]

_PROBES = (*IDENTITY, *TABLE_RIGHTS, right(what.MAY_COPY, "ADMINISTER DATABASE BULK OPERATIONS"))


def ask(pool: Any) -> Offers:
    """What it says. Raises PoolError where it cannot be reached."""
    found = asked(pool, _PROBES)
    always = (Offer(what.SNAPSHOT, True), Offer(what.PREDICT, False, "Fabric's Warehouse has no such function"))
    return without_scripts(Offers([*found, *always]))
