"""Which web pages may connect."""

from __future__ import annotations

import pytest

from bridge.access.origins import OriginPolicy
from bridge.core.addresses import check_origin

ALLOWED = [check_origin("https://app.example.com"), check_origin("http://localhost:5173")]
HOST = "bridge.example.com:8443"


def permits(
    origin: str | None, host: str | None = HOST, *, loopback_only: bool = False, allowed: list[str] = ALLOWED
) -> bool:
    """What the policy says of a request with these headers."""
    headers = {name: value for name, value in (("Host", host), ("Origin", origin)) if value is not None}
    return OriginPolicy(allowed, loopback_only=loopback_only).permits(headers)


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "https://app.example.com",
        "HTTPS://APP.example.com",
        "http://localhost:5173",
        f"https://{HOST}",
        f"http://{HOST}",
    ],
)
def test_listed_and_own_origins_may_connect(origin: str | None) -> None:
    """The list, the server's own pages, and programs, which send no Origin."""
    assert permits(origin)


@pytest.mark.parametrize(
    "origin",
    ["", "null", "https://evil.example", "https://app.example.com.evil", "https://evilapp.example.com",
     "https://example.com",
     "https://x.app.example.com", "https://app.example.com:8443", "http://app.example.com", "https://app.example.com/",
     "https://app.example.com@evil.example", "https://evil.example#https://app.example.com", "http://localhost:5174",
     "http://localhost",
     "https://bridge.example.com", "https://app.example.com https://evil.example",
     "https://app.example.com, https://evil.example",
     "ws://bridge.example.com:8443", "https://bridge.example.com:8443.evil", "*", "https://*"],
)  # fmt: skip
def test_every_other_origin_is_refused(origin: str) -> None:
    """Suffixes, sub-domains, other ports and schemes, lists, null: an origin is compared as a whole."""
    assert not permits(origin)


def test_with_a_public_url_that_alone_is_the_own_origin() -> None:
    """Who reaches the server by another name, such as one of an attacker's, has another origin."""
    policy = OriginPolicy(ALLOWED, loopback_only=False, public_url="https://public.example.com", tls=True)
    for origin in ("https://public.example.com", *ALLOWED):
        assert policy.permits({"Host": HOST, "Origin": origin})
    for origin in (f"https://{HOST}", f"http://{HOST}", "http://public.example.com"):
        assert not policy.permits({"Host": HOST, "Origin": origin})


def test_with_tls_a_page_that_came_without_is_not_our_own() -> None:
    """Anyone on the way may have written it."""
    policy = OriginPolicy(ALLOWED, loopback_only=False, tls=True)
    assert policy.permits({"Host": HOST, "Origin": f"https://{HOST}"})
    assert not policy.permits({"Host": HOST, "Origin": f"http://{HOST}"})


def test_null_passes_only_where_it_is_listed() -> None:
    """A sandboxed frame or a local file: anyone can make one, so it takes a decision."""
    assert permits("null", allowed=["null"])
    assert not permits("https://evil.example", allowed=["null"])


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1:8000", "[::1]:8000", "LOCALHOST", "127.0.0.1"])
@pytest.mark.parametrize("with_origin", [False, True])
def test_loopback_server_serves_loopback_names(host: str, with_origin: bool) -> None:
    """AUTH=off: the browser's bar says localhost, and so does Host."""
    assert permits(f"http://{host}" if with_origin else None, host, loopback_only=True)


@pytest.mark.parametrize(
    "host",
    [None, "", ":8000", "evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example",
     "localhost@evil.example",
     "192.168.1.2:8000", "0.0.0.0:8000", "[::]:8000", "[::1", "]", "[localhost", "[127.0.0.1.evil.example]", "\u2100"],
)  # fmt: skip
def test_name_that_was_pointed_at_this_machine_is_refused(host: str | None) -> None:
    """DNS rebinding: page and request agree on the attacker's name, for 127.0.0.1. Never an exception."""
    assert not permits(f"http://{host}", host, loopback_only=True)
    assert not permits(None, host, loopback_only=True)


def test_listed_origin_does_not_excuse_a_foreign_host() -> None:
    """AUTH=off needs both: a loopback name, and a page that may connect."""
    assert not permits("https://app.example.com", "evil.example", loopback_only=True)
    assert permits("https://app.example.com", "localhost:8000", loopback_only=True)
    assert not permits("https://evil.example", "localhost:8000", loopback_only=True)
