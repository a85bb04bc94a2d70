"""The public half of a share, scripted: init answers and stream frames are what the test says."""

from __future__ import annotations

import asyncio
import itertools
import socket
import struct
import threading
import zlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import cache
from typing import Any, Self, TypeVar

import orjson
from aiohttp import WSCloseCode, web

from share.page.page import Page
from tests.ports import free_port
from tests.waiting import DEADLINE_SECONDS

Result = TypeVar("Result")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
TOKEN = "v4.local.throw-away_0"
CODE = "pubLic_c0de-of-22-chars"
INIT = "/api/v1/public/share-location/init"
STREAM = "/api/v1/public/share-location/stream"


def moment(seconds: float = 0.0) -> str:
    """The time in so many seconds, as the wire has it."""
    at = datetime.now(UTC) + timedelta(seconds=seconds)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def png(red: int, green: int, blue: int, side: int = 256) -> bytes:
    """A picture of one colour with a lighter edge."""
    edge, row = bytes((230, 232, 236)), bytes((red, green, blue))
    lines = b"".join(b"\0" + (edge * side if y == 0 else edge + row * (side - 1)) for y in range(side))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


TILE = png(242, 240, 233)


@cache
def _page(tiles: str, credit: str, silent_seconds: float) -> Page:
    return Page(tiles, credit, silent_seconds=silent_seconds)


class FakeShare:
    """Serves the page, ``init`` and the stream on 127.0.0.1 from a separate thread, also more than once."""

    usual_port = 0
    """Of each fake of this process, one after the other, so that the browser has the assets already."""

    def __init__(
        self, *, silent_seconds: float = 120.0, tiles: str = "other host", missing: Sequence[str] = ()
    ) -> None:
        """``tiles``: "other host" (cross-origin, as in life), "broken" (503) or "" (none).

        ``missing`` are assets that cannot be had; such a fake has a separate port.
        """
        self.silent_seconds = silent_seconds
        self.tiles = tiles
        self.share: dict[str, Any] = {
            "label": "Delivery 4711",
            "starts_at": moment(-60),
            "ends_at": moment(2520),
            "devices": [{"alias": "Van 1", "position": None}],
            "destination": None,
            "end_on_arrival": False,
            "precision_m": 0,
            "delay_s": 0,
            "trail": 100,
        }
        self.password = ""
        self.token_seconds = 600.0
        self.heartbeat_seconds = 25.0
        self.refusal: tuple[int, dict[str, Any]] | None = None
        """What ``init`` answers instead of a token: status and body."""
        self.retry_after = 2
        self.also: dict[str, Any] = {}
        """What an answer of ``init`` with a token says beside, or instead of, what it should."""
        self.clock_ahead = 0.0
        """Seconds by which the clock in the ``Date`` of ``init`` is ahead of the visitor's."""
        self.upgrading = True
        """Whether the stream may be opened at all, as it may not behind some proxies."""
        self.full = False
        self.inits: list[dict[str, Any]] = []
        self.commands: list[dict[str, Any]] = []
        self.handshakes: list[tuple[str, str]] = []
        """Query string and offered subprotocols of each."""
        self.missing = missing
        if not FakeShare.usual_port:
            FakeShare.usual_port = free_port()
        self.port = free_port() if missing else FakeShare.usual_port
        self._sockets: list[web.WebSocketResponse] = []
        self._transports: list[asyncio.BaseTransport] = []
        self._ids = itertools.count(1)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fake-share")
        self._runner: web.AppRunner | None = None
        self._listener: socket.socket | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def link(self) -> str:
        return f"http://127.0.0.1:{self.port}/s/{CODE}"

    def start(self) -> None:
        """Listen; on the port of the last time, when there was one."""
        self._do(self._start())

    def stop(self, close: int = WSCloseCode.GOING_AWAY) -> None:
        """Close every stream with ``close`` and stop to listen."""
        self._do(self._stop(close))

    def send(self, event: str, data: object, **more: object) -> None:
        """One frame to every open stream."""
        self._do(self._send({"event": event, **more, "data": data}))

    def position(self, lat: float, lon: float, alias: str = "Van 1", **more: Any) -> None:
        """A live position, measured now; ``time=None`` leaves that out."""
        data = {"lat": lat, "lon": lon, "time": moment(), **more}
        data = {name: value for name, value in data.items() if value is not None}
        self.send("message", data, id=f"m{next(self._ids)}", alias=alias)

    def close(self, code: int) -> None:
        """Close every stream."""
        self._do(self._close(code))

    def abort(self) -> None:
        """Cut every stream's connection, without a word."""
        self._do(self._abort())

    def has_shaken_hands(self, times: int) -> bool:
        """Whether so many streams were opened since the beginning."""
        return len(self.handshakes) == times

    @property
    def streams(self) -> int:
        return sum(not stream.closed for stream in self._sockets)

    def _do(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(DEADLINE_SECONDS)

    async def _start(self) -> None:
        self._listener = listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        tiles = f"http://localhost:{self.port}/tiles/{{z}}/{{x}}/{{y}}.png" if self.tiles else ""
        credit = '© <a href="https://www.openstreetmap.org/copyright">OpenStreetMap</a> contributors'
        app = web.Application(middlewares=[self._pass])
        app.add_routes(_page(tiles, credit, self.silent_seconds).routes())
        app.router.add_post(INIT, self._init)
        app.router.add_get(STREAM, self._stream)
        app.router.add_get("/tiles/{z}/{x}/{y}.png", self._tile)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        self._runner = runner

    @web.middleware
    async def _pass(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.rpartition("/")[2] in self.missing:
            return web.Response(status=404, headers={"Cache-Control": "no-store"})
        answer = await handler(request)
        if not answer.prepared:
            answer.force_close()  # a connection that is kept would be in the way of the next fake on this port
        return answer

    async def _stop(self, close: int) -> None:
        await self._close(close)
        if self._runner is not None:
            assert self._listener is not None
            self._loop.remove_reader(self._listener)
            for _ in range(20):  # what was accepted already gets its protocol now: a closed site would leave it open
                await asyncio.sleep(0.001)
            for site in list(self._runner.sites):
                await site.stop()
            await self._runner.cleanup()
        self._runner = None

    async def _close(self, code: int) -> None:
        for stream in list(self._sockets):
            await stream.close(code=code, drain=False)

    async def _abort(self) -> None:
        for transport in self._transports:
            if isinstance(transport, asyncio.Transport):
                transport.abort()

    async def _send(self, frame: dict[str, Any]) -> None:
        for stream in list(self._sockets):
            if not stream.closed:
                await stream.send_str(orjson.dumps(frame).decode())

    async def _init(self, request: web.Request) -> web.Response:
        body = orjson.loads(await request.read())
        self.inits.append(body)
        if self.refusal is not None:
            status, answer = self.refusal
            return self._json(answer, status, {"Retry-After": str(self.retry_after)} if status == 429 else {})
        if self.password and "password" not in body:
            return self._json({"code": "password_required", "message": "send the password"}, 401)
        if self.password and body["password"] != self.password:
            return self._json({"code": "password_wrong", "message": "another password"}, 403)
        return self._json(
            {
                "token": f"{TOKEN}{len(self.inits)}",
                "expires_at": moment(self.token_seconds),
                "share": self.share,
                "stream_url": f"ws://127.0.0.1:{self.port}{STREAM}",
                **self.also,
            }
        )

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        self.handshakes.append((request.query_string, request.headers.get("Sec-WebSocket-Protocol", "")))
        if not self.upgrading:
            return web.Response(status=403)
        stream = web.WebSocketResponse(protocols=("telemetry-bridge",))
        await stream.prepare(request)
        assert request.transport is not None
        self._transports.append(request.transport)
        if self.full:
            await stream.send_json({"event": "error", "data": {"code": "too_many_viewers", "message": "later"}})
            await stream.close(code=WSCloseCode.TRY_AGAIN_LATER)
            return stream
        devices = [
            {"alias": device["alias"]} if isinstance(device, dict) else device for device in self.share["devices"]
        ]
        hello = {
            "protocol": 1,
            "connection_id": str(len(self.handshakes)),
            "heartbeat_seconds": self.heartbeat_seconds,
            "expires_at": moment(self.token_seconds),
            "share": {**self.share, "devices": devices},
        }
        await stream.send_json({"event": "hello", "data": hello})
        self._sockets.append(stream)
        try:
            async for message in stream:
                command = orjson.loads(message.data)
                self.commands.append(command)
                await stream.send_json({"event": "info", "ref": command["ref"], "data": {}})
        finally:
            self._sockets.remove(stream)
        return stream

    async def _tile(self, _request: web.Request) -> web.Response:
        if self.tiles == "broken":
            return web.Response(status=503)
        return web.Response(body=TILE, content_type="image/png")

    def _json(self, body: object, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=self.clock_ahead), usegmt=True)
        headers = {"Cache-Control": "no-store", "Date": date, **(headers or {})}
        return web.Response(body=orjson.dumps(body), status=status, content_type="application/json", headers=headers)
