"""Who calls over HTTP: the page's origin and the bearer token, checked once for every call that needs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aiohttp import web
from multidict import CIMultiDict

from bridge.access.authenticator import Authenticator
from bridge.access.credentials import find_credential
from bridge.access.origins import OriginPolicy
from bridge.access.principal import Principal
from bridge.core.errors import TokenError
from bridge.server.http import Problem

_ADVICE: Final = {
    "token_required": "present an access token: Authorization: Bearer …",
    "token_invalid": "not a token of this server; get a new one",
    "token_expired": "the token has expired; get a new one",
    "token_not_yet_valid": "the token is not valid yet; check the clocks",
}


class BearerGuard:
    """Admits requests with an access token in the ``Authorization`` header.

    Only there: a cookie would let foreign pages act for their visitor (CSRF), and a URL with a token in it ends up in
    histories.
    """

    def __init__(
        self,
        origins: OriginPolicy,
        authenticator: Authenticator | None,
        anonymous: Principal,
        clock: Callable[[], float],
    ) -> None:
        """Without an ``authenticator`` (AUTH=off) everyone is ``anonymous``. ``clock`` is wall-clock."""
        self._origins = origins
        self._authenticator = authenticator
        self._anonymous = anonymous
        self._clock = clock

    def principal(self, request: web.Request, scope: str) -> Principal:
        """Who calls, with ``scope`` or ``admin``. Problem 401 or 403 for everyone else."""
        if not self._origins.permits(request.headers):
            raise Problem(
                403, "origin_refused", "foreign origins are rejected; this one is not in BRIDGE_ALLOWED_ORIGINS"
            )
        principal = self._anonymous if self._authenticator is None else self._verified(request, self._authenticator)
        if principal.scopes.isdisjoint({scope, "admin"}):
            raise Problem(403, "scope_missing", f"the token lacks the scope `{scope}`")
        return principal

    def _verified(self, request: web.Request, authenticator: Authenticator) -> Principal:
        sent = CIMultiDict(("Authorization", value) for value in request.headers.getall("Authorization", ()))
        try:
            return authenticator.verify(find_credential(sent, {}, {}), self._clock())
        except TokenError as error:
            headers = {"WWW-Authenticate": "Bearer"}
            raise Problem(401, error.code, _ADVICE.get(error.code, "get a new token"), headers=headers) from None
