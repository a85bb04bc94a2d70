"""A server with share links inside the test's own loop: real sockets, a real database, telemetry put in by hand."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sqlite3
from collections.abc import Iterator
from typing import Any, Final

import aiohttp
from aiohttp import web

from bridge.access.paseto import KeyRing, generate_key
from bridge.app import Limits
from bridge.core.telemetry import Telemetry
from share.model.draft import Draft
from share.model.grant import Grant
from share.model.limits import ShareLimits
from share.model.share import Share
from share.service import Sharing, sharing
from tests.functional.stream.clients import Client
from tests.functional.stream.raw import RawClient
from tests.functional.stream.served import SECRETS, Bridge
from tests.telemetry import decoded

SHARE_KEY: Final = generate_key()
SHARE_RING: Final = KeyRing([SHARE_KEY])
SECRETS.add(SHARE_KEY)
INIT: Final = "/api/v1/public/share-location/init"
STREAM: Final = "/api/v1/public/share-location/stream"
QUICK: Final = ShareLimits(password_memory_kib=64)
"""What a hash costs is not what is tried here."""
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

    def __init__(self, *, limits: ShareLimits = QUICK, **settings: Any) -> None:
        shared = {"share_keys": SHARE_KEY, "database_url": "sqlite://"}
        super().__init__(limits=Limits(share=limits), **(shared | settings))

    async def furnish(self, app: web.Application) -> None:
        self.sharing = await self._stack.enter_async_context(sharing(self.settings, self.streaming, self.limits.share))
        app.add_routes(self.sharing.routes)

    async def wait_empty(self) -> None:
        """Open shares have their channels in the broker; those apart, nothing may be left."""
        for share_id in list(self.sharing.links._open):
            share = self.sharing.links.find_open(share_id)
            assert share is not None
            await self.sharing.links.revoke(share)
        rooms = self.sharing.rooms
        for room in [room for room in rooms._elsewhere.values() if not room.viewers]:
            rooms._close(room)  # it would stay for a while
        await super().wait_empty()

    def remains(self) -> dict[str, object]:
        broker = self.streaming.broker
        held: dict[str, object] = {
            "lasting": len(broker._lasting),
            "routing": len(broker._routing),
            "rooms": len(self.sharing.rooms),
            "viewers": self.sharing.entry.viewers,
        }
        return {**super().remains(), **{name: value for name, value in held.items() if value}}

    def stop_monotonic(self) -> None:
        """From now on no time passes for rates: who is slow would earn more tries."""
        now = self.streaming.monotonic()
        self.streaming.monotonic = lambda: now

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
    """A viewer that does not read a byte after the upgrade; the kernel buffers little for it."""
    client = await bridge.raw(receive_bytes=2048)
    before = set(bridge.streaming.streams)
    await client.upgrade(STREAM, token)
    for session in set(bridge.streaming.streams) - before:
        session._transport.get_extra_info("socket").setsockopt(1, 7, 4096)  # type: ignore[attr-defined] # SO_SNDBUF
    return client
