"""`onnx-pipeline doctor`: which engines can run a model here, and what the pool offers."""

import json
from collections.abc import Sequence
from typing import Any

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from onnx_pipeline.cli.terminal import terminal, uncut
from onnx_pipeline.engines.opinions import Opinion, Verdict, opinions, own_task
from onnx_pipeline.models import OnnxModel
from onnx_pipeline.orchestration.resources import pool_url
from onnx_pipeline.pools import Pool, open_pool
from onnx_pipeline.pools.offers import Offers
from onnx_pipeline.spec.engines.registry import options_of

__all__ = ["examine"]

_PATIENCE = 30.0
"""Seconds that the pool has to answer: a serverless database wakes up within that time."""
_STYLES = {
    Verdict.YES: "green", Verdict.NO: "bold red", Verdict.NOT_INSTALLED: "yellow", Verdict.NOT_KNOWN: "yellow",
}  # fmt: skip


def examine(uri: str, url: str | None, *, engine: str | None, as_json: bool) -> None:
    """Print what is found; exit code 1 where no engine can run the model, or not the one that was asked for."""
    if engine is not None:
        options_of(engine)  # raises for one that there is not
    pool = open_pool(url or pool_url()).waiting_at_most(_PATIENCE)
    model = OnnxModel.load(uri)
    offers = pool.offers()
    found = opinions(model, pool, own_task(model))
    if engine is not None:
        found = [one for one in found if one.engine == engine]
    if as_json:
        print(json.dumps(_record(uri, model, pool, found, offers), indent=1))
    else:
        _print(uri, model, pool, found, offers)
    if not any(one.verdict is Verdict.YES for one in found):
        raise typer.Exit(1)


def _print(uri: str, model: OnnxModel, pool: Pool, found: Sequence[Opinion], offers: Offers) -> None:
    console = terminal()
    console.print(f"{uri}: sha256 {model.sha256[:12]}, {model.size:,} bytes", soft_wrap=True)
    engines = _table("engine", "runs", "can run it", "why, or where", "what would make it run")
    for one in found:
        verdict = Text(one.verdict.value, style=_STYLES[one.verdict])
        engines.add_row(one.engine, one.runs, verdict, Text(one.why), Text(one.remedy))
    console.print(uncut(engines))
    console.print(f"{pool.display_name} offers")
    offered = _table("what", "here", "what for")
    for offer in offers:
        offered.add_row(offer.name, Text(offer.told), Text(offer.about))
    console.print(uncut(offered))
    able = [one.engine for one in found if one.verdict is Verdict.YES]
    console.print(f"can run it: {', '.join(able)}" if able else "no engine can run it here", soft_wrap=True)


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for place, heading in enumerate(headings):
        table.add_column(heading, no_wrap=place == 0 and len(headings) > 3)
    return table


def _record(uri: str, model: OnnxModel, pool: Pool, found: Sequence[Opinion], offers: Offers) -> dict[str, Any]:
    return {
        "model": {"uri": uri, "sha256": model.sha256},
        "pool": {"name": pool.display_name, "kind": pool.kind},
        "engines": [
            {
                "engine": one.engine,
                "runs": one.runs,
                "can_run": one.verdict.value,
                "where": one.proviso,
                "reasons": [reason._asdict() for reason in one.reasons],
            }
            for one in found
        ],
        "offers": [
            {"name": offer.name, "value": offer.value, "known": offer.value is not None, "why": offer.why}
            for offer in offers
        ],
    }
