"""The operators' calls of share links over HTTP: create, list, show, change, revoke."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final, Protocol

from aiohttp import web

from bridge.access.principal import Principal
from bridge.core.errors import StorageError
from bridge.server.callers import Callers
from bridge.server.http import Problem, answer, base_url, read_body
from share.api.requests import parse_changes, parse_draft, share_json
from share.links.links import Links
from share.model.draft import InvalidRequestError, ShareEndedError, TooManySharesError
from share.model.errors import BusyError
from share.model.limits import DEFAULT_PAGE, ID_BYTES, MAX_BODY_BYTES, MAX_PAGE, ShareLimits
from share.model.share import Share, Status

PATH: Final = "/api/v1/shares"
SCOPES: Final = ("share", "admin")
"""Either is enough; ``admin`` sees every owner's shares."""
BUSY_SECONDS: Final = 2
"""To wait before a retry when too many passwords are being hashed: each takes a fraction of a second."""
_ID: Final = re.compile(rf"[0-9a-f]{{{2 * ID_BYTES}}}")
_LIMIT: Final = re.compile(r"[0-9]{1,4}")

_REFUSALS: Final[Mapping[type[Exception], Callable[[], Problem]]] = {
    ShareEndedError: partial(
        Problem, 409, "share_ended", "the share has ended and cannot be changed; create a new one"
    ),
    TooManySharesError: partial(
        Problem, 403, "too_many_shares", "the limit of open shares is reached: revoke some, or raise BRIDGE_MAX_SHARES"
    ),
    BusyError: partial(
        Problem,
        503,
        "busy",
        "too many passwords are being hashed right now; try again",
        headers={"Retry-After": str(BUSY_SECONDS)},
    ),
    StorageError: Problem.storage,
}
"""What else a call may raise → its answer."""

Handler = Callable[[web.Request, Principal], Awaitable[web.Response]]


class Hasher(Protocol):
    """Hashes passwords; BusyError when too many wait."""

    async def hash(self, password: str, /) -> str:
        """The password's hash. BusyError: nothing was hashed."""


class OperatorRoutes:
    """The calls below ``/api/v1/shares``.

    Each needs an access token with scope ``share``. No body, code or name reaches the log.
    """

    def __init__(
        self,
        callers: Callers,
        links: Links,
        passwords: Hasher,
        *,
        clock: Callable[[], float],
        max_seconds: float,
        public_url: str = "",
        limits: ShareLimits = ShareLimits(),
    ) -> None:
        """``clock`` is wall-clock; ``max_seconds`` bounds the life of a share; links begin with ``public_url``."""
        self._callers = callers
        self._links = links
        self._passwords = passwords
        self._clock = clock
        self._max_seconds = max_seconds
        self._public_url = public_url
        self._body_seconds = limits.body_seconds

    def routes(self) -> list[web.RouteDef]:
        """All calls, and a JSON 404 for other paths below."""
        one = PATH + "/{id:[^/]+}"
        return [
            web.post(PATH, self._guarded(self.create)),
            web.get(PATH, self._guarded(self.list)),
            web.get(one, self._guarded(self.show)),
            web.patch(one, self._guarded(self.change)),
            web.delete(one, self._guarded(self.revoke)),
            # Not all paths: an unknown method of a path above must stay a 405.
            web.route("*", PATH + "/{rest:(?:[^/]*/.*)?}", self.not_found),
        ]

    def _guarded(self, handler: Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def guarded(request: web.Request) -> web.Response:
            try:
                return await handler(request, self._callers.principal(request, *SCOPES))
            except Problem as problem:
                return problem.response()
            except InvalidRequestError as error:
                return Problem(400, error.code, error.message).response()
            except tuple(_REFUSALS) as error:
                return next(make for kind, make in _REFUSALS.items() if isinstance(error, kind))().response()

        return guarded

    # --- the calls --------------------------------------------------------------------------------------

    async def create(self, request: web.Request, principal: Principal) -> web.Response:
        """201 with the share and, this once, the ``url`` of its link."""
        _check_query(request)
        base = base_url(request, self._public_url)
        draft, password = parse_draft(await self._body(request), self._clock(), self._max_seconds)
        if not _allows(principal, draft.grant.device_ids):
            raise Problem(403, "not_allowed", "the token does not allow one of these devices")
        if password is not None:
            draft = replace(draft, password_hash=await self._passwords.hash(password))
        share, code = await self._links.create(principal.subject, draft)
        body = {**self._json(share), "url": f"{base}/s/{code}"}
        return answer(body, 201, {"Location": f"{PATH}/{share.id}"})

    async def list(self, request: web.Request, principal: Principal) -> web.Response:
        """The shares that the caller may see, newest first. A page may be short; the last one has ``next`` null."""
        _check_query(request, "status", "limit", "after")
        status, limit, after = (request.query.get(name) for name in ("status", "limit", "after"))
        if status is not None and status not in set(Status):
            raise InvalidRequestError(f"`status` must be one of {', '.join(Status)}")
        if limit is not None and (_LIMIT.fullmatch(limit) is None or not 1 <= int(limit) <= MAX_PAGE):
            raise InvalidRequestError(f"`limit` must be a whole number from 1 to {MAX_PAGE}")
        if after is not None and _ID.fullmatch(after) is None:
            raise InvalidRequestError("`after` must be the `next` of the page before")
        page = await self._links.list(
            None if "admin" in principal.scopes else principal.subject,
            None if status is None else Status(status),
            DEFAULT_PAGE if limit is None else int(limit),
            after,
        )
        seen = [self._json(share) for share in page.shares if _sees(principal, share)]
        return answer({"shares": seen, "next": page.after})

    async def show(self, request: web.Request, principal: Principal) -> web.Response:
        """The share."""
        _check_query(request)
        return answer(self._json(await self._find(request, principal)))

    async def change(self, request: web.Request, principal: Principal) -> web.Response:
        """The share, changed; all that the body names or nothing."""
        _check_query(request)
        share = await self._find(request, principal)
        body, now = await self._body(request), self._clock()
        if share.has_ended(now):
            raise ShareEndedError
        changes, password = parse_changes(body, share, now, self._max_seconds)
        if password is not None:
            changes = replace(changes, password_hash=await self._passwords.hash(password))
        return answer(self._json(await self._links.change(share, changes)))

    async def revoke(self, request: web.Request, principal: Principal) -> web.Response:
        """The share, ended: revoked, or as it had ended before. Its viewers are closed before this is answered."""
        _check_query(request)
        share = await self._find(request, principal)
        return answer(self._json(await self._links.revoke(share)))

    async def not_found(self, _request: web.Request) -> web.Response:
        """404 for all other paths below."""
        return Problem(404, "not_found", f"nothing here; shares are at {PATH}").response()

    # --- what they share --------------------------------------------------------------------------------

    async def _find(self, request: web.Request, principal: Principal) -> Share:
        """The share in the path. Problem 404 also for one that the caller may not see."""
        share_id = request.match_info["id"]
        share = await self._links.find(share_id) if _ID.fullmatch(share_id) else None
        if share is None or not _sees(principal, share):
            raise Problem(404, "share_not_found", "no such share; list yours with GET " + PATH)
        return share

    async def _body(self, request: web.Request) -> bytes:
        if request.content_type != "application/json":
            raise Problem(415, "unsupported_media_type", "send JSON with Content-Type: application/json")
        return await read_body(request, MAX_BODY_BYTES, self._body_seconds)

    def _json(self, share: Share) -> dict[str, Any]:
        links = self._links
        return share_json(share, self._clock(), links.viewers(share.id), links.pending_viewers(share.id))


def _sees(principal: Principal, share: Share) -> bool:
    mine = share.owner == principal.subject or "admin" in principal.scopes
    return mine and _allows(principal, share.grant.device_ids)


def _allows(principal: Principal, device_ids: tuple[str, ...]) -> bool:
    return all(device_id in principal.allowed for device_id in device_ids)


def _check_query(request: web.Request, *known: str) -> None:
    """Parameters that we know, each once."""
    if not request.query.keys() <= set(known):
        raise InvalidRequestError(
            f"known parameters are: {', '.join(known)}" if known else "this call takes no parameters"
        )
    if len(request.query) > len(set(request.query)):
        raise InvalidRequestError("each parameter must be given once")
