"""One watched stream over any number of connections: connect, read, and know when to come back.

Close codes are honoured (``bridge.protocol.closing``): some mean "never again", some
"later", the rest "again, with full jitter".
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import quote

import aiohttp
import orjson
from yarl import URL

from bridge.cli.connection import BACKOFF, Backoff, server_address
from bridge.cli.terminal import escape
from bridge.cli.watch_view import Verdict, WatchState, verdict
from bridge.core.errors import BridgeError
from bridge.core.setting_types import split_list

STREAM_PATH: Final = "/api/v1/stream"
CONNECT_SECONDS: Final = 15.0
"""From the first SYN to the server's 101: a slow mobile network with TLS."""
SILENT_HEARTBEATS: Final = 2.5
"""The server is dead when nothing at all came for so many heartbeats: two may be late, three are not."""
STABLE_SECONDS: Final = 10.0
"""A connection that lasted this long makes the next failure the first one again."""
LATER_ATTEMPT: Final = 4
"""Back-off begins here (up to 8 s) where the server said 1013, "try again later"."""
LIVE: Final = "live"
"""The state after the server has sent something other than a refusal."""
NO_TOKEN_HINT: Final = "; no token was given: set TELEMETRY_BRIDGE_TOKEN or name a --token-file"  # noqa: S105
MAX_URL_CHARS: Final = 7_000
"""aiohttp's and most proxies' limit for a request line is 8 KiB."""
GOODBYE_SECONDS: Final = 1.0
"""What the server gets to answer our Close frame."""


class WatchError(BridgeError):
    """It makes no sense to go on. ``status`` is the exit status; the text is one escaped line."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(text)


class Output(Protocol):
    """Where events go."""

    def event(self, raw: str, event: Mapping[str, Any]) -> None:
        """Show one event: the frame as received, and what it says."""

    def news(self, line: str) -> None:
        """Show a change of state; ``line`` is escaped."""


def stream_url(base: str, devices: str, groups: str = "") -> URL:
    """The stream's URL under a server's. ``devices`` and ``groups`` are comma-separated; no device means ``*``.

    ValueError says what is wrong and quotes no part of the URL, in case a secret stands there.
    """
    server = server_address(base)
    server = server._replace(path=server.path.removesuffix(STREAM_PATH) + STREAM_PATH)
    ids = ",".join(split_list(devices))
    query = f"device_ids={quote(ids, safe=',*')}" if ids or not groups else ""
    query += ("&" if query and groups else "") + (f"groups={quote(groups, safe=',')}" if groups else "")
    text = f"{server.url('ws')}?{query if ids or groups else 'device_ids=*'}"
    if len(text) > MAX_URL_CHARS:
        raise ValueError("too many devices for one URL; name a group, or none for all that the token allows")
    return URL(text, encoded=True)


@dataclass(frozen=True, slots=True)
class Watch:
    """One watch. ``token()`` is asked before each connection, so that a renewed token file is seen."""

    url: URL
    token: Callable[[], str]
    state: WatchState
    output: Output
    count: int | None = None
    backoff: Backoff = BACKOFF

    async def run(self) -> None:
        """Stream until ``count`` messages came. WatchError when the server has ended it for good."""
        attempt = 0
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
            while True:
                token, began = self.token(), time.monotonic()
                self.state.begin_connection()
                code, reason = await self._connection(session, token)
                if self._enough():
                    return
                what = verdict(code, expired=self.state.expired)
                renewed = self.state.token_expired and self.token() != token
                if what is Verdict.STOP and not renewed:
                    hint = "; get a new token" if self.state.token_expired else ""
                    if not token and self.state.error.startswith("token_required"):
                        hint = NO_TOKEN_HINT
                    raise WatchError(3, (self.state.error or reason or f"closed with {code}") + hint)
                if time.monotonic() - began >= STABLE_SECONDS or renewed:
                    attempt = 0
                delay = self.backoff(max(attempt, LATER_ATTEMPT) if what is Verdict.LATER else attempt)
                attempt += 1
                self._tell("reconnecting", f"{reason or f'closed with {code}'}; reconnecting in {delay:.1f} s")
                await asyncio.sleep(delay)

    async def _connection(self, session: aiohttp.ClientSession, token: str) -> tuple[int | None, str]:
        """One connection, to its end: the close code (None without a Close frame) and why, escaped."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                socket = await session.ws_connect(self.url, headers=headers)
        except aiohttp.WSServerHandshakeError as error:
            if error.status in (408, 425, 429) or error.status >= 500 or self.state.messages:
                return None, f"the server answered HTTP {error.status}"
            raise WatchError(
                3 if error.status in (401, 403) else 1, f"no stream there: the server answered HTTP {error.status}"
            ) from None
        except aiohttp.ClientConnectorCertificateError as error:
            raise WatchError(1, escape(f"the server's certificate is not trusted: {error.certificate_error}")) from None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return None, escape(
                f"cannot connect: {getattr(error, 'strerror', '') or str(error) or type(error).__name__}"
            )
        try:
            return await self._events(socket)
        finally:
            # aiohttp's own limit is per frame: a server that goes on sending would keep close() waiting.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GOODBYE_SECONDS):
                    await socket.close()

    async def _events(self, socket: aiohttp.ClientWebSocketResponse) -> tuple[int | None, str]:
        while True:
            silence = SILENT_HEARTBEATS * self.state.heartbeat_seconds
            try:
                message = await socket.receive(timeout=silence)
            except TimeoutError:
                return None, f"nothing came for {silence:.0f} s"
            except (aiohttp.ClientError, ConnectionError):
                return None, "connection lost"
            if message.type is aiohttp.WSMsgType.TEXT:
                self._take(message.data)
                if self._enough():
                    return 1000, "enough"
            elif message.type is aiohttp.WSMsgType.CLOSE:
                return message.data, escape(message.extra or "")
            elif message.type is not aiohttp.WSMsgType.BINARY:
                return None, "connection lost"

    def _take(self, raw: str) -> None:
        try:
            event = orjson.loads(raw)
        except orjson.JSONDecodeError:
            event = None
        if not isinstance(event, dict):
            self.output.news("a frame that is not a JSON object was ignored; is this a telemetry bridge?")
            return
        if self.state.connection != LIVE and event.get("event") != "error":  # a refusal comes first, and alone
            self._tell(LIVE, f"connected to {self.url.host}")
        line = self.state.take(event, time.monotonic())
        self.output.event(raw, event)
        if line:
            self.output.news(line)

    def _tell(self, connection: str, line: str) -> None:
        self.state.connection = connection
        self.output.news(line)

    def _enough(self) -> bool:
        return self.count is not None and self.state.messages >= self.count
