"""Logs: one line is one line, whatever is in it, and no line costs another one."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator

import pytest

from bridge.server import logs
from bridge.server.logs import BoundedHandler, JsonFormatter, Logs, TextFormatter
from tests.waiting import DEADLINE_SECONDS

TOKEN = "v4.local.s3cret"


@pytest.fixture(autouse=True)
def _logging_put_back() -> Iterator[None]:
    root, aiohttp = logging.getLogger(), logging.getLogger("aiohttp.websocket")
    before = (root.handlers[:], root.level, aiohttp.level, logging._srcfile, logging.logThreads)
    yield
    root.handlers[:], level, aiohttp_level, logging._srcfile, logging.logThreads = before
    logging.logProcesses = logging.logMultiprocessing = True
    root.setLevel(level)
    aiohttp.setLevel(aiohttp_level)


def record(message: object, *arguments: object, error: BaseException | None = None) -> logging.LogRecord:
    """A record as a logger makes it."""
    about = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord("bridge.test", logging.WARNING, "x.py", 1, message, arguments, about)


def stop(out: Logs) -> None:
    """To the last line: its own ``stop()`` waits a second at most, and a busy machine may take longer."""
    out.stop()
    out._thread.join(DEADLINE_SECONDS)
    assert not out._thread.is_alive()


def test_line_that_the_console_cannot_print_loses_nothing() -> None:
    """LANG=C: the characters are escaped, and the lines beside it are there."""
    raw = io.BytesIO()
    out = Logs("INFO", "text", io.TextIOWrapper(raw, encoding="ascii"))
    out.start()
    log = logging.getLogger("bridge.test")
    log.info("before")
    log.info("Zürich → 東京")
    log.info("after")
    stop(out)
    lines = raw.getvalue().decode("ascii").splitlines()
    assert [line.split(": ", 1)[1] for line in lines] == ["before", r"Z\xfcrich \u2192 \u6771\u4eac", "after"]
    assert out.dropped() == 0


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


def test_formatter_that_fails_costs_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread lives, and the lines before and after are written."""
    clean = logs._clean
    stream = io.StringIO()
    out = Logs("INFO", "text", stream)

    def failing(text: str) -> str:
        if text == "bad":
            raise KeyError(text)
        return clean(text)

    monkeypatch.setattr(logs, "_clean", failing)
    out.start()
    for text in ("one", "bad", "two"):
        logging.getLogger("bridge.test").info(text)
    stop(out)
    ends = [line.split(": ", 1)[1] for line in stream.getvalue().splitlines()]
    assert ends == ["one", "a line could not be written: KeyError", "two"]


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


class Gone(io.StringIO):
    """Somewhere that nobody reads any more."""

    def write(self, _text: str) -> int:
        raise BrokenPipeError


def test_lines_that_nobody_takes_are_counted() -> None:
    """A stdout that is gone costs the lines, not the process."""
    out = Logs("INFO", "text", Gone())
    out.start()
    logging.getLogger("bridge.test").info("x")
    stop(out)
    assert out.dropped() == 1
    assert not any(thread.name == "log-writer" for thread in threading.enumerate())


def test_line_is_one_line_without_secrets() -> None:
    """Line breaks and tokens in what others have written."""
    text = TextFormatter().format(record("from %s", f"a\nb {TOKEN}"))
    assert text.endswith(r"WARNING bridge.test: from a\nb ***")
