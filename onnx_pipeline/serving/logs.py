"""The service's log: one JSON object a line, on standard output. No row data, no key and no query enters it."""

import datetime
import logging
import sys
from typing import Any

import orjson

from onnx_pipeline.azure.secrets import without_signatures

__all__ = ["JsonLines", "configure", "request_line"]

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
"""What every record has, and what uvicorn adds for terminals; the rest came as `extra`."""

_SIGNATURE = "sig="


class JsonLines(logging.Formatter):
    """`{"time": ..., "level": ..., "logger": ..., "event": ..., and what was given as extra}`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.datetime.fromtimestamp(record.created, datetime.timezone.utc).isoformat(
                "T", "milliseconds"
            ),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _OWN}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        text = orjson.dumps(line, default=str).decode()
        return without_signatures(text) if _SIGNATURE in text else text


def request_line(logger: logging.Logger, fields: dict[str, Any]) -> None:
    """Logs one request: `logger.info("request", extra=fields)`, which would also look for the line of code it is in."""
    record = logging.LogRecord(logger.name, logging.INFO, __file__, 0, "request", None, None)
    vars(record).update(fields)
    logger.handle(record)


def configure(level: int = logging.INFO) -> None:
    """Sends this process's log to standard output as JSON lines, once."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    # What no line shows need not be asked for: half of what a record takes.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("onnx_pipeline").setLevel(level)
    logging.getLogger("uvicorn").setLevel(level)
