"""The log of a container: one JSON object a line, on standard output."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from types import TracebackType

FORMAT = "EKIBEN_LOG"  # `json`, as an image sets it


class JsonLines(logging.Formatter):
    """Write a record as one line of JSON.

    >>> record = logging.LogRecord("bentoml.ekiben", logging.INFO, "", 0, "ready in %d s", (2,), None)
    >>> json.loads(JsonLines().format(record))["message"]
    'ready in 2 s'
    """

    def format(self, record: logging.LogRecord) -> str:
        """Give the line."""
        told = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": _letters(record.getMessage()),
        }
        if record.exc_info:
            told["exception"] = _letters(self.formatException(record.exc_info))
        return json.dumps(told, ensure_ascii=False)


def _letters(text: str) -> str:
    """Write out the bytes of a path that are no letters: a strict reader of JSON takes no half of a pair."""
    return text.encode(errors="backslashreplace").decode()


def as_asked() -> None:
    """Write every line of this process as JSON, where the environment asks for it."""
    if os.environ.get(FORMAT) != "json":
        return
    for name in ("", "bentoml", "circus", "uvicorn", "uvicorn.error"):
        for handler in logging.getLogger(name).handlers:
            handler.setFormatter(JsonLines())
            if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stderr:
                handler.setStream(sys.stdout)
    sys.excepthook = _told


def _told(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    record = logging.LogRecord("ekiben", logging.CRITICAL, "", 0, str(error), None, (kind, error, trace))
    print(JsonLines().format(record), flush=True)  # noqa: T201 -- the log of a process that ends
