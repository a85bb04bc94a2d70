"""The two socket endpoints: what is checked before a stream may begin."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from aiohttp import web

from bridge.admission import client_ip
from bridge.auth import find_credential
from bridge.closing import CloseReason
from bridge.credential import TOKEN_ADVICE, refusal_reason
from bridge.errors import CommandError, TokenError
from bridge.hub import Hub
from bridge.outbox import Policy
from bridge.principal import Principal
from bridge.session import Session

HUB: web.AppKey[Hub] = web.AppKey("hub", Hub)
_COMMON = frozenset({"token", "overflow"})
_SELECTION = frozenset({"device_ids", "groups", "snapshot"})


async def _serve(request: web.Request, *, selection_in_url: bool) -> web.StreamResponse:
    hub = request.app[HUB]
    if request.headers.get("Upgrade", "").lower() != "websocket":
        raise web.HTTPUpgradeRequired(
            headers={"Upgrade": "websocket", "Connection": "Upgrade"},
            text="This is a WebSocket endpoint. If you did ask for an upgrade, a proxy on the way has removed it: "
            "let it pass on the headers Upgrade and Connection.\n",
        )
    if not hub.origins.permits(request.headers):
        raise web.HTTPForbidden(text="This web page may not connect; its origin is not in BRIDGE_ALLOWED_ORIGINS.\n")
    ip = client_ip(request.remote or "", ",".join(request.headers.getall("X-Forwarded-For", ())), hub.proxies)
    refusal = hub.admission.admit(ip, hub.monotonic())
    if refusal is not None:
        return web.json_response(
            {"code": refusal.code, "message": refusal.message}, status=refusal.status, headers={"Retry-After": "5"}
        )
    session = Session(hub, ip)
    try:
        await session.open(request, _policy(request))
        try:
            try:
                _begin(session, request, selection_in_url)
            except Exception as error:
                session.failed(error)
            await session.serve()
        finally:
            session.end()
    finally:
        hub.admission.release(ip)
    return session.socket


def _policy(request: web.Request) -> Policy | None:
    """``?overflow=``; anything but a policy is told by ``_check_query``."""
    text = request.query.get("overflow", "")
    return Policy(text) if text in set(Policy) else None


def _begin(session: Session, request: web.Request, selection_in_url: bool) -> None:
    """From the upgrade to the first subscription. A refusal is told and closes the socket."""
    hub = session.hub
    try:
        token = find_credential(request.headers, request.cookies, request.query)
        principal: Principal | None = None
        if selection_in_url or token is not None or hub.authenticator is None:
            principal = session.credential.verify(token)
    except TokenError as error:
        session.refuse(error.code, TOKEN_ADVICE[error.code], refusal_reason(error.code))
        return
    try:
        _check_query(request, _COMMON | _SELECTION if selection_in_url else _COMMON)
        if not selection_in_url:
            session.welcome(principal)
            return
        assert principal is not None
        query = request.query
        session.welcome_to(
            principal, query.getall("device_ids", ()), query.getall("groups", ()), _flag(query.get("snapshot", "true"))
        )
    except CommandError as error:
        session.refuse(error.code, error.message, CloseReason.SELECTION)


def _check_query(request: web.Request, known: Iterable[str]) -> None:
    for name in request.query:
        if name not in known:
            raise CommandError("unknown_parameter", f"known parameters are {', '.join(sorted(known))}")
    overflow = request.query.get("overflow")
    if overflow is not None and overflow not in set(Policy):
        raise CommandError("invalid_parameter", f"overflow must be one of {', '.join(Policy)}")


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise CommandError("invalid_parameter", "snapshot must be true or false")
    return text.lower() in ("true", "1")


# Partials and not coroutines that await _serve: every open stream keeps its coroutines, half a KiB each.
stream = partial(_serve, selection_in_url=True)
"""``GET /api/v1/stream?device_ids=A,B``: the selection stands in the URL."""
websocket = partial(_serve, selection_in_url=False)
"""``GET /api/v1/ws``: authenticate and subscribe in-band."""
