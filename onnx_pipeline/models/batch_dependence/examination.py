"""One look at a model: does each row have one answer, and in which form does the model give it."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_pipeline.base.errors import DataError
from onnx_pipeline.models.batch_dependence import refusals
from onnx_pipeline.models.batch_dependence.company import Answers, Feeds, Rehearsal, length, taken, together
from onnx_pipeline.models.batch_dependence.ties import tied, with_scores
from onnx_pipeline.models.batch_dependence.verdict import Cause
from onnx_pipeline.models.probe_rows import Vocabulary, probe_rows
from onnx_pipeline.models.runtime import RuntimeOptions, open_session, run
from onnx_pipeline.models.signature import TensorSignature

if TYPE_CHECKING:
    import onnxruntime as ort
    from onnx import ModelProto

__all__ = ["Examination"]

_TAME = _WILD = 12
_BACKWARDS = range(_TAME - 1, -1, -1)
_WITH_CAUSE, _OF_SIZES, _WITHOUT_CAUSE = 1e-5, 1e-4, 1e-3
_LEAST_WITHOUT_CAUSE = 3
"""Rows that must differ where no operator is known to mix rows: one may sit where a rounding decides."""


@dataclass(frozen=True)
class Examination:
    """A session on made-up rows."""

    session: "ort.InferenceSession"
    inputs: Sequence[TensorSignature]
    widths: Sequence[int]
    words: Vocabulary
    source: str

    @property
    def names(self) -> list[str]:
        return [output.name for output in self.session.get_outputs()]

    def made_up(self, rows: int, wildness: int, seed: int) -> Feeds:
        return probe_rows(self.inputs, self.widths, self.words, rows, wildness=wildness, seed=seed)

    def ask(self, feeds: Feeds) -> Answers:
        """Raises DataError where the model refuses the rows."""
        return dict(zip(self.names, map(np.asarray, run(self.session, self.names, feeds)), strict=True))

    def shapes(self, rows: int) -> dict[str, tuple[int, ...]] | None:
        """The shapes of the outputs for ordinary rows; None where the model refuses them."""
        try:
            answers = self.ask(self.made_up(rows, 0, rows))
        except DataError:
            return None
        return {name: answer.shape for name, answer in answers.items()}

    def shapes_one_by_one(self, rows: int) -> dict[str, tuple[int, ...]] | None:
        """The shapes that `shapes` asks for, of each row alone; None where one of the rows is refused."""
        feeds = self.made_up(rows, 0, rows)
        try:
            answers = [self.ask(taken(feeds, [row])) for row in range(rows)]
        except DataError:
            return None
        return {name: answer.shape for name, answer in answers[0].items()}

    def refuse_mixing(self, model: "ModelProto", causes: Sequence[Cause], options: RuntimeOptions) -> str | None:
        """Raises UnsupportedModelError where a row's answer depends on its company; gives what could not be proven.

        Where an operator may be the cause, every difference above 1e-5 counts, in batches of another size
        above 1e-4. Where none is, rows may differ by 1e-3 and a label may flip: matrix products add up in another
        order in batches of another size.
        """
        tame = [rows for wildness in (0, 1) if (rows := self._accepted(_TAME, wildness, seed=7)) is not None]
        if not tame:
            return "the model refuses made-up rows, so that its rows do not mix could not be tried"
        both = (self._accepted(_WILD, wildness, seed) for wildness in (2, 1, 0) for seed in (17, 31))
        accepted = itertools.chain((rows for rows in both if rows is not None), (tame[0], taken(tame[0], _BACKWARDS)))
        company, others = itertools.islice(accepted, 2)
        rehearsal = Rehearsal(self.ask, together(*tame), company, others)
        strict, loose = (_WITH_CAUSE, _OF_SIZES) if causes else (_WITHOUT_CAUSE, _WITHOUT_CAUSE)
        try:
            found = rehearsal.differences(strict, loose)
        except DataError:
            return "the model takes some made-up rows, but not all of them in one call"
        if found is None:
            return None
        wrong = found.scores
        if found.labels.any():
            wrong = wrong | (found.labels & ~self._tied(rehearsal.rows, model, loose, options))
        if wrong.sum() >= (1 if causes else _LEAST_WITHOUT_CAUSE):
            raise refusals.mixing(self.source, causes, int(wrong.sum()), len(wrong), found.way)
        return None

    def _accepted(self, rows: int, wildness: int, seed: int) -> Feeds | None:
        feeds = self.made_up(rows, wildness, seed + wildness)
        try:
            self.ask(feeds)
        except DataError:
            return None
        return feeds

    def _tied(
        self, rows: Feeds, model: "ModelProto", tolerance: float, options: RuntimeOptions
    ) -> np.ndarray[Any, Any]:
        """Rows whose labels may differ, because scores are as good as equal."""
        answers = self.ask(rows)
        if any(answer.dtype.kind == "f" for answer in answers.values()):
            return tied(answers, length(rows), tolerance)
        scored = open_session(with_scores(model).SerializeToString(), options, quiet=True)
        return tied(replace(self, session=scored).ask(rows), length(rows), tolerance)
