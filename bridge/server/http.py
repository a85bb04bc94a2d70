"""What all HTTP calls have in common: answers, refusals, bodies and addresses."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final, Self

import orjson
from aiohttp import web

from bridge.core.addresses import check_origin

BODY_SECONDS: Final = 10.0
"""For a request's body to arrive."""
_NO_STORE: Final = {"Cache-Control": "no-store"}


def answer(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A JSON answer that no cache may keep."""
    return web.Response(
        body=orjson.dumps(body),
        status=status,
        content_type="application/json",
        headers={**_NO_STORE, **(headers or {})},
    )


class Problem(Exception):
    """A refusal: status, ``code`` for programs, ``message`` for people, and more fields of the body."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        extra: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.extra = extra or {}
        self.headers = headers or {}
        super().__init__(code)

    def response(self) -> web.Response:
        """The answer to the request."""
        return answer({"code": self.code, "message": self.message, **self.extra}, self.status, self.headers)

    @classmethod
    def storage(cls) -> Self:
        """The database has not stored a change, or not answered. As far as this server knows nothing was done."""
        return cls(
            503, "storage_unavailable", "the database did not store it; check what there is, and try again",
            headers={"Retry-After": "5"},
        )  # fmt: skip


async def read_body(request: web.Request, max_bytes: int, seconds: float = BODY_SECONDS) -> bytes:
    """The whole body.

    Problem 413 when it is longer than ``max_bytes``, 408 when it takes more than ``seconds``, 400 when it breaks off or
    is not what its headers say, 415 when it is compressed: nothing here is worth that.
    """
    if "Content-Encoding" in request.headers:
        raise Problem(415, "unsupported_media_type", "send the body as it is, without Content-Encoding")
    too_long = Problem(413, "too_large", f"the body is larger than {max_bytes} bytes")
    if (request.content_length or 0) > max_bytes:
        raise too_long
    data = b""
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.content.iter_any():
                data += chunk
                if len(data) > max_bytes:
                    raise too_long
    except TimeoutError:
        _end_after_answer(request)
        raise Problem(408, "too_slow", f"the body did not arrive within {seconds:g} s") from None
    except (ConnectionError, web.RequestPayloadError):  # gone, or such as a gzip that is none: no bug of ours
        _end_after_answer(request)
        raise Problem(400, "invalid_request", "the body cannot be read") from None
    return data


def _end_after_answer(request: web.Request) -> None:
    """Close the connection when the answer is written. By itself aiohttp reads on for 10 s, and logs an ERROR if it
    cannot."""
    request.content.feed_eof()
    request.protocol.close()


def base_url(request: web.Request, public_url: str) -> str:
    """How this server is reached: PUBLIC_URL or, without it, by the host that was asked. No slash at the end.

    Problem 400 for a Host header that is none.
    """
    if public_url:
        return public_url
    try:
        return check_origin(f"{request.scheme}://{request.host}")
    except ValueError:
        raise Problem(400, "invalid_request", "the Host header is not valid") from None
