"""Share links put together: started and stopped with the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Final

from aiohttp import web

from bridge.access.paseto import KeyRing
from bridge.core.errors import SettingsError, StartError, StorageError
from bridge.ingest.decoding.position import PositionReader
from bridge.server.http import Problem
from bridge.settings import Settings
from bridge.storage.database_url import check_database_url
from bridge.storage.limits import StorageLimits
from bridge.stream.hub import Hub
from share.api.operator_routes import OperatorRoutes
from share.api.passwords import Passwords
from share.api.public_routes import PublicRoutes
from share.links.links import CLOSE_SECONDS, Links
from share.links.ports import Store
from share.model.limits import DAY_SECONDS
from share.page.page import Page
from share.stream.entry import Desk
from share.stream.rooms import Rooms

REMEMBERED_POSITIONS: Final = 32
"""Payloads whose position is kept for the next channel of the same device: 4 MiB of the largest, by default."""
CLOSING_SECONDS: Final = CLOSE_SECONDS + 2 * StorageLimits().close_seconds
"""What closing takes at most, with a database that does not answer: so much of its time the drain must leave."""


class Sharing:
    """The share links of one process. ``links`` is for whoever makes shares without a request: the demo."""

    def __init__(self, hub: Hub, ring: KeyRing, store: Store, passwords: Passwords) -> None:
        settings = hub.settings
        read = lru_cache(REMEMBERED_POSITIONS)(PositionReader(settings.position_pointers).read)
        self.passwords = passwords
        self._rooms = Rooms(hub, read)
        self.links = Links(
            store,
            self._rooms,
            clock=hub.clock,
            deadlines=hub.deadlines,
            max_shares=settings.max_shares,
            retention_seconds=settings.share_retention_days * DAY_SECONDS,
            call_later=hub.call_later,
        )
        self._rooms.arrivals = self.links
        self.desk = Desk(hub, ring, self._rooms, self.links)
        self._parts = (
            OperatorRoutes(hub, self.links, passwords),
            PublicRoutes(hub, self.desk, self.links, self._rooms, passwords),
            share_page(settings),
        )

    def routes(self) -> list[web.RouteDef]:
        return [route for part in self._parts for route in part.routes()]

    def statistics(self) -> dict[str, int]:
        """Counts only, for the operator."""
        return {"open": len(self.links), "rooms": len(self._rooms), "viewers": self.desk.viewers}


@asynccontextmanager
async def sharing(hub: Hub) -> AsyncIterator[Sharing]:
    """Share links from start to stop. SettingsError or StartError when they cannot be."""
    from bridge.storage.database import Database  # SQLAlchemy takes a third of a second, which others need not wait
    from share.store.migrations import SHARES
    from share.store.store import Store

    ring, url = share_ring(hub.settings), database_url(hub.settings)
    database, passwords = Database(url, [SHARES]), Passwords()
    await database.open()
    try:
        made = Sharing(hub, ring, Store(database), passwords)
        try:
            await made.links.load()
        except StorageError as error:
            raise StartError(f"the database cannot be read: {error}") from None
        try:
            yield made
        finally:
            await made.links.close()
    finally:
        passwords.close()
        await database.close()


def share_ring(settings: Settings) -> KeyRing:
    """The share keys. SettingsError when one is wrong, or is an access key as well."""
    name = "BRIDGE_SHARE_KEYS"
    try:
        ring = KeyRing(key.get_secret_value() for key in settings.share_keys)
        access = KeyRing(key.get_secret_value() for key in settings.access_keys) if settings.access_keys else None
    except ValueError as error:
        raise SettingsError([(name, str(error))]) from None
    if access is not None and access.key_ids & ring.key_ids:
        raise SettingsError([(name, "a key is also in BRIDGE_ACCESS_KEYS: an access token would open shares")])
    return ring


def share_page(settings: Settings) -> Page:
    """The page. SettingsError when the tiles' template is none."""
    try:
        return Page(
            settings.map_tiles_url,
            settings.map_attribution,
            public_url=settings.public_url,
            silent_seconds=settings.share_silent_seconds,
        )
    except ValueError as error:
        raise SettingsError([("BRIDGE_MAP_TILES_URL", str(error))]) from None


def database_url(settings: Settings) -> str:
    """The database's URL. SettingsError when it is none; never quotes it."""
    try:
        return check_database_url(settings.database_url.get_secret_value())
    except ValueError as error:
        raise SettingsError([("BRIDGE_DATABASE_URL", str(error))]) from None


async def _off(_request: web.Request) -> web.Response:
    return Problem(404, "sharing_off", "share links are off; set BRIDGE_SHARE_KEYS").response()


ROUTES_OFF = [
    web.route("*", "/api/v1/shares", _off),
    web.route("*", "/api/v1/shares/{id}", _off),
    web.route("*", "/api/v1/public/share-location/{call}", _off),
    web.get("/s/{code}", _off),
    web.get("/s/{code}/", _off),
]
"""What stands in the place of share links where there are none: better than a bare 404."""
