"""The operators' HTTP interface from the client's side: what ``telemetry-bridge share`` asks a running server.

The server is not trusted: its certificate is verified, its answers are bounded in size and time and escaped before
they are shown, and the token goes to the given address only: redirects are not followed and proxies of the
environment are not used, as in ``watch``.
"""

from __future__ import annotations

import os
from http import HTTPStatus
from typing import Any, Final, Self
from urllib.parse import urlencode

import aiohttp
import orjson
from yarl import URL

from bridge.cli.connection import server_address
from bridge.cli.stream_client import STREAM_PATH
from bridge.cli.terminal import escape
from bridge.core.errors import BridgeError

SHARES_PATH: Final = "/api/v1/shares"
TIMEOUT_SECONDS: Final = 20.0
"""From the look-up of the name to the last byte of an answer: a slow mobile network, and a server's slow disk."""
MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
"""Of one answer: PAGE_SHARES shares of 20 devices with the longest names, in escaped JSON, are about half of it."""
PAGE_SHARES: Final = 100
"""Shares asked for at once."""
MAX_PAGES: Final = 500
"""Of one list: five times what a server keeps open by default. It bounds a list that never ends."""
MAX_SHOWN_CHARS: Final = 300
"""Of a server's message: one line that can be read."""

UNSURE: Final = "; it may have been done: see `telemetry-bridge share list`"
NO_TOKEN_HINT: Final = (
    "; no token was given: make one with `telemetry-bridge token --devices A --scope share`, "  # noqa: S105
    "and set TELEMETRY_BRIDGE_TOKEN or name a --token-file"
)


class ServerError(BridgeError):
    """The server or the network refused. The text is one escaped line."""


class Client:
    """One server, asked with one token. Use as an async context manager. Every call may raise ServerError."""

    def __init__(self, base: str, token: str, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        """``base`` as ``bridge.cli.connection.server_address`` takes it; ValueError otherwise."""
        server = server_address(base)
        self._place = server._replace(path=server.path.removesuffix(STREAM_PATH)).url("http")
        self._token = token
        self._timeout_seconds = timeout_seconds

    async def __aenter__(self) -> Self:
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        self._session = aiohttp.ClientSession(
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=self._timeout_seconds),
            auto_decompress=False,  # a bound on bytes that are unpacked later is none
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def create(self, body: dict[str, Any]) -> dict[str, Any]:
        """Create a share; the answer's ``url`` is the link."""
        share = await self._ask("POST", "", body)
        url = share.get("url")
        if not (
            isinstance(url, str) and url.startswith(("https://", "http://")) and url.isprintable() and " " not in url
        ):
            raise ServerError(f"the server's answer has no link{UNSURE}")
        return share

    async def every(self, status: str | None) -> list[dict[str, Any]]:
        """All shares that the token may see, newest first, page after page."""
        query = {"limit": str(PAGE_SHARES)} | ({"status": status} if status else {})
        found: list[dict[str, Any]] = []
        for _ in range(MAX_PAGES):
            answer = await self._ask("GET", "?" + urlencode(query))
            shares, after = answer.get("shares"), answer.get("next")
            if not isinstance(shares, list) or not all(isinstance(share, dict) for share in shares):
                raise ServerError("the server's answer has no list of shares; is it a telemetry bridge?")
            found += shares
            if after is None:
                return found
            if not isinstance(after, str) or after == query.get("after"):
                break
            query["after"] = after
        raise ServerError("the server's list of shares does not end")

    async def find(self, share_id: str) -> dict[str, Any]:
        """One share."""
        return await self._ask("GET", f"/{share_id}")

    async def change(self, share_id: str, changes: dict[str, Any]) -> dict[str, Any]:
        """Change what is in ``changes``; the share as it is then."""
        return await self._ask("PATCH", f"/{share_id}", changes)

    async def revoke(self, share_id: str) -> dict[str, Any]:
        """End it now; the share as it is then."""
        return await self._ask("DELETE", f"/{share_id}")

    async def _ask(self, method: str, rest: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One request, one answer. After a lost answer to a request that changes something, the error says so."""
        unsure = "" if method == "GET" else UNSURE
        try:
            async with self._session.request(
                method,
                URL(self._place + SHARES_PATH + rest),
                data=None if body is None else orjson.dumps(body),
                headers={} if body is None else {"Content-Type": "application/json"},
                allow_redirects=False,
            ) as answer:
                data = bytearray()
                async for chunk in answer.content.iter_chunked(65_536):
                    data += chunk
                    if len(data) > MAX_ANSWER_BYTES:
                        raise ServerError(f"the server's answer is larger than {MAX_ANSWER_BYTES} bytes{unsure}")
        except TimeoutError:
            raise ServerError(f"{self._shown} did not answer in {self._timeout_seconds:g} s{unsure}") from None
        except aiohttp.ClientConnectorError as error:
            raise ServerError(f"cannot connect to {self._shown}: {_why(error)}") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ServerError(f"no usable answer from {self._shown}: {_why(error)}{unsure}") from None
        return self._read(answer.status, answer.headers, bytes(data), unsure)

    def _read(self, status: int, headers: Any, data: bytes, unsure: str) -> dict[str, Any]:
        try:
            answer = orjson.loads(data)
        except orjson.JSONDecodeError:
            answer = None
        if status in (HTTPStatus.OK, HTTPStatus.CREATED) and isinstance(answer, dict):
            return answer
        code, message = (answer.get("code"), answer.get("message")) if isinstance(answer, dict) else (None, None)
        if 300 <= status < 400:
            place = _shown(str(headers.get("Location", "nowhere")))
            text = f"{self._shown} redirects to {place}; give that server as --url if it is the right one"
        elif status >= 400 and isinstance(code, str) and isinstance(message, str):
            text = f"{_shown(code)}: {_shown(message)}"
        else:
            # A proxy answers 502 and 504 for a server that may have done it.
            sure = "" if 400 <= status < 500 else unsure
            text = f"not an answer of a telemetry bridge from {self._shown}: HTTP {status}{sure}"
        retry = headers.get("Retry-After", "")
        if retry.isascii() and retry.isdigit():
            text += f"; try again in {retry[:9]} s"
        if status == HTTPStatus.UNAUTHORIZED and not self._token:
            text += NO_TOKEN_HINT
        raise ServerError(text)

    @property
    def _shown(self) -> str:
        return _shown(self._place)


def _shown(text: str) -> str:
    """``text`` escaped, and cut where it would fill the terminal."""
    return escape(text if len(text) <= MAX_SHOWN_CHARS else text[:MAX_SHOWN_CHARS] + "…")


def _why(error: Exception) -> str:
    """The reason in the system's words where possible: aiohttp's repeat the address."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return _shown(f"its certificate is not trusted: {error.certificate_error}")
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return _shown(f"TLS failed: {getattr(error.os_error, 'reason', None) or 'does the server speak https?'}")
    if isinstance(error, OSError) and error.errno:
        return _shown(os.strerror(error.errno) if error.errno > 0 else str(error.strerror))
    return _shown(str(error) or type(error).__name__)
