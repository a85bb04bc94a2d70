"""From an HTTP request to a connection of our own: the opening handshake of RFC 6455 section 4.2."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
from typing import Final

from aiohttp import hdrs, web

SUBPROTOCOL: Final = "telemetry-bridge"
_CHOSEN: Final = f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n".encode()
VERSION: Final = "13"
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_KEY_BYTES: Final = 16


class _Nobody(asyncio.Protocol):
    """Stands between aiohttp's protocol and ours for a moment."""


_NOBODY: Final = _Nobody()


def check_upgrade(request: web.Request) -> bytes:
    """The head of the answer that accepts ``request``: status line and headers.

    HTTPUpgradeRequired when it asks for no WebSocket of version 13, HTTPBadRequest when it asks for one in a way
    that RFC 6455 section 4.2.1 does not know.
    """
    headers = request.headers
    if not _names(headers.getall(hdrs.UPGRADE, ()), "websocket"):
        raise _refused(
            web.HTTPUpgradeRequired,
            "This is a WebSocket endpoint. If you did ask for an upgrade, a proxy on the way has removed it: "
            "let it pass on the headers Upgrade and Connection.\n",
        )
    if headers.getall(hdrs.SEC_WEBSOCKET_VERSION, ()) != [VERSION]:
        raise _refused(web.HTTPUpgradeRequired, f"Sec-WebSocket-Version has to be {VERSION}.\n")
    if not _names(headers.getall(hdrs.CONNECTION, ()), "upgrade"):
        raise _refused(web.HTTPBadRequest, "The header Connection has to name Upgrade; a proxy may remove it.\n")
    if request.version < (1, 1):
        raise _refused(web.HTTPBadRequest, "A WebSocket needs HTTP/1.1.\n")
    keys = headers.getall(hdrs.SEC_WEBSOCKET_KEY, ())
    if len(keys) != 1 or not _is_key(keys[0]):
        raise _refused(web.HTTPBadRequest, "Sec-WebSocket-Key has to be given once: 16 random bytes in base64.\n")
    if request.body_exists or bool(getattr(request.protocol, "_message_tail", None)):
        # RFC 6455 section 4.1: a client waits for the answer before it sends. aiohttp keeps such bytes to itself.
        raise _refused(web.HTTPBadRequest, "Nothing may follow the request before it is answered.\n")
    if request.transport is not None and request.transport.get_write_buffer_size():
        # A transport that waits for its reader has told aiohttp so, and would not tell us: nothing would bound us.
        raise _refused(web.HTTPBadRequest, "Read the answers to earlier requests first.\n")
    accept = base64.b64encode(hashlib.sha1(keys[0].strip().encode() + _GUID, usedforsecurity=False).digest())
    offered = ",".join(headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, ()))
    chosen = _CHOSEN if SUBPROTOCOL in (name.strip() for name in offered.split(",")) else b""
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n%b\r\n" % (accept, chosen)
    )


def take_over(request: web.Request, protocol: asyncio.BufferedProtocol) -> None:
    """Make ``protocol`` that of the request's connection, and let aiohttp forget it.

    For each WebSocket aiohttp keeps a task, a coroutine, the request, its parser and itself: 14 KB, for as long as
    it is open. Here it tidies up as if the client had gone; the handler has to raise CancelledError then, as it
    would have got. ``RequestHandler.transport`` and ``connection_lost`` are public, that they suffice is not
    promised: tests/functional/stream/test_upgrade.py fails should a later aiohttp do otherwise.
    """
    transport, handler = request.transport, request.protocol
    assert transport is not None
    transport.set_protocol(_NOBODY)  # uvloop keeps data_received of the last protocol that had one
    transport.set_protocol(protocol)
    if not transport.is_reading():  # aiohttp pauses when requests come faster than it answers
        transport.resume_reading()
    handler.transport = None  # or it would close the connection
    asyncio.get_running_loop().call_soon(handler.connection_lost, None)


def _refused(kind: type[web.HTTPUpgradeRequired | web.HTTPBadRequest], text: str) -> web.HTTPException:
    """The last answer on this connection: what was sent behind the request is not read as another one."""
    wanted = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": VERSION}
    error = kind(text=text, headers=wanted if kind is web.HTTPUpgradeRequired else None)
    error.force_close()
    return error


def _names(values: list[str] | tuple[str, ...], token: str) -> bool:
    """Whether ``token`` (lower case) stands in a header that is a list of tokens."""
    return any(token in (each.strip() for each in value.lower().split(",")) for value in values)


def _is_key(text: str) -> bool:
    try:
        return len(binascii.a2b_base64(text.strip(), strict_mode=True)) == _KEY_BYTES
    except ValueError:  # binascii.Error is one
        return False
