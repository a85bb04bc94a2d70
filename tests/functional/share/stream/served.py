"""A server with share links inside the test's own loop: real sockets, a real database, telemetry put in by hand."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sqlite3
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import aiohttp
from aiohttp import web

from bridge.access.paseto import KeyRing, generate_key
from bridge.app import Limits
from bridge.core.telemetry import Telemetry
from bridge.storage.database import Database
from bridge.storage.limits import StorageLimits
from bridge.stream.limits import StreamLimits
from bridge.stream.session import Session
from share.api.passwords import Passwords
from share.api.public_stream import STREAM_PATH
from share.links.ports import Store
from share.model.draft import Draft
from share.model.grant import Grant
from share.model.limits import MAX_PAGE, ShareLimits
from share.model.share import Share
from share.service import Sharing, database_url, put_together, serving, share_page, share_ring, sharing
from share.store.migrations import SHARES
from share.store.store import Store as StoredShares
from tests.functional.stream.clients import Client
from tests.functional.stream.raw import RawClient
from tests.functional.stream.served import SECRETS, Bridge, Clock
from tests.telemetry import decoded

SHARE_KEY: Final = generate_key()
SHARE_RING: Final = KeyRing([SHARE_KEY])
SECRETS.add(SHARE_KEY)
INIT: Final = "/api/v1/public/share-location/init"
STREAM: Final = STREAM_PATH
QUICK: Final = ShareLimits(password_memory_kib=64, room_linger_seconds=0.0)
"""What a hash costs is not what is tried here; and nothing may be left when the last viewer has gone."""
SMALL_BUFFER_BYTES: Final = 4096
"""Of the kernel, for each socket: what it takes would hide what a test of slow viewers is after."""
FILE: Final = "sqlite:///shares.sqlite3"
"""A database in the test's own folder, for what outlives a server; the others have theirs in memory, which is quick."""


def seed(device_id: str, lat: float = 1.5, lon: float = -70.25, speed: float = 45.0, **more: Any) -> Telemetry:
    """A position in the DEVICE_ID envelope, without a time; ``time`` (RFC 3339) gives it one."""
    body: dict[str, Any] = {"data": {"DEVICE_ID": device_id, "LAT": lat, "LON": lon, "SPEED": speed}}
    if "time" in more:
        body["timestamp"] = more.pop("time")
    body["data"] |= more
    return decoded(body, device_id)


@contextlib.contextmanager
def broken_database() -> Iterator[None]:
    """Meanwhile every statement of the store fails, on FILE, which it has open."""
    with contextlib.closing(sqlite3.connect("shares.sqlite3")) as other:
        other.execute("ALTER TABLE shares RENAME TO away")
        try:
            yield
        finally:
            other.execute("ALTER TABLE away RENAME TO shares")


class SharingBridge(Bridge):
    """The server of the stream's tests, with share links."""

    sharing: Sharing

    def __init__(
        self,
        *,
        limits: ShareLimits = QUICK,
        stream: StreamLimits = StreamLimits(),
        store: Callable[[Database], Store] | None = None,
        passwords: Passwords | None = None,
        **settings: Any,
    ) -> None:
        """``store`` and ``passwords`` take the place of the usual ones.

        ``ticks`` is the monotonic clock: stopped, no time passes for rates; who is slow would earn more tries.
        """
        shared = {"share_keys": SHARE_KEY, "database_url": "sqlite://"}
        self.ticks = Clock(time.monotonic)
        super().__init__(limits=Limits(share=limits, stream=stream), monotonic=self.ticks, **(shared | settings))
        self.lingering = 0
        """Rooms that foreign tokens with a delay leave behind, each for a device of its own."""
        self._store = store
        self._passwords = passwords

    async def furnish(self, app: web.Application) -> None:
        enter = self._stack.enter_async_context
        if self._store is None and self._passwords is None:
            self.sharing = await enter(sharing(self.settings, self.streaming, self.limits.share))
        else:
            database = Database(database_url(self.settings), [SHARES], StorageLimits())
            await database.open()
            self._stack.push_async_callback(database.close)
            self.sharing = put_together(
                self.settings,
                self.streaming,
                share_ring(self.settings),
                share_page(self.settings),
                (self._store or StoredShares)(database),
                self._passwords or Passwords(self.limits.share),
                self.limits.share,
                closing_seconds=1.0,
            )
            await enter(serving(self.sharing))
        app.add_routes(self.sharing.routes)

    async def wait_empty(self) -> None:
        """Open shares have their channels in the broker; those apart, nothing may be left."""
        links = self.sharing.links
        for share in (await links.list(None, None, MAX_PAGE, None)).shares:
            if links.find_open(share.id) is not None:
                await links.revoke(share)
        await super().wait_empty()

    def remains(self) -> dict[str, object]:
        counts = self.sharing.statistics()
        held = {**super().remains(), **{name: count for name, count in counts.items() if count}}
        lingering = dict.fromkeys(("rooms", "cohorts", "selectors"), self.lingering)
        return {} if self.lingering and held == lingering else held

    # --- shares -------------------------------------------------------------------------------------------

    async def share(
        self,
        *device_ids: str,
        since: float = 0.0,
        ttl: float = 3600.0,
        label: str = "",
        password: str | None = None,
        max_viewers: int | None = None,
        **grant: Any,
    ) -> tuple[Share, str]:
        """A share of these devices (``A`` when none is named, aliases ``Van 1``, ``Van 2`` …) and its link's code.

        It begins ``since`` seconds after now and ends ``ttl`` seconds after that; ``grant`` are fields of Grant.
        """
        now = self.clock() + since
        aliases = tuple((device_id, f"Van {number}") for number, device_id in enumerate(device_ids or ("A",), 1))
        hashed = await self.sharing.passwords.hash(password) if password is not None else None
        draft = Draft(now, now + ttl, Grant(aliases, now, **grant), label, hashed, max_viewers)
        share, code = await self.sharing.links.create("tester", draft)
        SECRETS.update({code, password} - {None})  # type: ignore[arg-type]
        return share, code

    def came(self, share: Share) -> int:
        """How many viewers an open share has had, whether they are stored yet or not."""
        known = self.sharing.links.find_open(share.id)
        assert known is not None
        return known.viewers_total + self.sharing.links.pending_viewers(share.id)

    async def init(self, code: str, password: str | None = None, **headers: str) -> tuple[int, Any]:
        """What ``init`` answers: status and body."""
        body = {"code": code} if password is None else {"code": code, "password": password}
        async with aiohttp.ClientSession() as http, http.post(self.url(INIT), json=body, headers=headers) as response:
            answer = await response.json()
        if "token" in answer:
            SECRETS.add(answer["token"])
        return response.status, answer

    async def token_of(self, code: str) -> str:
        """The token that ``init`` gives for a code that works."""
        status, answer = await self.init(code)
        assert status == 200, answer
        token: str = answer["token"]
        return token

    async def view(self, token: str) -> Client:
        """A viewer's socket, on which nothing has been read yet."""
        return await self.connect(STREAM, token)

    async def viewer(self, *device_ids: str, **options: Any) -> tuple[Client, Share]:
        """A viewer who has said hello, of a new share made with ``options``."""
        share, code = await self.share(*device_ids, **options)
        client = await self.view(await self.token_of(code))
        await client.expect("hello")
        return client, share


async def flood(bridge: SharingBridge) -> None:
    """Positions for ever, in bursts."""
    for number in itertools.count():
        bridge.publish(*(seed("A", lat=1 + number % 50 / 100) for _ in range(10)))
        await asyncio.sleep(0.004)


async def stalled(bridge: SharingBridge, token: str) -> RawClient:
    """A viewer that does not read a byte after the upgrade; with SMALL_BUFFER_BYTES the kernel takes little for it."""
    client = await bridge.raw(receive_bytes=2048)
    await client.upgrade(STREAM, token)
    return client


def sessions(bridge: SharingBridge) -> list[Session]:
    """The open streams, oldest first."""
    return [stream for stream in bridge.streaming.streams if isinstance(stream, Session)]
