"""Share links put together: started and stopped with the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from bridge.access.paseto import KeyRing
from bridge.core.errors import SettingsError, StartError, StorageError
from bridge.server.callers import Callers
from bridge.server.http import Problem
from bridge.settings import Settings
from bridge.storage.database_url import check_database_url
from bridge.storage.limits import StorageLimits
from bridge.stream.service import StreamService
from share.api.operator_routes import OperatorRoutes
from share.api.passwords import Passwords
from share.api.public_routes import PublicRoutes
from share.api.public_stream import PublicStream
from share.links.links import Links
from share.links.ports import Store
from share.model.limits import DAY_SECONDS, ShareLimits
from share.page.page import Page
from share.stream.entry import Entrance
from share.stream.rooms import Rooms


@dataclass(frozen=True, slots=True)
class Sharing:
    """The share links of one process. ``links`` is for whoever creates shares without a request: the demo."""

    links: Links
    rooms: Rooms
    entrance: Entrance
    passwords: Passwords
    routes: list[web.RouteDef]
    closing_seconds: float
    """What closing takes at most, with a database that does not answer: so much of its time the drain must leave."""

    def statistics(self) -> dict[str, int]:
        """Counts only, for the operator."""
        return {"open": len(self.links), "rooms": len(self.rooms), "viewers": self.entrance.viewers}


@asynccontextmanager
async def sharing(
    settings: Settings,
    streaming: StreamService,
    limits: ShareLimits = ShareLimits(),
    storage: StorageLimits = StorageLimits(),
) -> AsyncIterator[Sharing]:
    """Share links from start to stop, on the database of the settings. SettingsError or StartError: they cannot be."""
    from bridge.storage.database import Database  # SQLAlchemy takes a third of a second, which others need not wait
    from share.store.migrations import SHARES
    from share.store.store import Store as StoredShares

    ring, page = share_ring(settings), share_page(settings)
    database = Database(database_url(settings), [SHARES], storage)
    await database.open()
    closing_seconds = limits.close_seconds + 2 * storage.close_seconds
    try:
        parts = put_together(
            settings, streaming, ring, page, StoredShares(database), Passwords(limits), limits, closing_seconds
        )
        async with serving(parts):
            yield parts
    finally:
        await database.close()


@asynccontextmanager
async def serving(parts: Sharing) -> AsyncIterator[None]:
    """``parts`` from start to stop, on a store that is there before and after. StartError when it cannot be read."""
    try:
        try:
            await parts.links.load()
        except StorageError as error:
            raise StartError(f"the database cannot be read: {error}") from None
        try:
            yield
        finally:
            await parts.links.close()
    finally:
        parts.passwords.close()


def put_together(
    settings: Settings,
    streaming: StreamService,
    ring: KeyRing,
    page: Page,
    store: Store,
    passwords: Passwords,
    limits: ShareLimits,
    closing_seconds: float,
) -> Sharing:
    """Every part with what it needs, by name."""
    clock, monotonic, call_later = streaming.clock, streaming.monotonic, streaming.call_later
    max_seconds = settings.share_max_days * DAY_SECONDS
    rooms = Rooms(
        streaming.broker,
        streaming.history,
        clock=clock,
        monotonic=monotonic,
        call_later=call_later,
        max_elsewhere=limits.max_rooms_elsewhere,
        linger_seconds=limits.room_linger_seconds,
    )
    links = Links(
        store,
        rooms,
        clock=clock,
        deadlines=streaming.deadlines,
        max_shares=settings.max_shares,
        retention_seconds=settings.share_retention_days * DAY_SECONDS,
        call_later=call_later,
        limits=limits,
    )
    rooms.arrivals = links
    entrance = Entrance(
        ring,
        rooms,
        links,
        clock=clock,
        token_seconds=settings.share_token_seconds,
        max_seconds=max_seconds,
        max_viewers=settings.max_connections_per_share,
    )
    operators = OperatorRoutes(
        Callers(streaming.origins, streaming.watching.verify),
        links,
        passwords,
        clock=clock,
        max_seconds=max_seconds,
        public_url=settings.public_url,
        limits=limits,
    )
    public = PublicRoutes(
        entrance,
        links,
        rooms,
        passwords,
        admission=streaming.admission,
        address_of=streaming.doorway.address_of,
        clock=clock,
        monotonic=monotonic,
        per_minute=settings.public_requests_per_minute,
        max_streams=settings.max_public_connections,
        public_url=settings.public_url,
        limits=limits,
    )
    stream = PublicStream(streaming.doorway, entrance, public.gate)
    routes = [route for part in (operators, public, stream, page) for route in part.routes()]
    return Sharing(links, rooms, entrance, passwords, routes, closing_seconds)


def share_ring(settings: Settings) -> KeyRing:
    """The share keys. SettingsError when one is invalid, or is an access key as well."""
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
    """The page. SettingsError when the template of the map tiles is invalid."""
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
    """The database's URL. SettingsError, which never quotes it, when it is invalid."""
    try:
        return check_database_url(settings.database_url.get_secret_value())
    except ValueError as error:
        raise SettingsError([("BRIDGE_DATABASE_URL", str(error))]) from None


async def _off(_request: web.Request) -> web.Response:
    return Problem(404, "sharing_off", "share links are off; set BRIDGE_SHARE_KEYS to enable them").response()


ROUTES_OFF = [
    web.route("*", "/api/v1/shares", _off),
    web.route("*", "/api/v1/shares/{id}", _off),
    web.route("*", "/api/v1/public/share-location/{call}", _off),
    web.get("/s/{code}", _off),
    web.get("/s/{code}/", _off),
]
"""Served where share links are off: better than a bare 404."""
