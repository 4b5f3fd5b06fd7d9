"""Where features and predictions of a slice lie between assets: Arrow IPC files in a folder.

A slice's data file is written under a name of its own and then named by a small manifest that is replaced in one step,
so a reader sees the old slice or the new one, and a writer that dies leaves only a file that `sweep` removes.
"""

import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal
from urllib.parse import quote

import pyarrow as pa

from onnx_pipeline.errors import StagingError

__all__ = ["Staged", "Staging", "StagingWriter"]

Stage = Literal["features", "predictions"]

_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Staged:
    """One staged slice."""

    facts: dict[str, Any]
    """What its writer found out about it; plain JSON values."""
    file: Path

    def open(self) -> pa.RecordBatchReader:
        """The rows, streamed from the file."""
        return pa.ipc.open_stream(pa.OSFile(str(self.file)))


class StagingWriter:
    """Writes one slice; nobody sees it before `commit`."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._file = folder / f"{uuid.uuid4().hex}.arrow"
        self._sink = pa.OSFile(str(self._file), "wb")
        self._writer = pa.ipc.new_stream(self._sink, schema)
        self._committed = False

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch)

    def commit(self, facts: dict[str, Any]) -> Staged:
        """Finish the file and make it the slice's current one."""
        self._close()
        facts = {**facts, "bytes": self._file.stat().st_size}
        manifest = self._folder / _MANIFEST
        previous = _manifest(manifest)
        draft = self._file.with_suffix(".json")
        draft.write_text(json.dumps({"file": self._file.name, "facts": facts}))
        os.replace(draft, manifest)
        self._committed = True
        if previous is not None:
            # A reader that has it open keeps it until it closes.
            (self._folder / previous["file"]).unlink(missing_ok=True)
        return Staged(facts, self._file)

    def _close(self) -> None:
        self._writer.close()
        self._sink.close()

    def __enter__(self) -> "StagingWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._committed:
            self._close()
            self._file.unlink(missing_ok=True)


class Staging:
    """Staged slices under one folder, as `<scoring>/<stage>/<partition>/`."""

    def __init__(self, base: Path, *, keep_hours: float = 24.0) -> None:
        self._base = base
        self._keep_hours = keep_hours

    def _folder(self, scoring: str, stage: Stage, partition_key: str) -> Path:
        # A leading dot keeps its escape too, so that no key can name a parent folder.
        return self._base / scoring / stage / ("_" + quote(partition_key, safe=""))

    def writer(self, scoring: str, stage: Stage, partition_key: str, schema: pa.Schema) -> StagingWriter:
        """A writer for one slice, to be used as a context manager."""
        return StagingWriter(self._folder(scoring, stage, partition_key), schema)

    def find(self, scoring: str, stage: Stage, partition_key: str) -> Staged:
        """The slice as it was last staged; `StagingError` where nothing lies there."""
        folder = self._folder(scoring, stage, partition_key)
        manifest = _manifest(folder / _MANIFEST)
        if manifest is None or not (folder / manifest["file"]).exists():
            together = "features" if stage == "features" else "features and predictions"
            raise StagingError(
                f"{scoring}: no {stage} of partition {partition_key!r} lie in staging; they were never made, or were "
                f"swept after {self._keep_hours:g} hours. Materialize {together} of {scoring} for that partition "
                "together with this asset."
            )
        return Staged(manifest["facts"], folder / manifest["file"])

    @contextmanager
    def open(self, scoring: str, stage: Stage, partition_key: str) -> Iterator[tuple[Staged, pa.RecordBatchReader]]:
        """Find and open a slice, also while somebody replaces it."""
        for attempt in range(5):
            staged = self.find(scoring, stage, partition_key)
            try:
                reader = staged.open()
            except FileNotFoundError:
                if attempt == 4:
                    raise
                continue
            try:
                yield staged, reader
            finally:
                reader.close()
            return

    def sweep(self) -> int:
        """Remove what was staged longer ago than `keep_hours`; the number of files removed."""
        limit = time.time() - self._keep_hours * 3600
        removed = 0
        for file in self._base.glob("*/*/*/*"):
            try:
                if file.stat().st_mtime < limit:
                    file.unlink()
                    removed += 1
            except FileNotFoundError:
                # Another run swept it first.
                continue
        return removed


def _manifest(path: Path) -> dict[str, Any] | None:
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    return manifest
