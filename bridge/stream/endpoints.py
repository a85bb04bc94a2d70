"""The socket endpoints: what is checked before a stream may begin."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from difflib import get_close_matches
from typing import Final

from aiohttp import web
from multidict import MultiMapping

from bridge.access.admission import Admission
from bridge.access.client_address import Network, client_ip, plain_ip
from bridge.access.credentials import find_credential
from bridge.access.origins import OriginPolicy
from bridge.access.principal import Principal
from bridge.core.errors import CommandError, TokenError
from bridge.fanout.outbox import Policy
from bridge.protocol.closing import CloseReason
from bridge.stream.credential import refusal_reason
from bridge.stream.role import Role
from bridge.stream.session import Session
from bridge.stream.surroundings import Surroundings
from bridge.stream.upgrade import check_upgrade, take_over
from bridge.stream.watcher import Watcher, Watching

log = logging.getLogger("bridge.stream.endpoints")

MAX_SHOWN_CHARS: Final = 100
"""Of a header's value in the log: an origin is shorter."""
MAX_ECHO_CHARS: Final = 32
"""Of an unknown parameter's name that is echoed to the client that sent it."""
_POLICIES: Final = {policy.value: policy for policy in Policy}
_COMMON = frozenset({"token", "overflow"})
_SELECTION = frozenset({"device_ids", "groups", "snapshot"})

Begin = Callable[[Session, web.Request], None]
"""What comes between the upgrade and the client's first word. TokenError or CommandError when the stream is refused."""


class Doorway:
    """Checks requests for streams, and turns those that pass into sessions. One per process."""

    def __init__(
        self,
        around: Surroundings,
        admission: Admission,
        origins: OriginPolicy,
        proxies: Sequence[Network],
        overflow: Policy,
    ) -> None:
        """``overflow`` is the policy of streams that name none."""
        self._around = around
        self._overflow = overflow
        self._origins = origins
        self._proxies = proxies
        self.admission = admission

    async def serve(
        self,
        request: web.Request,
        *,
        make_role: Callable[[Session], Role],
        begin: Begin,
        gate: Callable[[str], web.Response | None] = lambda _ip: None,
    ) -> web.StreamResponse:
        """One request for a stream: an answer that refuses it, or CancelledError when the stream has begun.

        Strangers are refused before the upgrade, with an HTTP status: by origin, by ``gate`` for the client's
        address, by admission. From the upgrade on aiohttp knows nothing of the connection (``take_over``).
        """
        head = check_upgrade(request)
        ip = self.address_of(request)
        refused = self._foreign_origin(request, ip) or gate(ip) or self._not_admitted(ip)
        if refused is not None:
            return refused
        transport = request.transport
        if transport is None or transport.is_closing():  # gone before the upgrade: nobody's mistake
            self._around.released(ip)
            return web.Response(status=400)
        try:
            session = Session(transport, ip, _policy(request) or self._overflow, self._around, make_role)
        except Exception:  # a bug of ours must not use up the places of this address
            self._around.released(ip)
            raise
        take_over(request, session.socket)
        session.socket.cork(head)
        try:
            begin(session, request)
        except TokenError as error:
            session.refuse(error.code, session.role.advice[error.code], refusal_reason(error.code), str(error))
        except CommandError as error:
            session.refuse(error.code, error.message, CloseReason.SELECTION)
        except Exception as error:
            session.failed_by(error)
        session.socket.uncork()
        raise asyncio.CancelledError

    def address_of(self, request: web.Request) -> str:
        """The client's address, which proxies that we trust have told or the connection says."""
        peer = plain_ip(request.remote)
        return client_ip(peer, ",".join(request.headers.getall("X-Forwarded-For", ())), self._proxies)

    def tell_refusals(self, cause: str, text: str, *arguments: object) -> None:
        """Log a refusal, unless one of its kind was logged a moment ago. The count comes first."""
        admission = self.admission
        count = admission.episodes.due(cause, admission.refused[cause], self._around.monotonic())
        if count:
            log.warning(text, count, *arguments)

    def _foreign_origin(self, request: web.Request, ip: str) -> web.Response | None:
        if self._origins.permits(request.headers):
            return None
        self.admission.refuse("origin")
        origin, host = (request.headers.get(name, "")[:MAX_SHOWN_CHARS] for name in ("Origin", "Host"))
        self.tell_refusals(
            "origin",
            "Web pages refused: %d since the last such line, the last one of origin %r at host %r from %s; "
            "pages that may connect stand in BRIDGE_ALLOWED_ORIGINS",
            origin, host, ip,
        )  # fmt: skip
        return web.Response(
            status=403, text="This web page may not connect; its origin is not in BRIDGE_ALLOWED_ORIGINS.\n"
        )

    def _not_admitted(self, ip: str) -> web.Response | None:
        refusal = self.admission.admit(ip, self._around.monotonic())
        if refusal is None:
            return None
        cause = refusal.name.lower()
        self.tell_refusals(
            cause, "Streams refused: %d since the last such line (%s), the last one from %s; %s",
            cause, ip, refusal.hint,
        )  # fmt: skip
        return web.json_response(
            {"code": refusal.code, "message": refusal.message}, status=refusal.status, headers={"Retry-After": "5"}
        )


class Endpoints:
    """``GET /api/v1/stream?device_ids=A,B``, the selection in the URL, and ``GET /api/v1/ws``, all in-band."""

    def __init__(self, doorway: Doorway, watching: Watching) -> None:
        self._doorway = doorway
        self._watching = watching

    def routes(self) -> list[web.RouteDef]:
        """Not HEAD, which aiohttp would add: an upgrade by it would open a stream that has no body to stream in."""
        return [
            web.get("/api/v1/stream", self.stream, allow_head=False),
            web.get("/api/v1/ws", self.websocket, allow_head=False),
        ]

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """The selection stands in the URL."""
        return await self._doorway.serve(request, make_role=self._watcher, begin=_begin_selected)

    async def websocket(self, request: web.Request) -> web.StreamResponse:
        """Authenticate and subscribe in-band."""
        return await self._doorway.serve(request, make_role=self._watcher, begin=_begin_open)

    def _watcher(self, session: Session) -> Watcher:
        return Watcher(self._watching, session)


def _begin_selected(session: Session, request: web.Request) -> None:
    query = request.query
    principal = _verified(session, request, required=True)
    check_query(query, _COMMON | _SELECTION)
    assert principal is not None and isinstance(session.role, Watcher)
    snapshot = _flag(query.get("snapshot", "true"))
    session.role.begin(principal, query.getall("device_ids", ()), query.getall("groups", ()), snapshot)


def _begin_open(session: Session, request: web.Request) -> None:
    principal = _verified(session, request, required=False)
    check_query(request.query, _COMMON)
    session.welcome(principal)


def _verified(session: Session, request: web.Request, *, required: bool) -> Principal | None:
    """The principal of the request's token; None where there is none yet and none is ``required``."""
    check_once(request.query)
    token = find_credential(request.headers, request.cookies, request.query)
    assert isinstance(session.role, Watcher)
    return session.verify(token) if required or token is not None or not session.role.needs_token else None


def _policy(request: web.Request) -> Policy | None:
    """``?overflow=``; ``check_query`` refuses anything but a policy."""
    return _POLICIES.get(request.query.get("overflow", ""))


def check_once(query: MultiMapping[str]) -> None:
    """Parameters that mean one thing: which of two counts, nobody could say. One token twice is one token."""
    for name in ("overflow", "snapshot", "token"):
        values = query.getall(name, ())
        if len(set(values) - {""} if name == "token" else values) > 1:
            raise CommandError("invalid_parameter", f"{name} must be given once")


def check_query(query: MultiMapping[str], known: Collection[str]) -> None:
    """CommandError unless ``query`` has nothing but ``known`` parameters."""
    for position, name in enumerate(query, start=1):
        if name not in known:
            shown = f" `{name}`" if name.isprintable() and len(name) <= MAX_ECHO_CHARS else ""
            close = get_close_matches(name[:MAX_ECHO_CHARS].lower(), known, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise CommandError(
                "unknown_parameter",
                f"parameter number {position}{shown} is not known; {hint}known are {', '.join(sorted(known))}",
            )
    overflow = query.get("overflow")
    if overflow is not None and overflow not in _POLICIES:
        raise CommandError("invalid_parameter", f"overflow must be one of {', '.join(Policy)}")


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise CommandError("invalid_parameter", "snapshot must be true or false")
    return text.lower() in ("true", "1")
