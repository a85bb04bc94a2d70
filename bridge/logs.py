"""Logging that cannot hold up the loop and cannot leak a token."""

from __future__ import annotations

import json
import logging
import logging.handlers
import queue
import sys
from datetime import UTC, datetime
from typing import Final

from bridge.auth import redact
from bridge.limits import LOG_RECORDS

MAX_LINE_CHARS: Final = 2000
"""One line; a traceback is longer and is kept whole."""


class BoundedQueueHandler(logging.handlers.QueueHandler):
    """Hands records to a thread that writes. When stdout is blocked, lines are dropped and counted."""

    def __init__(self) -> None:
        self.records: queue.Queue[logging.LogRecord] = queue.Queue(LOG_RECORDS)
        super().__init__(self.records)
        self.dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Put the arguments in now: they may change. The traceback is left for the writer."""
        record.msg, record.args = record.getMessage(), None
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.records.put_nowait(record)
        except queue.Full:
            self.dropped += 1


class TextFormatter(logging.Formatter):
    """``2026-11-20T10:30:00.123Z WARNING bridge.session: …`` on one line, control characters escaped."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return f"{at} {record.levelname} {record.name}: {_clean(record.getMessage())}{self._trace(record)}"

    def _trace(self, record: logging.LogRecord) -> str:
        return "\n" + redact(self.formatException(record.exc_info)) if record.exc_info else ""


class JsonFormatter(TextFormatter):
    """One JSON object per line: ``at``, ``level``, ``logger``, ``message`` and, for a bug, ``traceback``."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": _clean(record.getMessage()),
        }
        trace = self._trace(record)
        if trace:
            line["traceback"] = trace.lstrip("\n")
        return json.dumps(line, ensure_ascii=False)


class Logs:
    """Owns the writing thread. ``start`` replaces the root logger's handlers; ``stop`` writes what waits."""

    def __init__(self, level: str, style: str) -> None:
        """``style`` is ``text`` or ``json``."""
        self._handler = BoundedQueueHandler()
        stdout = logging.StreamHandler(sys.stdout)
        stdout.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
        self._writer = logging.handlers.QueueListener(self._handler.records, stdout)
        self._level = level

    def start(self) -> None:
        root = logging.getLogger()
        root.handlers[:] = [self._handler]
        root.setLevel(self._level)
        # aiohttp warns of every subprotocol that is not ours, and quotes it: a token may be among them.
        logging.getLogger("aiohttp.websocket").setLevel(logging.ERROR)
        self._writer.start()

    def stop(self) -> None:
        """Bounded: a blocked stdout gets no more than one second."""
        thread = getattr(self._writer, "_thread", None)
        self._writer.enqueue_sentinel()
        if thread is not None:
            thread.join(1.0)

    def dropped(self) -> int:
        """Lines that were lost because stdout was blocked."""
        return self._handler.dropped


def _clean(text: str) -> str:
    """No token, no control character (a line is a line), at most MAX_LINE_CHARS."""
    text = redact(text)
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if len(text) <= MAX_LINE_CHARS else text[:MAX_LINE_CHARS] + "…"
