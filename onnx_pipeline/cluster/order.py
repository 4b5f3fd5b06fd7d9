"""What a cluster is asked to do with one slice, as JSON: the model's description, the columns, and the parts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.cluster.parts import PartPlan
from onnx_pipeline.models.binding import Binding, InputBinding
from onnx_pipeline.models.null_policy import StandIn
from onnx_pipeline.models.outputs import OutputColumn
from onnx_pipeline.models.runtime import RuntimeOptions
from onnx_pipeline.models.signature import Signature

__all__ = ["ANSWERS", "MODEL", "ORDER", "Order"]

ORDER, MODEL, ANSWERS = "order.json", "model.onnx", "answers.json"
"""What lies in the folder of a slice that is given to a cluster."""

_FORMAT = 1


@dataclass(frozen=True)
class Order:
    """A model over the parts of a slice."""

    model: Mapping[str, Any]
    """As `OnnxModel.describe` gives it."""
    binding: Binding
    outputs: Sequence[OutputColumn]
    nulls: Mapping[str, StandIn]
    never_missing: Sequence[str]
    """Columns whose NULLs are refused before a prediction is seen: any value stands in for them."""
    marks: Sequence[str]
    """Columns that pass through unchanged."""
    runtime: RuntimeOptions
    plan: PartPlan

    def to_json(self) -> str:
        options = self.runtime
        return json.dumps(
            {
                "format": _FORMAT,
                "model": dict(self.model),
                "binding": [
                    {"input": one.tensor.name, "columns": one.columns, "unread": sorted(one.unread)}
                    for one in self.binding.inputs
                ],
                "outputs": [
                    {"name": one.name, "output": one.output, "index": one.index, "type": str(one.arrow)}
                    for one in self.outputs
                ],
                "nulls": dict(self.nulls),
                "never_missing": list(self.never_missing),
                "marks": list(self.marks),
                "runtime": {
                    "providers": [[one.name, dict(one.options)] for one in options.chosen],
                    "provider_tolerance": options.provider_tolerance,
                    "graph_optimization": options.graph_optimization,
                    "batch_rows": options.batch_rows,
                    "call_memory": options.call_memory,
                },
                "way": self.plan.way,
                "options": dict(self.plan.options),
                "rows": self.plan.rows,
                "parts": list(self.plan.parts),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> "Order":
        """Raises SpecError for what is no order of this version."""
        try:
            found = json.loads(text)
            if found["format"] != _FORMAT:
                raise SpecError(
                    f"the order is of format {found['format']}, and the onnx_pipeline here reads {_FORMAT}: install "
                    "the version of it that the run has"
                )
            signature = Signature.from_json(found["model"]["signature"])
            tensors = {tensor.name: tensor for tensor in signature.inputs}
            binding = Binding(
                tuple(
                    InputBinding(tensors[one["input"]], tuple(one["columns"]), frozenset(one["unread"]))
                    for one in found["binding"]
                )
            )
            outputs = [
                OutputColumn(one["name"], one["output"], one["index"], pa.type_for_alias(one["type"]))
                for one in found["outputs"]
            ]
            # One thread for each task: Spark gives a task one core, and runs as many as there are.
            runtime = RuntimeOptions(**found["runtime"], intra_op_threads=1)
            plan = PartPlan(found["way"], found["options"], found["parts"], found["rows"])
            return cls(
                found["model"], binding, outputs, found["nulls"], found["never_missing"], found["marks"], runtime, plan
            )
        except (ValueError, KeyError, TypeError) as error:
            raise SpecError(
                f"this is no order for a cluster ({type(error).__name__}: {error}); it is the file {ORDER} that a run "
                "of the engine `spark` writes"
            ) from error
