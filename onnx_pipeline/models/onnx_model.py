"""A model that can be scored: `OnnxModel.load("model.onnx").score(frame)`."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from onnx_pipeline.base.errors import InvalidModelError
from onnx_pipeline.base.rules import is_float
from onnx_pipeline.base.sizes import readable_bytes
from onnx_pipeline.models import null_policy, runtime
from onnx_pipeline.models.accelerators.placement import placed
from onnx_pipeline.models.batches import Scorer, in_parts, streamed
from onnx_pipeline.models.binding import Binding, bind
from onnx_pipeline.models.calls import Calls, rows_of_a_call
from onnx_pipeline.models.columns_read import ColumnsRead, Holding
from onnx_pipeline.models.facts import FACTS_FORMAT
from onnx_pipeline.models.features import Packer
from onnx_pipeline.models.fitting import missing_count
from onnx_pipeline.models.kept_looks import KeptLooks
from onnx_pipeline.models.null_policy import StandIn
from onnx_pipeline.models.outputs import OutputColumn, output_columns, unpack
from onnx_pipeline.models.runtime import RuntimeOptions
from onnx_pipeline.models.signature import Signature

if TYPE_CHECKING:
    # Beside it lies what a first look examines a model with.
    from onnx_pipeline.models.accelerators.opened import Subject
    from onnx_pipeline.models.batch_dependence.verdict import Form

__all__ = ["OnnxModel", "Scorer"]

FrameT = TypeVar("FrameT")


@dataclass(frozen=True)
class OnnxModel:
    """An ONNX model, checked and normalised, and what was found out about it."""

    sha256: str
    """Of the bytes as they came: this is the model's identity."""
    size: int
    """Bytes, as they came."""
    opset: dict[str, int]
    """Operator set versions by domain; the domain of ONNX itself is the empty string."""
    producer: str
    """Name and version of the exporter, as the model states them; empty where it does not."""
    signature: Signature
    feature_names: tuple[str, ...] | None
    """The metadata property `feature_names`: the columns of an `[N, F]` input, in order."""
    changes: tuple[str, ...]
    """What normalising did or found, as sentences."""
    unsafe_nulls: frozenset[tuple[str, int]]
    """(input, column index) of the features that a tree without missing-value tracking tests.

    `EVERY_COLUMN` stands for all of an input's columns."""
    label_nulls: frozenset[tuple[str, str, int]]
    """(output, input, column index) of the features whose NaN would become a label; `EVERY_COLUMN` as above."""
    read_columns: ColumnsRead
    """Which columns may move which output."""
    operators: tuple[str, ...]
    """What it computes with between inputs and outputs: `Add`, `ai.onnx.ml.Scaler`."""
    fixed_batch: int | None
    """Rows that each call must have; None where any number goes."""
    form: "Form"
    """In which form it runs so that each row has one answer."""
    row_bytes: int | None
    """Bytes that a row takes between the model's operators, where it is widest; None where that is not known."""
    onnxruntime: str
    """The version of ONNX Runtime that it was looked at with."""
    normalised: bytes = field(repr=False)
    """The model that runs."""
    options: RuntimeOptions = field(default_factory=RuntimeOptions, compare=False)

    @property
    def artifact_sha256(self) -> str:
        """The same as `sha256`: the artifact is here."""
        return self.sha256

    @property
    def about(self) -> dict[str, str | int | Sequence[str]]:
        """What people are shown of it."""
        versions = (f"{domain or 'ai.onnx'} {version}" for domain, version in sorted(self.opset.items()))
        return {
            "size_bytes": self.size,
            "opset": ", ".join(versions),
            "producer": self.producer or "unknown",
            "runs": self.form,
            "normalising": self.changes or ("nothing to change",),
            **self._about_calls(),
        }

    def _about_calls(self) -> dict[str, str]:
        rows = rows_of_a_call(self.options, row_bytes=self.row_bytes, fixed_batch=self.fixed_batch)
        if self.fixed_batch is not None or self.row_bytes is None or rows == self.options.batch_rows:
            return {}
        return {
            "batch_rows": f"{rows:,} instead of {self.options.batch_rows:,}: a row takes "
            f"{readable_bytes(self.row_bytes)} between the model's operators, and one call may take "
            f"{readable_bytes(self.options.call_memory)} (`call_memory` of `onnx_runtime`)"
        }

    @classmethod
    def load(
        cls, uri: str | Path, *, options: RuntimeOptions | None = None, looks: KeptLooks | None = None
    ) -> "OnnxModel":
        """Loads and checks the model at a path or URI, as `from_bytes` does.

        Raises ModelNotFoundError, InvalidModelError, UnsupportedModelError, UnsafeModelError or
        RuntimeUnavailableError.
        """
        from onnx_pipeline.models.stores import open_store

        return cls.from_bytes(open_store(str(uri)).fetch(str(uri)), source=str(uri), options=options, looks=looks)

    @classmethod
    def from_bytes(
        cls,
        data: bytes,
        *,
        source: str = "the model",
        options: RuntimeOptions | None = None,
        looks: KeptLooks | None = None,
    ) -> "OnnxModel":
        """Checks and normalises a model. `source` is what messages call it.

        What was never seen is loaded and tried in a process of its own first, and what was found is kept in `looks`,
        by default in the user's cache folder. Raises as `load` does.
        """
        from onnx_pipeline.models.first_look import look

        chosen = options or RuntimeOptions()
        seen = look(data, source=source, options=chosen, looks=looks)
        return cls.from_description(seen.normalised, seen.facts, options=chosen)

    def describe(self) -> dict[str, Any]:
        """What was found out, as JSON; with `normalised` it builds the model again, by `from_description`."""
        return {
            "format": FACTS_FORMAT,
            "sha256": self.sha256,
            "size": self.size,
            "opset": dict(self.opset),
            "producer": self.producer,
            "signature": self.signature.to_json(),
            "feature_names": None if self.feature_names is None else list(self.feature_names),
            "changes": list(self.changes),
            "unsafe_nulls": [list(place) for place in sorted(self.unsafe_nulls)],
            "label_nulls": [list(place) for place in sorted(self.label_nulls)],
            "read_columns": self.read_columns.to_facts(),
            "operators": list(self.operators),
            "fixed_batch": self.fixed_batch,
            "form": self.form,
            "row_bytes": self.row_bytes,
            "onnxruntime": self.onnxruntime,
            "normalised_sha256": hashlib.sha256(self.normalised).hexdigest(),
        }

    @classmethod
    def from_description(
        cls, normalised: bytes, facts: Mapping[str, Any], *, options: RuntimeOptions | None = None
    ) -> "OnnxModel":
        """The model that `describe` described; reads no graph, so it takes no time.

        Raises InvalidModelError where the bytes are not those that were described.
        """
        if hashlib.sha256(normalised).hexdigest() != facts["normalised_sha256"]:
            raise InvalidModelError(
                f"the normalised form of model {facts['sha256']} is not the one that was described: the "
                "stored file was damaged or replaced; materialize the model asset again"
            )
        names = facts["feature_names"]
        return cls(
            sha256=facts["sha256"],
            size=facts["size"],
            opset=dict(facts["opset"]),
            producer=facts["producer"],
            signature=Signature.from_json(facts["signature"]),
            feature_names=None if names is None else tuple(names),
            changes=tuple(facts["changes"]),
            unsafe_nulls=frozenset((name, index) for name, index in facts["unsafe_nulls"]),
            label_nulls=frozenset((output, name, index) for output, name, index in facts["label_nulls"]),
            read_columns=ColumnsRead.from_facts(facts["read_columns"]),
            operators=tuple(facts["operators"]),
            fixed_batch=facts["fixed_batch"],
            form=facts["form"],
            row_bytes=facts["row_bytes"],
            onnxruntime=facts["onnxruntime"],
            normalised=normalised,
            options=options or RuntimeOptions(),
        )

    def bind(
        self,
        features: Mapping[str, str | Sequence[str]] | Sequence[str] | None = None,
        *,
        available: Sequence[str] | None = None,
    ) -> Binding:
        """Binds source columns to this model's inputs, by the rules of `binding.bind`."""
        return bind(self.signature, features, feature_names=self.feature_names, available=available)

    def reads(
        self,
        tensor: str,
        index: int,
        outputs: Sequence[OutputColumn] | None = None,
        holding: Holding = Holding.ANYTHING,
    ) -> bool:
        """Whether a column of an input, of whose values that much is known, may move a prediction.

        `outputs` are the predictions that are wanted, by default all.
        """
        return self.read_columns.moves(self._wanted(outputs), tensor, index, holding)

    def _wanted(self, outputs: Sequence[OutputColumn] | None) -> set[str]:
        return {o.name for o in self.signature.outputs} if outputs is None else {o.output for o in outputs}

    def check_nulls(
        self,
        binding: Binding,
        null_counts: Mapping[str, int],
        nulls: Mapping[str, StandIn] | None = None,
        outputs: Sequence[OutputColumn] | None = None,
    ) -> None:
        """Raises NullFeatureError for NULLs that have no form in the model, or would silently mislead it.

        `outputs` are the predictions that are wanted, by default all.
        """
        null_policy.check_nulls(binding, null_counts, nulls, self.unsafe_nulls, self.labelled(outputs), self.producer)

    def null_columns(
        self,
        binding: Binding,
        nulls: Mapping[str, StandIn] | None = None,
        outputs: Sequence[OutputColumn] | None = None,
    ) -> tuple[str, ...]:
        """The source columns whose missing values `check_nulls` asks for; in others NaN goes its way."""
        return null_policy.counted_columns(binding, nulls, self.unsafe_nulls, self.labelled(outputs))

    def labelled(self, outputs: Sequence[OutputColumn] | None = None) -> null_policy.Labelled:
        """Which features make labels of NaN, as far as these predictions are wanted."""
        wanted = self._wanted(outputs)
        return null_policy.Labelled(
            frozenset(place for place in self.label_nulls if place[0] in wanted),
            beside_floats=any(is_float(o.dtype) for o in self.signature.outputs if o.name in wanted),
        )

    def scorer(
        self,
        binding: Binding,
        columns: Sequence[OutputColumn] | None = None,
        nulls: Mapping[str, StandIn] | None = None,
        options: RuntimeOptions | None = None,
    ) -> Scorer:
        """A function from one batch of features to one Arrow array per output column, row for row.

        Batches of any size go in: ONNX Runtime sees at most `options.batch_rows` rows at a time, fewer where they
        would take more than `options.call_memory`, or exactly `fixed_batch`. The function may be called from several
        threads. It raises NullFeatureError, as `check_nulls` does but for the batch at hand, DataError for rows that
        the model refuses, and OutOfMemoryError where memory does not hold a single row's tensors.
        """
        chosen = placed(options or self.options, self.operators, self.sha256)
        wanted = tuple(output_columns(self.signature) if columns is None else columns)
        names = tuple(dict.fromkeys(column.output for column in wanted))
        packer = Packer(binding, nulls)
        guarded = null_policy.guarded_columns(binding, nulls, self.unsafe_nulls, self.labelled(wanted))

        def check(batch: pa.RecordBatch) -> None:
            counts = {name: missing_count(batch.column(name)) for name in guarded if name in batch.schema.names}
            if any(counts.values()):
                self.check_nulls(binding, counts, nulls, wanted)

        if chosen.accelerators:
            from onnx_pipeline.models.accelerators.opened import column_scorer, takes_columns

            subject = self.subject(names, [len(bound.columns) for bound in binding.inputs])
            if takes_columns(subject, chosen):
                rows = rows_of_a_call(chosen, row_bytes=self.row_bytes, fixed_batch=None)
                return column_scorer(subject, packer, wanted, chosen, rows=rows, check=check)
        calls = self.calls(names, chosen)

        def part(batch: pa.RecordBatch) -> list[pa.Array]:
            rows = batch.num_rows
            return unpack(names, calls(packer(batch), rows), rows, wanted)

        return in_parts(part, packer, wanted, rows=chosen.batch_rows, check=check)

    def stream(
        self,
        batches: Iterable[pa.RecordBatch],
        binding: Binding,
        columns: Sequence[OutputColumn] | None = None,
        nulls: Mapping[str, StandIn] | None = None,
        options: RuntimeOptions | None = None,
    ) -> Iterator[tuple[pa.RecordBatch, list[pa.Array]]]:
        """Each batch with what `scorer` makes of it, in order. On a device several are under way, and a batch that is
        larger than a call comes back in parts. Raises as the function that `scorer` gives.
        """
        return streamed(self.scorer(binding, columns, nulls, options), batches)

    def subject(self, outputs: Sequence[str], widths: Sequence[int] | None, source: str = "the model") -> "Subject":
        """What opening it on an accelerator takes to know, for those outputs and widths of its inputs."""
        from onnx_pipeline.models.accelerators.opened import Subject

        known = {output.name: output for output in self.signature.outputs}
        asked = tuple(known[name] for name in outputs)
        return Subject(self.normalised, self.sha256, self.signature.inputs, widths, asked, self.fixed_batch, source)

    def calls(self, outputs: Sequence[str], options: RuntimeOptions, *, source: str = "the model") -> Calls:
        """What runs the model over packed rows, by a session of this process.

        Raises RuntimeUnavailableError where an accelerator's answers miss the CPU's.
        """
        options = placed(options, self.operators, self.sha256)
        rows = rows_of_a_call(options, row_bytes=self.row_bytes, fixed_batch=self.fixed_batch)
        wide = self.fixed_batch is None and rows < options.batch_rows
        if options.accelerators:
            from onnx_pipeline.models.accelerators.opened import accelerated
            from onnx_pipeline.models.normalise import probe_widths

            count = None if self.feature_names is None else len(self.feature_names)
            subject = self.subject(outputs, probe_widths(self.signature.inputs, count), source)
            return accelerated(subject, options, rows=rows, wide=wide)
        session = runtime.session(self.normalised, self.sha256, options, source=source, wide=wide)
        return Calls(session, outputs, rows=rows, fixed_batch=self.fixed_batch)

    def score(
        self,
        frame: FrameT,
        *,
        features: Mapping[str, str | Sequence[str]] | Sequence[str] | None = None,
        outputs: Mapping[str, str] | None = None,
        nulls: Mapping[str, StandIn] | None = None,
        key: Sequence[str] = (),
    ) -> FrameT:
        """Predictions for a pandas DataFrame, an Arrow Table or an Arrow RecordBatch, as the same kind.

        The result holds the `key` columns and one column per prediction, row for row; a DataFrame keeps its
        index. In a DataFrame NaN is a missing value. `features`, `outputs` and `nulls` mean what they mean in
        a defs.yaml.

        Raises SignatureError, NullFeatureError or DataError.
        """
        from onnx_pipeline.models.frames import score_frame

        return score_frame(self, frame, features=features, outputs=outputs, nulls=nulls, key=key)
