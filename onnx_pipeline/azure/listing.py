"""The files of a container, without what only stands for a folder.

Folders are no things of Blob Storage, but two kinds of blobs stand for them: an account with a hierarchical namespace
lists each folder as an empty blob with `hdi_isfolder` in its metadata, as Hadoop and AzCopy write it, too; and some
tools put an empty blob there whose name ends in a slash. Neither holds anything that could be read.
https://learn.microsoft.com/azure/storage/blobs/storage-blobs-list#list-blobs-hierarchically
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from azure.storage.blob import BlobProperties, ContainerClient

__all__ = ["files", "is_folder"]

_MARK = "hdi_isfolder"


def is_folder(name: str, metadata: Mapping[str, str] | None) -> bool:
    """Whether a blob only stands for a folder."""
    marks = {key.lower(): value for key, value in (metadata or {}).items()}
    return name.endswith("/") or marks.get(_MARK, "").lower() == "true"


def files(container: "ContainerClient", prefix: str) -> "Iterator[BlobProperties]":
    """The blobs whose names begin with `prefix`, folders left out; one request for 5,000 of them."""
    for blob in container.list_blobs(name_starts_with=prefix, include=["metadata"]):
        if not is_folder(blob.name, blob.metadata):
            yield blob
