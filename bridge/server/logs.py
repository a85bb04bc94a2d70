"""Logging that cannot hold up the loop and cannot leak a token."""

from __future__ import annotations

import json
import logging
import os
import select
import sys
import threading
from collections import deque
from typing import Any, Final

from bridge.access.redaction import redact
from bridge.core.limits import LOG_RECORDS
from bridge.core.times import timestamp

WRITE_EVERY_SECONDS: Final = 0.05
"""Longest time that a line waits for company."""
STDOUT: Final = 1
"""Its descriptor."""
STOP_SECONDS: Final = 1.0
"""What a blocked stdout gets at the end."""
MAX_LINE_CHARS: Final = 2000
"""One line, also one of a traceback."""


class BoundedHandler(logging.Handler):
    """Keeps records for a thread that writes them. When stdout is blocked, lines are dropped and counted."""

    def __init__(self) -> None:
        super().__init__()
        self.records: deque[logging.LogRecord] = deque()
        self.waiting = threading.Event()
        self.dropped = 0

    def createLock(self) -> None:  # noqa: N802 - logging's own name
        """No lock: ``deque.append`` is atomic, and the loop must not wait for another thread's line."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep ``record``, its arguments put in: they may change. Never raises: a bad line is no reason to fail."""
        if len(self.records) >= LOG_RECORDS:
            self.dropped += 1
            return
        try:
            record.msg, record.args = record.getMessage(), None
        except Exception as error:  # arguments that do not fit, or whose __str__ fails
            record.msg, record.args = f"{record.msg!r} could not be filled in: {type(error).__name__}", None
        self.records.append(record)
        if not self.waiting.is_set():
            self.waiting.set()


class TextFormatter(logging.Formatter):
    """``2026-11-20T10:30:00.123Z WARNING bridge.stream.session: …`` on one line, control characters escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """The whole text of one record."""
        text = _clean(record.getMessage()) + self._trace(record)
        return f"{timestamp(record.created)} {record.levelname} {record.name}: {text}"

    def _trace(self, record: logging.LogRecord) -> str:
        """Line by line: what an exception says may come from a stranger, and must not look like a line of ours."""
        if not record.exc_info:
            return ""
        return "".join(f"\n{_clean(line)}" for line in self.formatException(record.exc_info).splitlines())


class JsonFormatter(TextFormatter):
    """One JSON object per line: ``at``, ``level``, ``logger``, ``message`` and, for a bug, ``traceback``."""

    def format(self, record: logging.LogRecord) -> str:
        """The object."""
        line = {
            "at": timestamp(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": _clean(record.getMessage()),
        }
        trace = self._trace(record)
        if trace:
            line["traceback"] = trace.lstrip("\n")
        return json.dumps(line, ensure_ascii=False)


class Logs:
    """Owns the writing thread. ``start`` replaces the root logger's handlers; ``stop`` writes what waits.

    The thread wakes once for all lines of WRITE_EVERY_SECONDS: a wake-up for each would cost more than
    the line, and every stream that opens or ends writes one.

    It writes to a descriptor and leaves ``sys.stdout`` alone: a thread that blocks inside that stream holds its lock,
    and an interpreter that cannot have the lock aborts in its last flush (``_enter_buffered_busy``). Lines are UTF-8
    in any locale; JSON that is exchanged has to be (RFC 8259 §8.1).
    """

    def __init__(self, level: str, style: str, descriptor: int = STDOUT) -> None:
        """``style`` is ``text`` or ``json``. ``descriptor`` stays the caller's: the thread writes to a copy."""
        self._handler = BoundedHandler()
        self._formatter = JsonFormatter() if style == "json" else TextFormatter()
        closed = descriptor == STDOUT and sys.__stdout__ is None  # started without one: by now 1 may be any file
        self._descriptor = os.open(os.devnull, os.O_WRONLY) if closed else os.dup(descriptor)
        self._level = level
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)

    def start(self) -> None:
        """From now on every logger writes here."""
        root = logging.getLogger()
        root.handlers[:] = [self._handler]
        root.setLevel(self._level)
        # What Python itself would print to stderr, which can be blocked as well, and where no token is taken out.
        logging.captureWarnings(True)
        threading.excepthook = sys.unraisablehook = _log_uncaught
        # What no line shows need not be found out (Python's logging HOWTO, "Optimization").
        logging._srcfile = None
        logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
        self._thread.start()

    def stop(self, seconds: float = STOP_SECONDS) -> bool:
        """Whether all that waited was written in ``seconds``. The process may end either way."""
        self._stopping.set()
        self._handler.waiting.set()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def dropped(self) -> int:
        """Lines that were lost because stdout was blocked."""
        return self._handler.dropped

    def _run(self) -> None:
        records, waiting = self._handler.records, self._handler.waiting
        while not self._stopping.is_set() or records:
            waiting.wait()
            self._stopping.wait(WRITE_EVERY_SECONDS)
            waiting.clear()
            lines = [self._line(records.popleft()) for _ in range(len(records))]
            try:
                self._write("".join(lines).encode(errors="backslashreplace"))
            except OSError:  # stdout is gone; there is nowhere to say so
                self._handler.dropped += len(lines)
        os.close(self._descriptor)

    def _write(self, data: bytes) -> None:
        """All of ``data``, for as long as that takes. OSError when nobody will read any more."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # another process that has this stdout made it non-blocking
                writable = select.poll()
                writable.register(self._descriptor, select.POLLOUT)
                writable.poll()

    def _line(self, record: logging.LogRecord) -> str:
        """The text of one record. A bug in formatting costs that line, not the thread and all lines after it."""
        try:
            return self._formatter.format(record) + "\n"
        except Exception as error:
            return f"{record.levelname} {record.name}: a line could not be written: {type(error).__name__}\n"


def _clean(text: str) -> str:
    """No token, no control character (a line is a line), at most MAX_LINE_CHARS."""
    text = redact(text)
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if len(text) <= MAX_LINE_CHARS else text[:MAX_LINE_CHARS] + "…"


def _log_uncaught(failure: Any) -> None:
    """The bug that ended a thread, or that a destructor had (``threading.excepthook``, ``sys.unraisablehook``)."""
    logging.getLogger("bridge").error("Uncaught", exc_info=failure[:3])
