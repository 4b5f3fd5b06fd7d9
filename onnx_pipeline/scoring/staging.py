"""Where features and predictions of a slice lie between assets: Arrow IPC files in a folder, or where a pool put them.

A slice's data file is written under a name of its own and then named by a small manifest that is replaced in one step,
so a reader sees the old slice or the new one, and a writer that dies leaves only a file that `sweep` removes.
Whatever else happens to the files, a full disk or a file cut short, is a `StagingError` that says what mends it.
"""

import contextlib
import logging
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal
from urllib.parse import quote

import pyarrow as pa
from typing_extensions import Self

from onnx_pipeline.base.disk import writing
from onnx_pipeline.base.errors import StagingError
from onnx_pipeline.scoring.manifest import MANIFEST, read_manifest, replace_manifest, withdrawal

__all__ = ["Stage", "Staged", "Staging", "StagingWriter", "Withdrawn"]

Stage = Literal["features", "predictions"]

_logger = logging.getLogger(__name__)

_SUFFIX = ".arrow"


@dataclass(frozen=True)
class Withdrawn:
    """A slice that a check refused."""

    why: str
    run_id: str
    """The run that refused it."""


@dataclass(frozen=True)
class Staged:
    """One staged slice."""

    facts: dict[str, Any]
    """What its writer found out about it; plain JSON values."""
    file: Path | None
    """Arrow, or Parquet where an engine of the pool made it; None where the rows lie elsewhere, or there are none."""
    table: str | None = None
    """Of the pool, where an engine of the pool left them there."""


class StagingWriter:
    """Writes one slice; nobody sees it before `commit`."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self._folder = folder
        self._file = folder / f"{uuid.uuid4().hex}{_SUFFIX}"
        self._committed = False
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._sink = pa.OSFile(str(self._file), "wb")
            self._writer = pa.ipc.new_stream(self._sink, schema)

    def write(self, batch: pa.RecordBatch) -> None:
        with _writing(self._folder, batch.nbytes):
            self._writer.write_batch(batch)

    def commit(self, facts: dict[str, Any]) -> Staged:
        """Finish the file and make it the slice's current one."""
        with _writing(self._folder):
            self._close()
            facts = {**facts, "bytes": self._file.stat().st_size}
            replace_manifest(self._folder, facts, file=self._file.name)
            self._committed = True
        return Staged(facts, self._file)

    def _close(self) -> None:
        self._writer.close()
        self._sink.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._committed:
            return
        # Nothing of it is kept, so a full disk may refuse its last bytes; what failed before is being raised.
        with contextlib.suppress(OSError):
            self._close()
        with contextlib.suppress(OSError):
            self._sink.close()
            self._file.unlink(missing_ok=True)


class Staging:
    """Staged slices under one folder, as `<scoring>/<stage>/<partition>/`."""

    def __init__(self, base: Path, *, keep_hours: float = 24.0) -> None:
        self._base = base
        self._keep_hours = keep_hours

    def folder(self, scoring: str, stage: Stage, partition_key: str) -> Path:
        """The folder of one slice."""
        # A leading dot keeps its escape too, so that no key can name a parent folder.
        return self._base / scoring / stage / ("_" + quote(partition_key, safe=""))

    def writer(self, scoring: str, stage: Stage, partition_key: str, schema: pa.Schema) -> StagingWriter:
        """A writer for one slice, to be used as a context manager."""
        return StagingWriter(self.folder(scoring, stage, partition_key), schema)

    def record(
        self,
        scoring: str,
        stage: Stage,
        partition_key: str,
        facts: dict[str, Any],
        *,
        file: Path | None = None,
        table: str | None = None,
    ) -> str | None:
        """Make what lies stored elsewhere the slice's current rows: a file in its folder, a table of the pool, or none.

        Returns the table that the slice lay in before, which nobody names any more.
        """
        folder = self.folder(scoring, stage, partition_key)
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            return replace_manifest(folder, facts, file=file.name if file is not None else None, table=table)

    def withdraw(self, scoring: str, stage: Stage, partition_key: str, *, why: str, run_id: str) -> str | None:
        """Take a slice out of staging, and say why: `find` says it to whoever asks for the slice.

        Returns the table of the pool that the slice lay in, which nobody names any more.
        """
        folder = self.folder(scoring, stage, partition_key)
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            return replace_manifest(folder, {"why": why, "run_id": run_id}, is_withdrawn=True)

    def withdrawn(self, scoring: str, stage: Stage, partition_key: str) -> Withdrawn | None:
        """Why the slice was taken out of staging; None where it was not."""
        found = withdrawal(self.folder(scoring, stage, partition_key))
        return None if found is None else Withdrawn(found["why"], found["run_id"])

    def find(self, scoring: str, stage: Stage, partition_key: str) -> Staged:
        """The slice as it was last staged; `StagingError` where nothing lies there, or what lies there is damaged."""
        folder = self.folder(scoring, stage, partition_key)
        together = "features" if stage == "features" else "features and predictions"
        remedy = f"Materialize {together} of {scoring} for that partition together with this asset."
        what = f"{scoring}: the staged {stage} of partition {partition_key!r}"
        withdrawn = self.withdrawn(scoring, stage, partition_key)
        if withdrawn is not None:
            raise StagingError(f"{what} were withdrawn, since the partition was refused: {withdrawn.why} {remedy}")
        named = None
        while True:
            try:
                manifest = read_manifest(folder)
                if manifest is None:
                    break
                facts = manifest["facts"]
                if manifest["file"] is None:
                    return Staged(facts, None, manifest["table"])
                file = folder / manifest["file"]
                size = _size(file)
            except (OSError, StagingError) as error:
                raise StagingError(f"{what} cannot be read: {error}. {remedy}") from error
            if size is None and file == named:
                break
            if size is None:
                # Replaced between our two looks? Then the manifest names another file by now.
                named = file
                continue
            if size != facts.get("bytes"):
                raise StagingError(
                    f"{what} are damaged: {file} has {size} bytes, and should have {facts.get('bytes')}. {remedy}"
                )
            return Staged(facts, file)
        raise StagingError(
            f"{scoring}: no {stage} of partition {partition_key!r} lie in staging; they were never made, or were "
            f"swept after {self._keep_hours:g} hours. {remedy}"
        )

    @contextmanager
    def open(self, scoring: str, stage: Stage, partition_key: str) -> Iterator[tuple[Staged, pa.RecordBatchReader]]:
        """Find and open a slice, also while somebody replaces it: what is open stays whole."""
        while True:
            # Ends where `find` finds nothing; each round somebody staged the slice anew.
            staged = self.find(scoring, stage, partition_key)
            if staged.file is None or staged.file.suffix != _SUFFIX:
                raise StagingError(
                    f"{scoring}: the {stage} of partition {partition_key!r} were staged by an engine of the pool, and "
                    f"are no rows here. Materialize {stage} of {scoring} for that partition together with this asset."
                )
            try:
                file = pa.OSFile(str(staged.file))
            except FileNotFoundError:
                continue
            except OSError as error:
                raise _damaged(staged.file, error) from error
            break
        with file, contextlib.closing(_reader(file, staged.file)) as reader:
            yield staged, reader

    @contextmanager
    def hold(self, staged: Staged) -> Iterator[Path | None]:
        """A file of a slice under a name of its own, which stays whole while somebody replaces it.

        Yields None where it was replaced already.
        """
        assert staged.file is not None
        held = staged.file.with_name(f"held-{uuid.uuid4().hex}{staged.file.suffix}")
        try:
            with _writing(held.parent):
                os.link(staged.file, held)
        except StagingError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            yield None
            return
        try:
            yield held
        finally:
            held.unlink(missing_ok=True)

    def sweep(self) -> int:
        """Remove what was staged longer ago than `keep_hours`; the number of files removed.

        Manifests stay: one may be replaced between a look at its age and its removal. Without its file it says nothing.
        """
        limit = time.time() - self._keep_hours * 3600
        removed = 0
        for file in self._base.glob("*/*/*/*"):
            if file.name == MANIFEST:
                continue
            try:
                if file.stat().st_mtime < limit:
                    # A folder is what a killed run had given to a cluster.
                    shutil.rmtree(file) if file.is_dir() else file.unlink()
                    removed += 1
            except FileNotFoundError:
                # Another run swept it first.
                continue
            except OSError as error:
                _logger.warning("%s is old and cannot be removed from staging: %s", file, error)
        return removed


def _size(file: Path) -> int | None:
    """Bytes of the file; None where there is none."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return None


def _reader(file: pa.NativeFile, path: Path) -> pa.RecordBatchReader:
    """The file's rows, streamed; what is no Arrow in it is a `StagingError`."""

    def batches(stream: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        try:
            yield from stream
        except (pa.ArrowException, OSError) as error:
            raise _damaged(path, error) from error

    try:
        stream = pa.ipc.open_stream(file)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error
    return pa.RecordBatchReader.from_batches(stream.schema, batches(stream))


def _damaged(path: Path, error: Exception) -> StagingError:
    return StagingError(
        f"the staged file {path} is damaged ({error}); materialize features and predictions of this partition again"
    )


def _writing(folder: Path, size: int | None = None) -> AbstractContextManager[None]:
    return writing(
        folder,
        StagingError,
        lost="nothing was staged there",
        elsewhere="name another `folder` for the resource `staging`",
        then="run the partition again",
        size=size,
    )
