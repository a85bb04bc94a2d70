"""Share links put together: started and stopped with the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Final

from aiohttp import web

from bridge.access.paseto import KeyRing
from bridge.access.principal import Principal
from bridge.core.errors import SettingsError, StartError, StorageError
from bridge.ingest.decoding.position import PositionReader
from bridge.server.callers import Callers
from bridge.server.http import Problem
from bridge.settings import Settings
from bridge.storage.database_url import check_database_url
from bridge.storage.limits import StorageLimits
from bridge.stream.endpoints import address_of, serve_stream
from bridge.stream.hub import Hub
from share.api.operator_routes import OperatorRoutes
from share.api.passwords import Passwords
from share.api.public_routes import STREAM_PATH, PublicRoutes
from share.links.links import Links
from share.links.ports import Store
from share.model.limits import DAY_SECONDS, ShareLimits
from share.page.page import Page
from share.stream.entry import Desk
from share.stream.rooms import Rooms
from share.stream.session import ShareSession, begin

REMEMBERED_POSITIONS: Final = 32
"""Payloads whose position is kept for the next channel of the same device: 4 MiB of the largest, by default."""


@dataclass(frozen=True, slots=True)
class Sharing:
    """The share links of one process. ``links`` is for whoever creates shares without a request: the demo."""

    links: Links
    rooms: Rooms
    entry: Desk
    passwords: Passwords
    routes: list[web.RouteDef]
    closing_seconds: float
    """What closing takes at most, with a database that does not answer: so much of its time the drain must leave."""

    def statistics(self) -> dict[str, int]:
        """Counts only, for the operator."""
        return {"open": len(self.links), "rooms": len(self.rooms), "viewers": self.entry.viewers}


@asynccontextmanager
async def sharing(
    hub: Hub, limits: ShareLimits = ShareLimits(), storage: StorageLimits = StorageLimits()
) -> AsyncIterator[Sharing]:
    """Share links from start to stop. SettingsError or StartError when they cannot be."""
    from bridge.storage.database import Database  # SQLAlchemy takes a third of a second, which others need not wait
    from share.store.migrations import SHARES
    from share.store.store import Store as StoredShares

    ring, page = share_ring(hub.settings), share_page(hub.settings)
    database = Database(database_url(hub.settings), [SHARES], storage)
    await database.open()
    passwords = Passwords(limits)
    try:
        parts = _put_together(
            hub, ring, page, StoredShares(database), passwords, limits, limits.close_seconds + 2 * storage.close_seconds
        )
        try:
            await parts.links.load()
        except StorageError as error:
            raise StartError(f"the database cannot be read: {error}") from None
        try:
            yield parts
        finally:
            await parts.links.close()
    finally:
        passwords.close()
        await database.close()


def _put_together(
    hub: Hub,
    ring: KeyRing,
    page: Page,
    store: Store,
    passwords: Passwords,
    limits: ShareLimits,
    closing_seconds: float,
) -> Sharing:
    """Every part with what it needs of the hub: the only place of ``share.api`` and ``share.links`` that knows it."""
    settings = hub.settings
    max_seconds = settings.share_max_days * DAY_SECONDS
    rooms = Rooms(hub, lru_cache(REMEMBERED_POSITIONS)(PositionReader(settings.position_pointers).read))
    links = Links(
        store,
        rooms,
        clock=hub.clock,
        deadlines=hub.deadlines,
        max_shares=settings.max_shares,
        retention_seconds=settings.share_retention_days * DAY_SECONDS,
        call_later=hub.call_later,
        limits=limits,
    )
    rooms.arrivals = links
    entry = Desk(hub, ring, rooms, links)

    def verify(token: str | None) -> Principal:
        return hub.authenticator.verify(token, hub.clock()) if hub.authenticator else hub.anonymous()

    operators = OperatorRoutes(
        Callers(hub.origins, verify),
        links,
        passwords,
        clock=hub.clock,
        max_seconds=max_seconds,
        public_url=settings.public_url,
        limits=limits,
    )
    public = PublicRoutes(
        entry,
        links,
        rooms,
        passwords,
        admission=hub.admission,
        address_of=address_of,
        clock=hub.clock,
        monotonic=lambda: hub.monotonic(),  # noqa: PLW0108 - tests stop it later
        per_minute=settings.public_requests_per_minute,
        max_streams=settings.max_public_connections,
        public_url=settings.public_url,
        limits=limits,
    )
    stream = partial(serve_stream, make=lambda hub, ip: ShareSession(hub, ip, entry), begin=begin, gate=public.gate)
    # Not HEAD, which aiohttp would add: an upgrade by it would open a stream that has no body to stream in.
    routes = [*operators.routes(), *public.routes(), web.get(STREAM_PATH, stream, allow_head=False), *page.routes()]
    return Sharing(links, rooms, entry, passwords, routes, closing_seconds)


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
