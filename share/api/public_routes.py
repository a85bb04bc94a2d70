"""What anyone may call: a link's code for a token, and a token for the stream."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from functools import partial
from typing import Final
from weakref import WeakValueDictionary

from aiohttp import web
from pydantic import SecretStr

from bridge.access.admission import Admission
from bridge.core.errors import StorageError
from bridge.core.strict_json import parse_object
from bridge.core.times import timestamp
from bridge.server.http import Problem, answer, base_url, read_body
from share.api.limiter import Limiter, address_key
from share.api.passwords import Passwords
from share.api.public_stream import STREAM_PATH
from share.api.request_models import StrictBody
from share.links.background import BoundedLock
from share.links.links import Links
from share.model.errors import BusyError
from share.model.limits import CODE_BYTES, ShareLimits
from share.model.share import EndReason, Share, Status
from share.stream.entry import Entrance
from share.stream.public_json import share_answer
from share.stream.rooms import Rooms

MAX_INIT_BYTES: Final = 2048
"""A code of 22 characters and a password of 128, each perhaps written as an escape of six."""
RETRY_SECONDS: Final = 6
"""To wait before a retry when the rate is exceeded: until the next wrong password is due."""
log = logging.getLogger(__name__)
_CODE: Final = re.compile(rf"[A-Za-z0-9_-]{{{-(-CODE_BYTES * 8 // 6)}}}")
# A new one each time: an exception that is raised again and again keeps every frame that it came through.
_not_found: Final = partial(Problem, 404, "share_not_found", "no such link; ask for a new one")
_too_often: Final = partial(
    Problem,
    429,
    "rate_limited",
    f"too many requests; try again in {RETRY_SECONDS} s",
    headers={"Retry-After": str(RETRY_SECONDS)},
)
_busy: Final = partial(
    Problem, 503, "busy", "too many requests at this moment; try again", headers={"Retry-After": "2"}
)


class InitBody(StrictBody):
    """The body of ``init``."""

    code: SecretStr
    password: SecretStr | None = None


class PublicRoutes:
    """``init``, and what goes before a stream. Both at a bounded rate for each client address."""

    def __init__(
        self,
        entrance: Entrance,
        links: Links,
        rooms: Rooms,
        passwords: Passwords,
        *,
        admission: Admission,
        address_of: Callable[[web.Request], str],
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        per_minute: float,
        max_streams: int,
        public_url: str = "",
        limits: ShareLimits = ShareLimits(),
    ) -> None:
        """``per_minute`` bounds the calls, and as many new streams, of one address; ``max_streams`` the streams of all
        shares; 0 is no bound. ``admission`` counts refusals; ``address_of`` gives the client address of a request."""
        self._entrance = entrance
        self._links = links
        self._rooms = rooms
        self._passwords = passwords
        self._admission = admission
        self._address_of = address_of
        self._clock = clock
        self._monotonic = monotonic
        self._max_streams = max_streams
        self._public_url = public_url
        self._limits = limits
        self._inits = Limiter(per_minute, limits.max_remembered_addresses)
        self._streams = Limiter(per_minute, limits.max_remembered_addresses)
        self._wrong = Limiter(limits.wrong_passwords_per_minute, limits.max_remembered_addresses)
        self._lookups = 0
        self._checks: WeakValueDictionary[str, BoundedLock] = WeakValueDictionary()
        """By share: held while a password of it is checked, and forgotten when no check waits."""

    def routes(self) -> list[web.RouteDef]:
        """``init``."""
        return [web.post("/api/v1/public/share-location/init", self.init)]

    def gate(self, ip: str) -> web.Response | None:
        """The refusal of one more stream from ``ip``; None lets it in. Asked before the upgrade, which costs more than
        the rest of a refusal."""
        if not self._streams.take(address_key(ip), self._monotonic()):
            self._refuse("public_rate", ip, "see BRIDGE_PUBLIC_REQUESTS_PER_MINUTE, and BRIDGE_TRUSTED_PROXIES")
            return _too_often().response()
        if self._max_streams and self._entrance.viewers >= self._max_streams:
            self._refuse("public_full", ip, "see BRIDGE_MAX_PUBLIC_CONNECTIONS")
            return Problem(
                503, "too_many_connections", "this server has reached its viewer limit; try again later",
                headers={"Retry-After": "30"},
            ).response()  # fmt: skip
        return None

    def _refuse(self, cause: str, ip: str, advice: str) -> None:
        """Count a refusal; log the first of its kind, and after that one line a minute."""
        admission = self._admission
        admission.refuse(cause)
        count = admission.episodes.due(cause, admission.refused[cause], self._monotonic())
        if count:
            log.warning(
                "Public requests refused: %d since the last such line (%s), the last one from %s; %s",
                count, cause, ip, advice,
            )  # fmt: skip

    async def init(self, request: web.Request) -> web.Response:
        """The code of a link, and perhaps a password, for a token."""
        try:
            ip = self._address_of(request)
            if not self._inits.take(address_key(ip), self._monotonic()):
                self._refuse("init_rate", ip, "see BRIDGE_PUBLIC_REQUESTS_PER_MINUTE, and BRIDGE_TRUSTED_PROXIES")
                raise _too_often()
            body = _parse(await read_body(request, MAX_INIT_BYTES, self._limits.body_seconds))
            share = await self._share(body)
            token, expires_at = self._entrance.token_for(share)
            room = self._rooms.get(share.id)
            if room is None:  # it ended while it was being opened
                raise _ended(share)
            base = base_url(request, self._public_url)
            return answer(
                {
                    "token": token,
                    "expires_at": timestamp(expires_at),
                    "share": share_answer(room, share.ends_at, with_positions=not self._entrance.is_full(room)),
                    "stream_url": f"ws{base.removeprefix('http')}{STREAM_PATH}",
                }
            )
        except Problem as problem:
            if problem.code != "rate_limited":  # counted already
                self._admission.refuse(f"init_{problem.code}")
            return problem.response()

    async def _share(self, body: InitBody) -> Share:
        """The open share of the code in ``body``. Problem when there is none, or the password is wrong.

        Without the password nothing of a share is disclosed, not even whether it has ended.
        """
        share = await self._find(body.code.get_secret_value())
        if share.password_hash is not None:
            await self._check_password(share, body.password)
            share = await self._find(body.code.get_secret_value())  # checking a password takes a while
        match share.status(self._clock()):
            case Status.ENDED | Status.REVOKED:
                raise _ended(share)
            case Status.UPCOMING:
                raise Problem(
                    403, "share_not_started", "the share has not started yet", {"starts_at": timestamp(share.starts_at)}
                )
        return share

    async def _find(self, code: str) -> Share:
        """The share of ``code``, also one that has ended. Problem when there is none."""
        if _CODE.fullmatch(code) is None:
            raise _not_found()
        open_here = self._links.find_open_by_code(code)
        if open_here is not None:  # however many lookups wait for the database
            return open_here
        if self._lookups >= self._limits.max_lookups:
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
        """One at a time for each share, so that wrong ones that come together are bounded as well."""
        assert share.password_hash is not None
        if password is None:
            raise Problem(401, "password_required", "this share needs a password")
        lock = self._checks.get(share.id)
        if lock is None:
            lock = self._checks[share.id] = BoundedLock(self._limits.max_waiting_checks, _busy)
        async with lock.held():
            if not self._wrong.has(share.id, self._monotonic()):
                raise _too_often()
            try:
                right = await self._passwords.verify(share.password_hash, password.get_secret_value())
            except BusyError:
                raise _busy() from None
            if not right:
                self._wrong.take(share.id, self._monotonic())
                raise Problem(403, "password_wrong", "wrong password")


def _parse(data: bytes) -> InitBody:
    try:
        return InitBody.model_validate(parse_object(data))
    except ValueError:  # ValidationError is one
        raise Problem(400, "invalid_request", 'send {"code": "…"}, and "password" if there is one') from None


def _ended(share: Share) -> Problem:
    """The answer to a client with the right code: they knew of the share."""
    if share.end_reason is EndReason.REVOKED:
        return Problem(410, "share_revoked", "the share was revoked")
    extra = {"end_reason": share.end_reason.value} if share.end_reason else {}
    return Problem(410, "share_ended", "the share has ended", extra)
