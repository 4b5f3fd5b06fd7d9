"""Slices as Parquet files in Azure Blob, for pools that load from storage (`COPY INTO`) and extract into it (CETAS).

    az://<container>/<prefix>/<scoring>/<run>-<attempt>/<partition>/part-00000.parquet

A folder is named by the run and its attempt, so a retried load never meets what an earlier one left, and `sweep` sees
which run owns what. Names hold only letters, digits, `-`, `_` and `~`, which no URL and no T-SQL literal escapes, and
begin with neither `_` nor `.`, since COPY INTO skips such files.
"""

import datetime
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from onnx_pipeline.azure.account import BlobAccount, account_configured
from onnx_pipeline.azure.blob_io import BlobReader, BlobWriter
from onnx_pipeline.azure.failures import blob_failures
from onnx_pipeline.azure.listing import files as listed_files
from onnx_pipeline.azure.location import BlobLocation
from onnx_pipeline.base.errors import StagingError, StagingUnavailableError

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient

__all__ = ["BlobFolder", "BlobStaging", "StagedFile"]

_FILE_BYTES = 256 * 2**20
"""From this size on COPY INTO is fast: https://learn.microsoft.com/sql/t-sql/statements/copy-into-transact-sql"""
_GROUP_BYTES = 32 * 2**20
_GROUP_ROWS = 2**20
"""A row group is what is held in memory, as Arrow and once more encoded."""

_PLAIN = re.compile(r"[A-Za-z0-9-]")


@dataclass(frozen=True)
class StagedFile:
    """One Parquet file of a slice."""

    path: str
    """Within the container."""
    url: str
    """At the account's Blob endpoint."""
    rows: int
    size: int
    """In bytes."""


class BlobFolder:
    """The files of one slice in one attempt of one run."""

    def __init__(self, account: BlobAccount, container: str, path: str) -> None:
        self._account = account
        self._container = container
        self.path = path
        """Within the container, without a slash at the end."""

    @property
    def url(self) -> str:
        """`https://<account>.blob.../<container>/<path>`, for COPY INTO with a SAS or an account key."""
        return self._account.blob_url(self._container, self.path)

    @property
    def dfs_url(self) -> str:
        """`https://<account>.dfs.../<container>/<path>`, for COPY INTO with a managed identity."""
        return self._account.dfs_url(self._container, self.path)

    @property
    def uri(self) -> str:
        """Where another process finds the folder, whose environment names the account or may sign in to it."""
        if account_configured() and BlobAccount.from_environment().url == self._account.url:
            return f"az://{self._container}/{self.path}"
        return self.url

    def within(self, name: str) -> "BlobFolder":
        """A folder in this one, of a plain name; what removes this one removes it, too."""
        return BlobFolder(self._account, self._container, f"{self.path}/{name}")

    def write(self, batches: pa.RecordBatchReader, *, file_bytes: int = _FILE_BYTES) -> list[StagedFile]:
        """Fill the folder, which is emptied first, with the batches as snappy Parquet of about `file_bytes` each.

        Batches stream: memory holds one row group of about 32 MB. Without rows there is one file without rows, so that
        there is something to load. Times are cut to microseconds, the finest that COPY INTO reads.
        """
        files: list[StagedFile] = []
        groups = _row_groups(batches)
        group: pa.Table | None = next(groups, batches.schema.empty_table())
        with self._container_client() as container:
            _delete(container, _names(container, self.path))
            while group is not None:
                path = f"{self.path}/part-{len(files):05}.parquet"
                sink, rows = BlobWriter(container.get_blob_client(path)), 0
                with _parquet(sink, batches.schema) as writer:
                    while group is not None and (sink.tell() < file_bytes or not rows):
                        writer.write_table(group, row_group_size=_GROUP_ROWS)
                        rows += group.num_rows
                        group = next(groups, None)
                files.append(StagedFile(path, self._account.blob_url(self._container, path), rows, sink.commit()))
        return files

    def files(self) -> list[str]:
        """The paths of the folder's files, in order, whoever wrote them; empty where there is none."""
        with self._container_client() as container:
            paths = sorted(blob.name for blob in listed_files(container, f"{self.path}/"))
            return [path for path in paths if not path.rpartition("/")[2].startswith(("_", "."))]

    @contextmanager
    def read(self) -> Iterator[pa.RecordBatchReader]:
        """The rows of all files in the folder, streamed one row group at a time; `StagingError` where there is none."""
        paths = self.files()
        if not paths:
            raise StagingError(
                f"no file lies in {self.url}; it was never written, or was swept. Run the partition again"
            )
        with self._account.service() as service:
            container = service.get_container_client(self._container)

            def open_file(path: str) -> pq.ParquetFile:
                # Without pre-buffering each column of each row group is a request of its own.
                # A time that CETAS wrote is of INT96, which ends at no year; in nanoseconds it would end in 2262.
                return pq.ParquetFile(
                    BlobReader(container.get_blob_client(path)), pre_buffer=True, coerce_int96_timestamp_unit="us"
                )

            def batches() -> Iterator[pa.RecordBatch]:
                for path in paths:
                    # Here and not around the caller's block, whose errors are its own.
                    with self._reading(), open_file(path) as file:
                        for group in range(file.num_row_groups):
                            yield from file.iter_batches(row_groups=[group])

            with self._reading(), open_file(paths[0]) as first:
                schema = first.schema_arrow.remove_metadata()
            yield pa.RecordBatchReader.from_batches(schema, batches())

    def delete(self) -> int:
        """Remove the folder and all in it; the number of files. A folder that is not there is nothing to do."""
        with self._container_client() as container:
            return _delete(container, _names(container, self.path))

    @contextmanager
    def _container_client(self) -> Iterator["ContainerClient"]:
        with self._account.service() as service, self._failures():
            yield service.get_container_client(self._container)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._failures():
            try:
                yield
            except pa.ArrowInvalid as error:
                raise StagingError(
                    f"a file in {self.url} is no whole Parquet ({error}); run the partition again"
                ) from error

    def _failures(self) -> AbstractContextManager[None]:
        return blob_failures(
            self._account, f"staging in {self.url}", refused=StagingError, unavailable=StagingUnavailableError
        )


class BlobStaging:
    """Staged slices of all scorings under one folder of a container, which has to exist."""

    def __init__(self, account: BlobAccount, container: str, prefix: str = "onnx_pipeline") -> None:
        self._account = account
        self._container = container
        self._prefix = prefix.strip("/")

    @classmethod
    def at(cls, uri: str) -> "BlobStaging":
        """The staging area at `az://container/folder`, in the account that the environment names; raises SpecError."""
        place = BlobLocation.parse(uri)
        return cls(BlobAccount.named(place.account_url), place.container, place.path)

    def folder(self, scoring: str, run: str, attempt: int, partition: str) -> BlobFolder:
        """The folder of one slice in one attempt of a run. Nothing is made before something is written."""
        return BlobFolder(
            self._account,
            self._container,
            self._path(_quoted(scoring), f"{_quoted(run)}-{attempt}", _quoted(partition)),
        )

    def sweep(
        self,
        hours: float,
        unfinished: Callable[[], Collection[str]],
        *,
        now: datetime.datetime | None = None,
    ) -> int:
        """Remove the folders of runs whose newest file is older than `hours`; the number of files removed.

        `unfinished` gives the ids of the runs that are still going, whose folders stay whatever their age. It is asked
        after the files were looked at: a run that begins in between has no old file. What is not named as above stays.
        """
        limit = (now or datetime.datetime.now(tz=datetime.timezone.utc)) - datetime.timedelta(hours=hours)
        root = BlobFolder(self._account, self._container, self._path())
        names: dict[str, list[str]] = defaultdict(list)
        newest: dict[str, datetime.datetime] = {}
        with root._container_client() as container:
            for blob in container.list_blobs(name_starts_with=self._path("")):
                parts = blob.name.removeprefix(self._path("")).split("/")
                if len(parts) < 2 or not re.fullmatch(r".+-\d+", parts[1]):
                    continue
                owner = f"{parts[0]}/{parts[1]}"
                names[owner].append(blob.name)
                newest[owner] = max(newest.get(owner, blob.last_modified), blob.last_modified)
            old = [owner for owner, moment in newest.items() if moment < limit]
            going = {_quoted(run) for run in unfinished()} if old else set()
            ended = [owner for owner in old if owner.partition("/")[2].rpartition("-")[0] not in going]
            return sum(_delete(container, names[owner]) for owner in ended)

    def _path(self, *parts: str) -> str:
        return "/".join([self._prefix, *parts] if self._prefix else parts)


def _parquet(sink: BlobWriter, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(sink, schema, compression="snappy", coerce_timestamps="us", allow_truncated_timestamps=True)


def _row_groups(batches: pa.RecordBatchReader) -> Iterator[pa.Table]:
    held: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        held.append(batch)
        rows += batch.num_rows
        size += batch.nbytes
        if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
            yield pa.Table.from_batches(held, batches.schema)
            held, rows, size = [], 0, 0
    if rows:
        yield pa.Table.from_batches(held, batches.schema)


def _names(container: "ContainerClient", folder: str) -> list[str]:
    return sorted(container.list_blob_names(name_starts_with=f"{folder}/"))


def _delete(container: "ContainerClient", names: list[str]) -> int:
    from azure.core.exceptions import ResourceNotFoundError

    removed = 0
    # Backwards: with a hierarchical namespace a folder is listed too, and has to be empty first.
    for name in sorted(names, reverse=True):
        try:
            container.delete_blob(name)
            removed += 1
        except ResourceNotFoundError:
            # Another sweep was faster.
            continue
    return removed


def _quoted(text: str) -> str:
    """The text as part of a blob's name: each other byte as `~` and two digits. Different texts, different names."""
    escaped = [
        character if _PLAIN.match(character) or (character == "_" and index) else _hex(character)
        for index, character in enumerate(text)
    ]
    return "".join(escaped) or "~"


def _hex(character: str) -> str:
    return "".join(f"~{byte:02x}" for byte in character.encode())
