"""What anyone may call: a link's code for a token, and a token for the stream."""

from __future__ import annotations

from functools import partial
from typing import Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from bridge.encoding import timestamp
from bridge.hub import Hub
from bridge.stream import HUB, address_of, serve_stream
from share.answers import share_answer
from share.desk import Desk
from share.errors import BusyError, StorageError
from share.http import Problem, answer, base_url, read_body
from share.limiter import Limiter, address_key
from share.links import Links
from share.passwords import Passwords
from share.record import EndReason, Share, Status
from share.rooms import Rooms
from share.viewer import ShareSession, begin

STREAM_PATH: Final = "/api/v1/public/share-location/stream"
MAX_INIT_BYTES: Final = 2048
"""A code of 22 characters and a password of 128, each perhaps written as an escape of six."""
MAX_CODE_CHARS: Final = 64
"""Of a code in a request; ours have 22."""
WRONG_PASSWORDS_PER_MINUTE: Final = 10.0
"""Of one share, whoever tries: a PIN of six digits lasts weeks. Who has the link and no password can lock others out for
a minute at a time; the streams that are open go on until their token ends."""
RETRY_SECONDS: Final = 30
"""What a client that came too often is told to wait."""
_NOT_FOUND: Final = Problem(404, "share_not_found", "there is no such link; ask for a new one")
_TOO_OFTEN: Final = Problem(
    429, "rate_limited", f"too often; try again in {RETRY_SECONDS} s", headers={"Retry-After": str(RETRY_SECONDS)}
)


class InitBody(BaseModel):
    """The body of ``init``."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)
    code: SecretStr = Field(min_length=1, max_length=MAX_CODE_CHARS)
    password: SecretStr | None = None


class PublicRoutes:
    """``init`` and the stream. Both at a bounded rate for each client address."""

    def __init__(self, hub: Hub, desk: Desk, links: Links, rooms: Rooms, passwords: Passwords) -> None:
        per_minute = hub.settings.public_requests_per_minute
        self._hub = hub
        self._desk = desk
        self._links = links
        self._rooms = rooms
        self._passwords = passwords
        self._inits = Limiter(per_minute)
        self._streams = Limiter(per_minute)
        self._wrong = Limiter(WRONG_PASSWORDS_PER_MINUTE)

    def routes(self) -> list[web.RouteDef]:
        stream = partial(
            serve_stream, make=lambda hub, ip: ShareSession(hub, ip, self._desk), begin=begin, gate=self._gate
        )
        return [
            web.post("/api/v1/public/share-location/init", self.init),
            web.get(STREAM_PATH, stream, allow_head=False),
        ]

    def _gate(self, ip: str) -> web.Response | None:
        """Before the upgrade, which costs more than all the rest of a refusal."""
        if not self._streams.take(address_key(ip), self._hub.monotonic()):
            return _TOO_OFTEN.response()
        most = self._hub.settings.max_public_connections
        if most and self._desk.viewers >= most:
            return Problem(
                503, "too_many_connections", "as many watch as may; try again later", headers={"Retry-After": "30"}
            ).response()
        return None

    async def init(self, request: web.Request) -> web.Response:
        """The code of a link, and perhaps a password, for a token."""
        try:
            if not self._inits.take(address_key(address_of(request)), self._hub.monotonic()):
                raise _TOO_OFTEN
            body = _parse(await read_body(request, MAX_INIT_BYTES))
            share = await self._share(body)
            token, expires_at = self._desk.token_for(share)
            room = self._rooms.get(share.id)
            if room is None:  # it ended while we looked
                raise _over(share)
            base = base_url(request, self._hub.settings.public_url)
            return answer(
                {
                    "token": token,
                    "expires_at": timestamp(expires_at),
                    "share": share_answer(room, share.ends_at),
                    "stream_url": f"ws{base.removeprefix('http')}{STREAM_PATH}",
                }
            )
        except Problem as problem:
            return problem.response()

    async def _share(self, body: InitBody) -> Share:
        """The open share of the code in ``body``. Problem when there is none, or its password is another."""
        try:
            share = await self._links.find_by_code(body.code.get_secret_value())
        except StorageError:
            raise Problem.storage() from None
        if share is None:
            raise _NOT_FOUND
        if share.status(self._hub.clock()) in (Status.ENDED, Status.REVOKED):
            raise _over(share)
        await self._check_password(share, body.password)
        # Looked at again: to check a password takes a while.
        now = self._hub.clock()
        current = self._links.find_open(share.id)
        if current is None or current.status(now) not in (Status.UPCOMING, Status.ACTIVE):
            raise _over(current or share)
        if current.status(now) is Status.UPCOMING:
            raise Problem(
                403, "share_not_started", "the share has not begun yet", {"starts_at": timestamp(current.starts_at)}
            )
        return current

    async def _check_password(self, share: Share, password: SecretStr | None) -> None:
        if share.password_hash is None:
            return
        if password is None:
            raise Problem(401, "password_required", "this share asks for a password")
        if not self._wrong.has(share.id, self._hub.monotonic()):
            raise _TOO_OFTEN
        try:
            right = await self._passwords.verify(share.password_hash, password.get_secret_value())
        except BusyError:
            raise Problem(
                503, "busy", "too many passwords to check at this moment; try again", headers={"Retry-After": "2"}
            ) from None
        if not right:
            self._wrong.take(share.id, self._hub.monotonic())
            raise Problem(403, "password_wrong", "the password is another one")


def _parse(data: bytes) -> InitBody:
    try:
        return InitBody.model_validate_json(data)
    except ValidationError:
        raise Problem(400, "invalid_request", 'send {"code": "…"}, and "password" if there is one') from None


def _over(share: Share) -> Problem:
    """Told to whoever has the code: he knew of the share."""
    if share.end_reason is EndReason.REVOKED:
        return Problem(410, "share_revoked", "the share was revoked")
    extra = {"end_reason": share.end_reason.value} if share.end_reason else {}
    return Problem(410, "share_ended", "the share has ended", extra)
