"""What every format does in which rows travel."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import pyarrow as pa

from onnx_pipeline.engines.remote.body import Body
from onnx_pipeline.engines.remote.layout import Layout

__all__ = ["BadAnswer", "Wire"]


class BadAnswer(Exception):  # noqa: N818 - it is about the answer
    """What is wrong with an answer, as the end of a sentence; the client says whose it was."""


class Wire(ABC):
    """Encodes requests and decodes answers of one layout. Used from several threads."""

    content_type: ClassVar[str]
    default_rows: ClassVar[int]
    """Most rows of a request, where the spec does not say."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    @abstractmethod
    def encode(self, columns: Sequence[pa.Array], rows: int) -> Body:
        """The body of a request, from the columns of `Layout.columns`, each of `rows` values."""

    @abstractmethod
    def decode(self, body: bytes, rows: int) -> list[pa.Array]:
        """The columns that `Layout.wanted` names, each of `rows` values in the type of its output.

        Raises BadAnswer where the body is none, or has other rows, columns or types.
        """
