"""What stands in Dagster for a scoring whose `defs.yaml` cannot be: a job and a sensor that say why, and no assets.

Raised, one wrong line would keep a whole project from loading: no schedule, sensor or run of any scoring would work.
`dg check defs` and `dagster definitions validate` are asked whether all is well, and get the error itself, as its text
alone: what they print of an error is made by Python's `traceback`, in the process that loads.
"""

import logging
import os
import re
import sys
from typing import NoReturn

import dagster as dg
from dagster.components.core.component_tree import ComponentTreeException

from onnx_pipeline.base.errors import SpecError

__all__ = ["BrokenScoring", "InvalidScoringError", "as_text_alone", "broken_definitions"]

_VALIDATING = "DAGSTER_IS_DEFS_VALIDATION_CLI"
"""Set by `dg check defs` and `dagster definitions validate`, as their help says."""

_logger = logging.getLogger("onnx_pipeline")


class InvalidScoringError(SpecError, ComponentTreeException):
    """A scoring that cannot be, told to who validates.

    Dagster puts a picture of all components around an exception of another class than its own.
    """


def as_text_alone(error: SpecError) -> SpecError:
    """`error` to be raised while definitions load: where Dagster validates, as one that is printed without frames."""
    if os.environ.get(_VALIDATING) != "1":
        return error
    # File and line that matter are in the text, and frames of Dagster and of this package would hide it. The process
    # was started to validate, and loads nothing after this.
    sys.tracebacklimit = 0
    return InvalidScoringError(str(error))


def broken_definitions(name: str, error: SpecError) -> dg.Definitions:
    """A job and a sensor of the scoring's own names, which fail with `error`; raises it where Dagster validates."""
    if os.environ.get(_VALIDATING) == "1":
        raise as_text_alone(error) from None
    _logger.error("The scoring %s is left out: %s", name, error)
    # The name itself may be what is wrong.
    usable, said = re.sub(r"\W", "_", name, flags=re.ASCII), f"{name} cannot be loaded. SpecError: {error}"

    @dg.op(name=f"{usable}_broken")
    def broken() -> None:
        raise dg.Failure(description=said, allow_retries=False)

    @dg.job(name=usable, description=said)
    def job() -> None:
        broken()

    @dg.sensor(name=f"{usable}_new_rows", job=job, description=said)
    def new_rows() -> NoReturn:
        raise SpecError(said)

    return dg.Definitions(jobs=[job], sensors=[new_rows])


class BrokenScoring(dg.Component):
    """What is loaded in the place of a scoring whose `defs.yaml` cannot be."""

    def __init__(self, name: str, error: SpecError) -> None:
        self.name = name
        self.error = error

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        return broken_definitions(self.name, self.error)
