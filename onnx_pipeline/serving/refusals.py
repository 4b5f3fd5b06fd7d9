"""What a request is told that gets no predictions."""

from typing import Any

from onnx_pipeline.base.errors import OnnxPipelineError

__all__ = ["ClientGoneError", "Refusal"]


class Refusal(OnnxPipelineError):  # noqa: N818 - it is an answer, and the word for it
    """An answer other than predictions; the message goes to the client, and never into a log."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        column: str | None = None,
        row: int | None = None,
        retry_after: int | None = None,
        close: bool = False,
        allow: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.column = column
        self.row = row
        """Counted from 0."""
        self.retry_after = retry_after
        """Seconds."""
        self.close = close
        """Whether the connection ends, because part of the request was left unread."""
        self.allow = allow
        """The methods that the path takes, where another one was used."""

    def body(self, request_id: str, *, flat: bool) -> dict[str, Any]:
        """The answer as JSON: code, message, and where the data is wrong, column and row.

        `flat` gives the form of the Open Inference Protocol, in which `error` is the message.
        """
        place = {"code": self.code, "column": self.column, "row": self.row}
        if flat:
            return {"error": self.message, **place, "request_id": request_id}
        return {"error": {"message": self.message, **place}, "request_id": request_id}


class ClientGoneError(OnnxPipelineError):
    """The client went away before it was answered."""
