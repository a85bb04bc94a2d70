"""The command ``watch``: the stream in a terminal, as a live table, as lines, or as JSON lines for pipes."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any, Final, TextIO

import orjson

from bridge.cli.connection import base_url, server_address, token_reader
from bridge.cli.stream_client import Watch, WatchError, stream_url
from bridge.cli.terminal import escape, one_line
from bridge.cli.watch_view import WatchState, render

REFRESH_SECONDS: Final = 0.25
"""Between two drawings of the table: as fast as one reads."""


class _Lines:
    """One line per message on ``out``, or every event as JSON; news on ``err``."""

    def __init__(self, out: TextIO, err: TextIO, *, json_lines: bool) -> None:
        self._out, self._err, self._json_lines = out, err, json_lines
        self.last_news = ""

    def event(self, raw: str, event: Mapping[str, Any]) -> None:
        if self._json_lines:
            line = one_line(raw)
        elif event.get("event") == "message":
            payload = orjson.dumps(event.get("data")).decode()
            line = f"{escape(str(event.get('device_id', '')))} {one_line(payload)}"
        else:
            return
        self._out.write(line + "\n")
        self._out.flush()

    def news(self, line: str) -> None:
        self.last_news = line
        print(line, file=self._err, flush=True)


class _Table:
    """A table on the terminal's alternate screen, drawn a few times a second whatever the rate."""

    def __init__(self, out: TextIO, state: WatchState, place: str, *, color: bool) -> None:
        self._out, self._state, self._place, self._color = out, state, place, color

    @asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """The alternate screen, drawn until the end; then the terminal is as it was."""
        self._out.write("\x1b[?1049h\x1b[?25l")
        task = asyncio.create_task(self._refresh())
        try:
            yield
        finally:
            task.cancel()
            self._out.write("\x1b[?25h\x1b[?1049l")
            self._out.flush()

    async def _refresh(self) -> None:
        while True:
            size = shutil.get_terminal_size()
            lines = render(self._state, time.monotonic(), self._place, (size.columns, size.lines), color=self._color)
            self._out.write("\x1b[H" + "\x1b[K\n".join(lines) + "\x1b[K\x1b[J")
            self._out.flush()
            await asyncio.sleep(REFRESH_SECONDS)

    def event(self, raw: str, event: Mapping[str, Any]) -> None:
        """The state already holds it; the next drawing shows it."""

    def news(self, line: str) -> None:
        self._state.note = line


def run_watch(
    *,
    devices: str = "",
    groups: str = "",
    url: str | None = None,
    token: str | None = None,
    token_file: Path | None = None,
    json_lines: bool = False,
    count: int | None = None,
) -> int:
    """The command ``watch``. Blocks until it ends; returns the exit status. Call from the main thread.

    ``url`` and the token default to the variables TELEMETRY_BRIDGE_URL and TELEMETRY_BRIDGE_TOKEN. 0: ``count``
    reached, Ctrl-C, or the reader of stdout went away. 1: no stream at that address. 3: the server refused, or the
    token expired; its message is on stderr. 130: Ctrl-C before ``count``. ValueError when an argument is wrong, or
    the token file is when it is read again.
    """
    if count is not None and count < 1:
        raise ValueError("the count must be at least 1")
    base, state = base_url(url), WatchState()
    address = stream_url(base, devices, groups)
    read_token = token_reader(token, token_file)
    if read_token() and server_address(base).shows_tokens():
        print("warning: the token travels unencrypted; prefer wss://", file=sys.stderr, flush=True)
    output: _Table | _Lines
    if sys.stdout.isatty() and not json_lines:
        color = not os.environ.get("NO_COLOR")
        output = _Table(sys.stdout, state, f"{address.host}:{address.port}", color=color)
    else:
        output = _Lines(sys.stdout, sys.stderr, json_lines=json_lines)
    try:
        asyncio.run(_until_signalled(Watch(address, read_token, state, output, count)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130 if count is not None else 0
    except WatchError as error:
        if not (isinstance(output, _Lines) and output.last_news == f"error: {error}"):  # which is on stderr already
            print(f"error: {error}", file=sys.stderr, flush=True)
        return error.status
    except BrokenPipeError:
        # The interpreter flushes stdout once more at exit; let it have somewhere to flush to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


async def _until_signalled(watch: Watch) -> None:
    """Run, and let SIGTERM end it as Ctrl-C does, with the terminal put back in order."""
    task = asyncio.current_task()
    assert task is not None  # asyncio.run() made it
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with watch.output.shown() if isinstance(watch.output, _Table) else nullcontext():
        await watch.run()
