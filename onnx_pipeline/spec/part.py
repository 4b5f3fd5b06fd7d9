"""What every part of a spec is: frozen, and without unknown attributes."""

import dagster as dg
from pydantic import ConfigDict

__all__ = ["SpecPart"]


class SpecPart(dg.Model, dg.Resolvable):
    """Attributes that Dagster resolves from YAML, so that a wrong one is reported with its file and line."""

    model_config = ConfigDict(frozen=True, extra="forbid")
