"""Where features and predictions of a slice lie between assets: Arrow IPC files in a folder.

A slice's data file is written under a name of its own and then named by a small manifest that is replaced in one step,
so a reader sees the old slice or the new one, and a writer that dies leaves only a file that `sweep` removes.
Whatever else happens to the files, a full disk or a file cut short, is a `StagingError` that says what mends it.
"""

import contextlib
import json
import logging
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
from typing_extensions import Self

from onnx_pipeline.base.errors import StagingError

__all__ = ["Stage", "Staged", "Staging", "StagingWriter", "Withdrawn"]

Stage = Literal["features", "predictions"]

_logger = logging.getLogger(__name__)

_MANIFEST = "manifest.json"


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
    file: Path


class StagingWriter:
    """Writes one slice; nobody sees it before `commit`."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self._folder = folder
        self._file = folder / f"{uuid.uuid4().hex}.arrow"
        self._draft = self._file.with_suffix(".json")
        self._committed = False
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._sink = pa.OSFile(str(self._file), "wb")
            self._writer = pa.ipc.new_stream(self._sink, schema)

    def write(self, batch: pa.RecordBatch) -> None:
        with _writing(self._folder):
            self._writer.write_batch(batch)

    def commit(self, facts: dict[str, Any]) -> Staged:
        """Finish the file and make it the slice's current one."""
        manifest = self._folder / _MANIFEST
        with _writing(self._folder):
            self._close()
            facts = {**facts, "bytes": self._file.stat().st_size}
            previous = None
            # What a damaged manifest named, the sweep removes.
            with contextlib.suppress(StagingError):
                previous = _manifest(manifest)
            self._draft.write_text(json.dumps({"file": self._file.name, "facts": facts}))
            self._draft.replace(manifest)
            self._committed = True
            if previous is not None:
                # A reader that has it open keeps it until it closes.
                (self._folder / previous["file"]).unlink(missing_ok=True)
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
            self._draft.unlink(missing_ok=True)
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

    def withdraw(self, scoring: str, stage: Stage, partition_key: str, *, why: str, run_id: str) -> None:
        """Take a slice out of staging, and say why: `find` says it to whoever asks for the slice."""
        folder = self._folder(scoring, stage, partition_key)
        manifest, draft = folder / _MANIFEST, folder / f"{uuid.uuid4().hex}.json"
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            previous = None
            with contextlib.suppress(StagingError):
                previous = _manifest(manifest)
            draft.write_text(json.dumps({"withdrawn": why, "run_id": run_id}))
            draft.replace(manifest)
            if previous is not None:
                (folder / previous["file"]).unlink(missing_ok=True)

    def withdrawn(self, scoring: str, stage: Stage, partition_key: str) -> Withdrawn | None:
        """Why the slice was taken out of staging; None where it was not."""
        path = self._folder(scoring, stage, partition_key) / _MANIFEST
        with contextlib.suppress(OSError, ValueError):
            manifest = json.loads(path.read_bytes())
            if isinstance(manifest, dict) and "withdrawn" in manifest:
                return Withdrawn(str(manifest["withdrawn"]), str(manifest.get("run_id", "")))
        return None

    def find(self, scoring: str, stage: Stage, partition_key: str) -> Staged:
        """The slice as it was last staged; `StagingError` where nothing lies there, or what lies there is damaged."""
        folder = self._folder(scoring, stage, partition_key)
        together = "features" if stage == "features" else "features and predictions"
        remedy = f"Materialize {together} of {scoring} for that partition together with this asset."
        what = f"{scoring}: the staged {stage} of partition {partition_key!r}"
        withdrawn = self.withdrawn(scoring, stage, partition_key)
        if withdrawn is not None:
            raise StagingError(f"{what} were withdrawn, since the slice was refused: {withdrawn.why} {remedy}")
        named = None
        while True:
            try:
                manifest = _manifest(folder / _MANIFEST)
                file = folder / manifest["file"] if manifest is not None else None
                size = _size(file) if file is not None else None
            except (OSError, StagingError) as error:
                raise StagingError(f"{what} cannot be read: {error}. {remedy}") from error
            if manifest is None or file is None or (size is None and file == named):
                break
            if size is None:
                # Replaced between our two looks? Then the manifest names another file by now.
                named = file
                continue
            facts = manifest["facts"]
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
            try:
                file = pa.OSFile(str(staged.file))
            except FileNotFoundError:
                continue
            except OSError as error:
                raise _damaged(staged.file, error) from error
            break
        with file, contextlib.closing(_reader(file, staged.file)) as reader:
            yield staged, reader

    def sweep(self) -> int:
        """Remove what was staged longer ago than `keep_hours`; the number of files removed.

        Manifests stay: one may be replaced between a look at its age and its removal. Without its file it says nothing.
        """
        limit = time.time() - self._keep_hours * 3600
        removed = 0
        for file in self._base.glob("*/*/*/*"):
            if file.name == _MANIFEST:
                continue
            try:
                if file.stat().st_mtime < limit:
                    file.unlink()
                    removed += 1
            except FileNotFoundError:
                # Another run swept it first.
                continue
            except OSError as error:
                _logger.warning("%s is old and cannot be removed from staging: %s", file, error)
        return removed


def _manifest(path: Path) -> dict[str, Any] | None:
    try:
        manifest: Any = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise StagingError(f"{path} is not JSON ({error})") from error
    if isinstance(manifest, dict) and "withdrawn" in manifest:
        return None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("file"), str):
        raise StagingError(f"{path} names no file")
    if not isinstance(manifest.get("facts"), dict):
        raise StagingError(f"{path} holds no facts")
    # A name alone, whatever was written there.
    return {**manifest, "file": Path(manifest["file"]).name}


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


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StagingError(
            f"{folder} cannot be written ({error}), so nothing was staged there. Free space on that disk or let this "
            "user write to it, then run the partition again."
        ) from error
