"""A cluster of this process alone: its tasks run one after the other, as Spark would run them, and may be told to break.

What a pool hands out and adopts is looked at without Java and without other processes; `test_parity.py` runs real Spark.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from onnx_pipeline.cluster import work
from onnx_pipeline.cluster.order import Order
from onnx_pipeline.cluster.parts import Parts, Written
from onnx_pipeline.cluster.shipping import written_down
from onnx_pipeline.cluster.work import Answer
from onnx_pipeline.engines.spark import engine

__all__ = ["Cluster"]


class Cluster:
    """In place of a session. `lost` attempts of each part are made whole before the one that counts."""

    version = "here"

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, cores: int = 2) -> None:
        self.lost = 0
        self.half = False
        """Whether each part has an attempt that dies when half of its rows are written."""
        self.answers: list[Answer] = []
        self.orders: list[str] = []
        self.forged: Callable[[Sequence[Answer]], Sequence[Answer]] = lambda answers: answers
        """What becomes of the answers on their way."""
        monkeypatch.setenv("ONNX_PIPELINE_SPARK", "local[2]")
        monkeypatch.setattr(engine, "session", lambda: self)
        monkeypatch.setattr(engine, "parallelism", lambda _: cores)
        monkeypatch.setattr(engine, "is_connect", lambda _: True)
        monkeypatch.setattr(engine, "carry_out", self._carry_out)

    def _carry_out(self, spark: "Cluster", asked: Order, data: bytes, package: Path, *, on_tasks: Any) -> list[Answer]:
        assert spark is self and package.exists()
        order, model = written_down(asked, data)
        parts = len(asked.plan.parts)
        self.orders.append(order.read_text())
        for number in range(parts):
            if self.half:
                self._half(str(order), str(model), number)
            for _ in range(self.lost):
                assert work.answered(str(order), str(model), number).refused is None
            answer = Answer.from_json(work.answered(str(order), str(model), number).to_json())
            self.answers.append(answer)
            on_tasks(number + 1, parts)
        return list(self.forged(self.answers[-parts:]))

    @staticmethod
    def _half(order: str, model: str, number: int) -> None:
        """An attempt whose process dies: what it has written stays, and nobody hears of it."""
        opened = work._opened(order, model)
        made = opened.order.plan.open()
        original = type(made).write

        def write(self: Parts, name: str, schema: Any, batches: Any) -> Written:
            def some() -> Any:
                rows = next(iter(batches))
                yield rows.slice(0, max(1, rows.num_rows // 2))

            return original(self, name, schema, some())

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(made), "write", write)
            work.answered(order, model, number)
