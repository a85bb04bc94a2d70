"""Who may make a REST call: origin, token, scope, in this order."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from multidict import CIMultiDict

from bridge.access.advice import TOKEN_ADVICE
from bridge.access.origins import OriginPolicy
from bridge.access.principal import Principal
from bridge.core.device_ids import Allowed
from bridge.core.errors import TokenError
from bridge.server.callers import Callers
from bridge.server.http import Problem

ANA = Principal("ana", None, Allowed(()), scopes=frozenset({"share"}))


def verify(token: str | None) -> Principal:
    """Knows one token; any other one is refused by its own name."""
    if token != "ana's":
        raise TokenError(token or "token_required")
    return ANA


def called(*scopes: str, **headers: str) -> Principal:
    """The caller of a request with these headers."""
    sent = {"Host": "bridge.example.com", **{name.replace("_", "-"): value for name, value in headers.items()}}
    request: Any = SimpleNamespace(headers=CIMultiDict(sent))
    return Callers(OriginPolicy((), loopback_only=False), verify).principal(request, *scopes)


def refused(*scopes: str, **headers: str) -> tuple[int, str]:
    """Status and code of the refusal."""
    with pytest.raises(Problem) as caught:
        called(*scopes, **headers)
    return caught.value.status, caught.value.code


@pytest.mark.parametrize("scopes", [("share",), ("admin", "share")])
def test_caller_is_the_holder_of_the_token_with_any_of_the_scopes(scopes: tuple[str, ...]) -> None:
    """One of them is enough, and the server's own pages may call."""
    assert called(*scopes, Authorization="Bearer ana's", Origin="https://bridge.example.com") is ANA


def test_foreign_page_is_refused_before_its_token_is_looked_at() -> None:
    """A page learns nothing of a token that it should not have."""
    assert refused("share", Origin="https://evil.example.com", Authorization="Bearer x") == (403, "origin_refused")


@pytest.mark.parametrize("code", ["token_required", "token_invalid", "token_expired", "token_not_yet_valid"])
def test_each_refusal_of_a_token_says_what_to_do(code: str) -> None:
    """401 with the code of the stream, its advice, and how to authenticate."""
    with pytest.raises(Problem) as caught:
        called("share", Authorization=f"Bearer {code}")
    assert (caught.value.status, caught.value.code) == (401, code)
    assert caught.value.headers["WWW-Authenticate"] == "Bearer"
    assert (caught.value.message == TOKEN_ADVICE[code]) is (code != "token_required")


def test_token_in_a_cookie_or_a_subprotocol_is_no_token() -> None:
    """Other pages could make a browser send it."""
    assert refused("share", Cookie="telemetry_bridge_token=ana's") == (401, "token_required")
    assert refused("share", Sec_WebSocket_Protocol="bearer.ana's") == (401, "token_required")


def test_scope_that_lacks_is_named() -> None:
    """The first of those that would do."""
    with pytest.raises(Problem, match="scope_missing") as caught:
        called("ingest", "admin", Authorization="Bearer ana's")
    assert "`ingest`" in caught.value.message
