"""The two socket endpoints: what is checked before a stream may begin."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from difflib import get_close_matches
from functools import partial
from typing import Any, Final

from aiohttp import web
from multidict import MultiMapping

from bridge.access.client_address import client_ip, plain_ip
from bridge.access.credentials import find_credential
from bridge.access.principal import Principal
from bridge.core.errors import CommandError, TokenError
from bridge.fanout.outbox import Policy
from bridge.protocol.closing import CloseReason
from bridge.stream.credential import TOKEN_ADVICE, refusal_reason
from bridge.stream.hub import Hub
from bridge.stream.session import Session

log = logging.getLogger("bridge.stream.endpoints")

MAX_SHOWN_CHARS: Final = 100
"""Of a header's value in the log: an origin is shorter."""
MAX_ECHO_CHARS: Final = 32
"""Of a parameter's name that we do not know, told to the client that sent it."""
HUB: web.AppKey[Hub] = web.AppKey("hub", Hub)
_COMMON = frozenset({"token", "overflow"})
_SELECTION = frozenset({"device_ids", "groups", "snapshot"})


async def serve_stream(
    request: web.Request,
    *,
    make: Callable[[Hub, str], Session],
    begin: Callable[[Any, web.Request], None],
    gate: Callable[[str], web.Response | None] = lambda _ip: None,
) -> web.StreamResponse:
    """One stream from its request to its end. Aliens are refused before the upgrade, with an HTTP status.

    ``gate`` may refuse a client address, ``make`` makes the session for it, and ``begin`` says what comes
    between the upgrade and the client's first word.
    """
    hub = request.app[HUB]
    if request.headers.get("Upgrade", "").lower() != "websocket":
        raise web.HTTPUpgradeRequired(
            headers={"Upgrade": "websocket", "Connection": "Upgrade"},
            text="This is a WebSocket endpoint. If you did ask for an upgrade, a proxy on the way has removed it: "
            "let it pass on the headers Upgrade and Connection.\n",
        )
    ip = address_of(request)
    if not hub.origins.permits(request.headers):
        hub.admission.refuse("origin")
        origin, host = (request.headers.get(name, "")[:MAX_SHOWN_CHARS] for name in ("Origin", "Host"))
        tell_refusals(
            hub, "origin",
            "Web pages refused: %d since the last such line, the last one of origin %r at host %r from %s; "
            "pages that may connect stand in BRIDGE_ALLOWED_ORIGINS",
            origin, host, ip,
        )  # fmt: skip
        raise web.HTTPForbidden(text="This web page may not connect; its origin is not in BRIDGE_ALLOWED_ORIGINS.\n")
    refused = gate(ip)
    if refused is not None:
        return refused
    refusal = hub.admission.admit(ip, hub.monotonic())
    if refusal is not None:
        cause = refusal.name.lower()
        tell_refusals(
            hub, cause, "Streams refused: %d since the last such line (%s), the last one from %s; %s",
            cause, ip, refusal.hint,
        )  # fmt: skip
        return web.json_response(
            {"code": refusal.code, "message": refusal.message}, status=refusal.status, headers={"Retry-After": "5"}
        )
    session = make(hub, ip)
    try:
        try:
            await session.open(request, _policy(request))
        except ConnectionError:  # gone before the upgrade: nobody's mistake, and no ERROR in the log
            return web.Response(status=400)
        try:
            try:
                begin(session, request)
            except Exception as error:
                session.failed(error)
            await session.serve()
        finally:
            session.end()
    finally:
        hub.admission.release(ip)
    return session.socket


def address_of(request: web.Request) -> str:
    """The client's address, which proxies that we trust have told or the connection says."""
    peer = plain_ip(request.remote)
    return client_ip(peer, ",".join(request.headers.getall("X-Forwarded-For", ())), request.app[HUB].proxies)


def tell_refusals(hub: Hub, cause: str, text: str, *arguments: object) -> None:
    """Log a refusal, unless one of its kind was logged a moment ago. The count comes first."""
    count = hub.admission.episodes.due(cause, hub.admission.refused[cause], hub.monotonic())
    if count:
        log.warning(text, count, *arguments)


def _policy(request: web.Request) -> Policy | None:
    """``?overflow=``; anything but a policy is told by ``_check_query``."""
    text = request.query.get("overflow", "")
    return Policy(text) if text in set(Policy) else None


def _begin(session: Session, request: web.Request, *, selection_in_url: bool) -> None:
    """From the upgrade to the first subscription. A refusal is told and closes the socket."""
    hub, query = session.hub, request.query
    try:
        check_once(query)
        token = find_credential(request.headers, request.cookies, query)
        principal: Principal | None = None
        if selection_in_url or token is not None or hub.authenticator is None:
            principal = session.credential.verify(token)
        check_query(query, _COMMON | _SELECTION if selection_in_url else _COMMON)
        if not selection_in_url:
            session.welcome(principal)
            return
        assert principal is not None
        session.welcome_to(
            principal, query.getall("device_ids", ()), query.getall("groups", ()), _flag(query.get("snapshot", "true"))
        )
    except TokenError as error:
        session.refuse(error.code, TOKEN_ADVICE[error.code], refusal_reason(error.code), str(error))
    except CommandError as error:
        session.refuse(error.code, error.message, CloseReason.SELECTION)


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
    if overflow is not None and overflow not in set(Policy):
        raise CommandError("invalid_parameter", f"overflow must be one of {', '.join(Policy)}")


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise CommandError("invalid_parameter", "snapshot must be true or false")
    return text.lower() in ("true", "1")


# Partials and not coroutines that await it: every open stream keeps its coroutines, half a KiB each.
stream = partial(serve_stream, make=Session, begin=partial(_begin, selection_in_url=True))
"""``GET /api/v1/stream?device_ids=A,B``: the selection stands in the URL."""
websocket = partial(serve_stream, make=Session, begin=partial(_begin, selection_in_url=False))
"""``GET /api/v1/ws``: authenticate and subscribe in-band."""
# Not HEAD, which aiohttp would add: an upgrade by it would open a stream that has no body to stream in.
ROUTES: Final = (
    web.get("/api/v1/stream", stream, allow_head=False),
    web.get("/api/v1/ws", websocket, allow_head=False),
)
