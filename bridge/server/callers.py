"""Who makes a REST call: the page's origin, then the token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aiohttp import web
from multidict import CIMultiDict

from bridge.access.advice import TOKEN_ADVICE
from bridge.access.credentials import find_credential
from bridge.access.origins import OriginPolicy
from bridge.access.principal import Principal
from bridge.core.errors import TokenError
from bridge.server.http import Problem

_ADVICE: Final = TOKEN_ADVICE | {"token_required": "present an access token: Authorization: Bearer …"}


class Callers:
    """Answers who makes a REST call, and refuses those that may not.

    The token comes in the ``Authorization`` header alone: a cookie would let other pages act for their visitors
    (CSRF), and a URL with a token is written into histories.
    """

    def __init__(self, origins: OriginPolicy, verify: Callable[[str | None], Principal]) -> None:
        """``verify`` gives the holder of a token now, or raises TokenError."""
        self._origins = origins
        self._verify = verify

    def principal(self, request: web.Request, *scopes: str) -> Principal:
        """The caller, who has one of ``scopes`` at least.

        Problem 403 ``origin_refused`` for a web page that may not call, 401 with the TokenError's code for a token
        that is not accepted, 403 ``scope_missing`` that names the first of ``scopes``.
        """
        if not self._origins.permits(request.headers):
            raise Problem(
                403, "origin_refused", "this web page may not call; its origin is not in BRIDGE_ALLOWED_ORIGINS"
            )
        sent = CIMultiDict(("Authorization", value) for value in request.headers.getall("Authorization", ()))
        try:
            principal = self._verify(find_credential(sent, {}, {}))
        except TokenError as error:
            challenge = {"WWW-Authenticate": "Bearer"}
            raise Problem(401, error.code, _ADVICE[error.code], headers=challenge) from None
        if principal.scopes.isdisjoint(scopes):
            raise Problem(403, "scope_missing", f"the token lacks the scope `{scopes[0]}`")
        return principal
