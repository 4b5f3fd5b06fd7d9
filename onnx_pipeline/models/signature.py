"""A model's inputs and outputs, seen as columns."""

import json
from dataclasses import asdict, dataclass

__all__ = ["OutputSignature", "Signature", "TensorSignature"]


@dataclass(frozen=True)
class TensorSignature:
    """One tensor of rows: `[N]` or `[N, width]`."""

    name: str
    dtype: str
    """ONNX Runtime's name of the element type: `float`, `int64`, `string`, ..."""
    shape: tuple[int | None, ...]
    """One or two dimensions; None is dynamic. The first is the batch, and always None."""

    @property
    def width(self) -> int | None:
        """How many columns the tensor holds; None where its second dimension is dynamic."""
        return 1 if len(self.shape) == 1 else self.shape[1]

    @property
    def is_matrix(self) -> bool:
        """Whether the tensor holds several columns, or may."""
        return self.width != 1

    def __str__(self) -> str:
        sizes = ", ".join(["N", *("?" if size is None else str(size) for size in self.shape[1:])])
        return f"{self.name}: {self.dtype}[{sizes}]"


@dataclass(frozen=True)
class OutputSignature(TensorSignature):
    """One tensor of predictions."""

    labels: tuple[str, ...] | None = None
    """The class that each column of an `[N, K]` output is about; None where the model says none."""


@dataclass(frozen=True)
class Signature:
    """What goes in, and what comes out."""

    inputs: tuple[TensorSignature, ...]
    outputs: tuple[OutputSignature, ...]
    formless: tuple[tuple[str, str], ...] = ()
    """Outputs that have no form as columns, with why: what wants all outputs, or one of these, is refused."""

    def to_json(self) -> str:
        """The signature as a JSON object, which `from_json` reads."""
        facts = asdict(self)
        if not self.formless:
            # It is part of what tells one declared model from another: of those before, nothing may change.
            del facts["formless"]
        return json.dumps(facts)

    @classmethod
    def from_json(cls, text: str) -> "Signature":
        """The signature that `to_json` wrote."""
        facts = json.loads(text)
        return cls(
            tuple(
                TensorSignature(tensor["name"], tensor["dtype"], tuple(tensor["shape"])) for tensor in facts["inputs"]
            ),
            tuple(
                OutputSignature(
                    tensor["name"],
                    tensor["dtype"],
                    tuple(tensor["shape"]),
                    None if tensor["labels"] is None else tuple(tensor["labels"]),
                )
                for tensor in facts["outputs"]
            ),
            # What an earlier version kept had none: it refused such a model.
            tuple((name, why) for name, why in facts.get("formless", ())),
        )

    def markdown(self) -> str:
        """A small table: one line per tensor."""
        lines = ["| | name | dtype | shape | classes |", "|---|---|---|---|---|"]
        for kind, tensors in (("input", self.inputs), ("output", self.outputs)):
            for tensor in tensors:
                shape = str(tensor).rpartition(tensor.dtype)[2]
                labels = ", ".join(getattr(tensor, "labels", None) or ())
                cells = (_cell(tensor.name), tensor.dtype, shape, _cell(labels))
                lines.append(f"| {kind} | {' | '.join(cells)} |")
        return "\n".join(lines)


def _cell(text: str) -> str:
    """A name may hold what Markdown would read as the end of a cell."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
