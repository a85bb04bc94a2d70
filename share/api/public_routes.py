"""What anyone may call: a link's code for a token, and a token for the stream."""

from __future__ import annotations

import re
from functools import partial
from typing import Final
from weakref import WeakValueDictionary

from aiohttp import web
from pydantic import SecretStr

from bridge.core.errors import StorageError
from bridge.core.strict_json import parse_object
from bridge.core.times import timestamp
from bridge.server.http import Problem, answer, base_url, read_body
from bridge.stream.endpoints import address_of, serve_stream, tell_refusals
from bridge.stream.hub import Hub
from share.api.limiter import Limiter, address_key
from share.api.passwords import Passwords
from share.api.request_models import StrictBody
from share.links.background import Turn
from share.links.links import Links
from share.model.errors import BusyError
from share.model.limits import CODE_BYTES
from share.model.share import EndReason, Share, Status
from share.stream.entry import Desk
from share.stream.public_json import share_answer
from share.stream.rooms import Rooms
from share.stream.session import ShareSession, begin

STREAM_PATH: Final = "/api/v1/public/share-location/stream"
MAX_INIT_BYTES: Final = 2048
"""A code of 22 characters and a password of 128, each perhaps written as an escape of six."""
WRONG_PASSWORDS_PER_MINUTE: Final = 10.0
"""Of one share, whoever tries: a PIN of six digits lasts weeks. Who has the link and no password can lock others out
for a minute at a time; the streams that are open go on until their token ends."""
MAX_WAITING_CHECKS: Final = 16
"""Passwords of one share that wait for one another, 20 ms each: a third of a second, and one share cannot fill the
queue of all."""
MAX_LOOKUPS: Final = 32
"""Codes that are looked up in the database at the same time: strangers must leave room there for a revocation."""
RETRY_SECONDS: Final = 6
"""What a client that came too often is told to wait: until the next wrong password is due."""
_CODE: Final = re.compile(rf"[A-Za-z0-9_-]{{{-(-CODE_BYTES * 8 // 6)}}}")
# Made anew each time: one exception that is raised again and again keeps every frame that it came through.
_not_found: Final = partial(Problem, 404, "share_not_found", "there is no such link; ask for a new one")
_too_often: Final = partial(
    Problem,
    429,
    "rate_limited",
    f"too often; try again in {RETRY_SECONDS} s",
    headers={"Retry-After": str(RETRY_SECONDS)},
)
_busy: Final = partial(Problem, 503, "busy", "too many ask at this moment; try again", headers={"Retry-After": "2"})


class InitBody(StrictBody):
    """The body of ``init``."""

    code: SecretStr
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
        self._lookups = 0
        self._turns: WeakValueDictionary[str, Turn] = WeakValueDictionary()
        """By share: who may have a password of it checked. There while somebody waits."""

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
            self._tell("public_rate", ip, "see BRIDGE_PUBLIC_REQUESTS_PER_MINUTE, and BRIDGE_TRUSTED_PROXIES")
            return _too_often().response()
        most = self._hub.settings.max_public_connections
        if most and self._desk.viewers >= most:
            self._tell("public_full", ip, "see BRIDGE_MAX_PUBLIC_CONNECTIONS")
            return Problem(
                503, "too_many_connections", "as many watch as may; try again later", headers={"Retry-After": "30"}
            ).response()
        return None

    def _tell(self, cause: str, ip: str, advice: str) -> None:
        self._hub.admission.refuse(cause)
        tell_refusals(
            self._hub, cause, "Public requests refused: %d since the last such line (%s), the last one from %s; %s",
            cause, ip, advice,
        )  # fmt: skip

    async def init(self, request: web.Request) -> web.Response:
        """The code of a link, and perhaps a password, for a token."""
        try:
            ip = address_of(request)
            if not self._inits.take(address_key(ip), self._hub.monotonic()):
                self._tell("init_rate", ip, "see BRIDGE_PUBLIC_REQUESTS_PER_MINUTE, and BRIDGE_TRUSTED_PROXIES")
                raise _too_often()
            body = _parse(await read_body(request, MAX_INIT_BYTES))
            share = await self._share(body)
            token, expires_at = self._desk.token_for(share)
            room = self._rooms.get(share.id)
            if room is None:  # it ended in the moment in which it was opened
                raise _over(share)
            base = base_url(request, self._hub.settings.public_url)
            return answer(
                {
                    "token": token,
                    "expires_at": timestamp(expires_at),
                    "share": share_answer(room, share.ends_at, with_positions=not self._desk.is_full(room)),
                    "stream_url": f"ws{base.removeprefix('http')}{STREAM_PATH}",
                }
            )
        except Problem as problem:
            if problem.code != "rate_limited":  # counted already
                self._hub.admission.refuse(f"init_{problem.code}")
            return problem.response()

    async def _share(self, body: InitBody) -> Share:
        """The open share of the code in ``body``. Problem when there is none, or its password is another.

        Before the password nothing is told: not even whether the share still goes on.
        """
        share = await self._find(body.code.get_secret_value())
        if share.password_hash is not None:
            await self._check_password(share, body.password)
            share = await self._find(body.code.get_secret_value())  # to check a password takes a while
        match share.status(self._hub.clock()):
            case Status.ENDED | Status.REVOKED:
                raise _over(share)
            case Status.UPCOMING:
                raise Problem(
                    403, "share_not_started", "the share has not begun yet", {"starts_at": timestamp(share.starts_at)}
                )
        return share

    async def _find(self, code: str) -> Share:
        """The share of ``code``, also one that is over. Problem when there is none."""
        if _CODE.fullmatch(code) is None:
            raise _not_found()
        open_here = self._links.find_open_by_code(code)
        if open_here is not None:  # however many strangers wait for the database
            return open_here
        if self._lookups >= MAX_LOOKUPS:
            raise _busy()
        self._lookups += 1
        try:
            share = await self._links.find_by_code(code)
        except StorageError:
            raise Problem.storage() from None
        finally:
            self._lookups -= 1
        if share is None:
            raise _not_found()
        return share

    async def _check_password(self, share: Share, password: SecretStr | None) -> None:
        """One after the other for each share: of many wrong ones that come together, too, only so many are tried."""
        assert share.password_hash is not None
        if password is None:
            raise Problem(401, "password_required", "this share asks for a password")
        turn = self._turns.get(share.id)
        if turn is None:
            turn = self._turns[share.id] = Turn(MAX_WAITING_CHECKS, _busy)
        async with turn.taken():
            if not self._wrong.has(share.id, self._hub.monotonic()):
                raise _too_often()
            try:
                right = await self._passwords.verify(share.password_hash, password.get_secret_value())
            except BusyError:
                raise _busy() from None
            if not right:
                self._wrong.take(share.id, self._hub.monotonic())
                raise Problem(403, "password_wrong", "the password is another one")


def _parse(data: bytes) -> InitBody:
    try:
        return InitBody.model_validate(parse_object(data))
    except ValueError:  # ValidationError is one
        raise Problem(400, "invalid_request", 'send {"code": "…"}, and "password" if there is one') from None


def _over(share: Share) -> Problem:
    """Told to whoever has the code: he knew of the share."""
    if share.end_reason is EndReason.REVOKED:
        return Problem(410, "share_revoked", "the share was revoked")
    extra = {"end_reason": share.end_reason.value} if share.end_reason else {}
    return Problem(410, "share_ended", "the share has ended", extra)
