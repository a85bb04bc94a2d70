"""The public stream: a share token opens it, and nothing can be chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aiohttp import web

from bridge.access.credentials import find_credential
from bridge.stream.endpoints import Doorway, check_once, check_query
from bridge.stream.session import Session
from share.stream.entry import Entrance
from share.stream.session import ShareViewer

STREAM_PATH: Final = "/api/v1/public/share-location/stream"
_QUERY: Final = frozenset({"token"})


class PublicStream:
    """``GET /api/v1/public/share-location/stream``."""

    def __init__(self, doorway: Doorway, entrance: Entrance, gate: Callable[[str], web.Response | None]) -> None:
        """``gate`` may refuse the address of a client, see ``PublicRoutes``."""
        self._doorway = doorway
        self._entrance = entrance
        self._gate = gate

    def routes(self) -> list[web.RouteDef]:
        """Not HEAD, which aiohttp would add: an upgrade by it would open a stream that has no body to stream in."""
        return [web.get(STREAM_PATH, self.serve, allow_head=False)]

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One request for the stream, see ``Doorway.serve``."""
        return await self._doorway.serve(
            request, make_role=lambda session: ShareViewer(self._entrance, session), begin=_begin, gate=self._gate
        )


def _begin(session: Session, request: web.Request) -> None:
    """Cookies are not looked at: an operator who opens a share page has an access token there."""
    check_once(request.query)
    token = find_credential(request.headers, {}, request.query)
    check_query(request.query, _QUERY)
    assert isinstance(session.role, ShareViewer)
    session.role.begin(token)
