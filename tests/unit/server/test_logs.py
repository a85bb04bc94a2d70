"""Logs: one line is one line, whatever is in it, and no line costs another one."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator

import pytest

from bridge.server import logs
from bridge.server.logs import BoundedHandler, JsonFormatter, Logs, TextFormatter
from tests.waiting import DEADLINE_SECONDS

TOKEN = "v4.local.s3cret"


@pytest.fixture(autouse=True)
def _logging_put_back() -> Iterator[None]:
    root = logging.getLogger()
    before = (root.handlers[:], root.level, logging._srcfile, logging.logThreads)
    hooks = (threading.excepthook, sys.unraisablehook)
    yield
    logging.captureWarnings(False)
    threading.excepthook, sys.unraisablehook = hooks
    root.handlers[:], level, logging._srcfile, logging.logThreads = before
    logging.logProcesses = logging.logMultiprocessing = True
    root.setLevel(level)


def record(message: object, *arguments: object, error: BaseException | None = None) -> logging.LogRecord:
    """A record as a logger makes it."""
    about = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord("bridge.test", logging.WARNING, "x.py", 1, message, arguments, about)


def stop(out: Logs) -> None:
    """To the last line: a second is what a process gives it, and a busy machine may take longer."""
    assert out.stop(DEADLINE_SECONDS)


class Pipe:
    """A pipe that a separate thread reads to the end."""

    def __init__(self) -> None:
        self._reading, self.writing = os.pipe()
        self._data = b""
        self._reader = threading.Thread(target=self._read)

    def _read(self) -> None:
        with os.fdopen(self._reading, "rb") as file:
            self._data = file.read()

    def start_reading(self) -> None:
        """From now on somebody reads."""
        self._reader.start()

    def lines(self) -> list[str]:
        """What was written, in UTF-8, when all writers have closed it."""
        os.close(self.writing)
        self._reader.join(DEADLINE_SECONDS)
        return self._data.decode().splitlines()

    def messages(self) -> list[str]:
        """The lines without time, level and logger."""
        return [line.split(": ", 1)[1] for line in self.lines()]


@pytest.fixture
def pipe() -> Pipe:
    """One that is read from the start."""
    made = Pipe()
    made.start_reading()
    return made


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("style", ["text", "json"])
def test_no_locale_costs_a_line_or_changes_its_encoding(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch, encoding: str, style: str
) -> None:
    """UTF-8 whatever the console prints, and the lines beside it are there."""
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    out = Logs("INFO", style, pipe.writing)
    out.start()
    log = logging.getLogger("bridge.test")
    log.info("before")
    log.info("Zürich → 東京 \ud800")
    log.info("after")
    stop(out)
    lines = pipe.lines()
    said = [json.loads(line)["message"] if style == "json" else line.split(": ", 1)[1] for line in lines]
    assert said == ["before", "Zürich → 東京 \\ud800", "after"]
    assert out.dropped() == 0


def test_stdout_that_takes_a_little_at_a_time_gets_every_line() -> None:
    """Somebody has made it non-blocking, and reads late: it is waited for, and nothing is lost or written twice."""
    pipe = Pipe()
    os.set_blocking(pipe.writing, False)
    out = Logs("INFO", "text", pipe.writing)
    out.start()
    expected = [f"{number} {'x' * 1000}" for number in range(500)]
    for line in expected:
        logging.getLogger("bridge.test").info(line)
    assert not out.stop(0.2)
    pipe.start_reading()
    stop(out)
    assert pipe.messages() == expected
    assert out.dropped() == 0


def test_stdout_that_nobody_reads_does_not_hold_up_the_end() -> None:
    """The thread may stay behind; the interpreter's stream is not its business, so that its last flush succeeds."""
    pipe = Pipe()
    out = Logs("INFO", "text", pipe.writing)
    out.start()
    for _ in range(500):
        logging.getLogger("bridge.test").info("x" * 1000)
    assert not out.stop(0.2)
    pipe.start_reading()
    stop(out)
    assert len(pipe.lines()) == 500


def test_what_python_itself_has_to_say_goes_to_the_log(pipe: Pipe, capfd: pytest.CaptureFixture[str]) -> None:
    """Warnings, and what ends a thread or happens in a destructor: cleaned like any line, and not to stderr."""

    class Failing:
        def __del__(self) -> None:
            raise ValueError(f"in a destructor {TOKEN}")

    def failing() -> None:
        raise ValueError(f"in a thread {TOKEN}")

    out = Logs("INFO", "text", pipe.writing)
    out.start()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)  # catch_warnings has its own showwarning
        warnings.warn(f"a warning {TOKEN}", stacklevel=1)
        logging.captureWarnings(False)
    thread = threading.Thread(target=failing)
    thread.start()
    thread.join()
    Failing()
    stop(out)
    text = "\n".join(pipe.lines())
    for expected in ("a warning ***", "ValueError: in a thread ***", "ValueError: in a destructor ***"):
        assert expected in text
    assert TOKEN not in text
    assert capfd.readouterr() == ("", "")


class Awkward:
    """Cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError(TOKEN)


@pytest.mark.parametrize("arguments", [("%d", "x"), ("%s %s", 1), ("x", 1), ("%s", Awkward()), ("%(a)s", 1)])
def test_record_that_cannot_be_filled_in_is_said_and_never_raised(arguments: tuple[object, ...]) -> None:
    """A mistake in a log call must not end the stream that made it."""
    handler = BoundedHandler()
    handler.emit(record(*arguments))
    text = TextFormatter().format(handler.records[0])
    assert repr(arguments[0]) in text
    assert "could not be filled in" in text
    assert TOKEN not in text


def test_formatter_that_fails_costs_one_line(pipe: Pipe) -> None:
    """The thread lives, and the lines before and after are written."""
    out = Logs("INFO", "text", pipe.writing)
    out.start()
    log = logging.getLogger("bridge.test")
    timeless = record("bad")
    timeless.created = float("inf")
    log.info("one")
    log.handle(timeless)
    log.info("two")
    stop(out)
    assert pipe.messages() == ["one", "a line could not be written: OverflowError", "two"]


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()], ids=["text", "json"])
def test_traceback_is_cleaned_line_by_line(formatter: logging.Formatter) -> None:
    """What an exception says may come from a stranger: no control character, no token, no endless line."""
    try:
        raise ValueError(f"\x1b[31m {TOKEN} " + "x" * 5000)
    except ValueError as error:
        text = formatter.format(record("failed", error=error))
    text = json.loads(text)["traceback"] if isinstance(formatter, JsonFormatter) else text
    lines = text.split("\n")
    assert any("test_logs.py" in line for line in lines)
    assert lines[-1].startswith(r"ValueError: \x1b[31m *** xxx")
    assert max(map(len, lines)) <= logs.MAX_LINE_CHARS + 1
    assert all(line.isprintable() for line in lines)


def test_lines_that_nobody_takes_are_counted() -> None:
    """A stdout that is gone costs the lines, not the process."""
    reading, writing = os.pipe()
    out = Logs("INFO", "text", writing)
    os.close(reading)
    out.start()
    logging.getLogger("bridge.test").info("x")
    stop(out)
    os.close(writing)
    assert out.dropped() == 1
    assert not any(thread.name == "log-writer" for thread in threading.enumerate())


def test_line_is_one_line_without_secrets() -> None:
    """Line breaks and tokens in what others have written."""
    text = TextFormatter().format(record("from %s", f"a\nb {TOKEN}"))
    assert text.endswith(r"WARNING bridge.test: from a\nb ***")
