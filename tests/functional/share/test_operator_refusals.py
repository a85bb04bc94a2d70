"""Who may not ask, and what is not answered as asked: each with its status, its code, and nothing changed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from share.api.operator_routes import PATH
from share.model.limits import MAX_BODY_BYTES, ShareLimits
from tests.functional.share.operators import Operators, operators, untouched
from tests.stored import FakeStore

BODY = {"device_ids": ["A"], "expires_in": 3600}
NOBODY = "0" * 12


@pytest.fixture
async def office() -> AsyncIterator[Operators]:
    """A server whose database is a fake one."""
    async with operators() as made:
        yield made


async def every_call(office: Operators, share_id: str, **options: Any) -> set[tuple[int, str]]:
    """Status and code of each call, all refused."""
    path = f"/{share_id}"
    calls: list[tuple[str, str, Any]] = [
        ("POST", "", BODY), ("GET", "", None), ("GET", path, None), ("PATCH", path, {"label": "x"}),
        ("DELETE", path, None),
    ]  # fmt: skip
    return {await office.refused(*call, **options) for call in calls}


# --- credentials ----------------------------------------------------------------------------------------


async def test_token_is_needed_and_must_be_good(office: Operators) -> None:
    """401 with the code that the stream uses too, and how to authenticate."""
    share = await office.make()
    cases = {
        "": "token_required",
        "v4.local.AAAA": "token_invalid",
        office.ana[:-2]: "token_invalid",
        office.token(since=-7200): "token_expired",
        office.token(since=3600): "token_not_yet_valid",
    }
    for token, code in cases.items():
        assert await every_call(office, share["id"], token=token) == {(401, code)}
    _, _, headers = await office.call("GET", token="")
    assert headers["WWW-Authenticate"] == "Bearer"
    await untouched(office, share)


async def test_token_counts_in_the_authorization_header_alone(office: Operators) -> None:
    """A cookie would let any page make shares (CSRF); an address is kept in histories."""
    assert await office.refused("GET", token="", cookies={"telemetry_bridge_token": office.ana}) == (
        401,
        "token_required",
    )
    assert await office.refused("GET", token="", query={"token": office.ana}) == (401, "token_required")
    offered = {"Sec-WebSocket-Protocol": f"bearer.{office.ana}"}
    assert await office.refused("GET", token="", headers=offered) == (401, "token_required")
    assert await office.refused("GET", token="", headers={"Authorization": f"Basic {office.ana}"}) == (
        401, "token_required",
    )  # fmt: skip


async def test_two_tokens_are_none(office: Operators) -> None:
    """Each part of a chain of proxies could pick another."""
    url = office.server.make_url(PATH)
    sent = [("Authorization", f"Bearer {office.ana}"), ("Authorization", f"Bearer {office.token(subject='eve')}")]
    async with aiohttp.ClientSession() as http, http.get(url, headers=sent) as answer:
        assert (answer.status, (await answer.json())["code"]) == (401, "token_invalid")


async def test_scope_is_needed(office: Operators) -> None:
    """``share`` or ``admin``; leave to watch is not leave to publish."""
    share = await office.make()
    for scopes in (("stream",), (), ("publish", "ingest")):
        token = office.token(scopes=scopes)
        assert await every_call(office, share["id"], token=token) == {(403, "scope_missing")}
    await untouched(office, share)
    assert (await office.call("GET", token=office.token(scopes=("admin",))))[0] == 200


async def test_pages_of_others_may_not_ask(office: Operators) -> None:
    """Even with a good token; the own page may."""
    share = await office.make()
    for origin in ("https://evil.example", "null"):
        assert await every_call(office, share["id"], headers={"Origin": origin}) == {(403, "origin_refused")}
    own = str(office.server.make_url("/")).rstrip("/")
    assert (await office.call("GET", headers={"Origin": own}))[0] == 200
    await untouched(office, share)


async def test_without_authentication_only_loopback_may_ask() -> None:
    """AUTH=off: no token, and no name that was pointed at this machine (DNS rebinding)."""
    async with operators(auth="off", access_keys="") as office:
        share = await office.make(token="")
        assert share["owner"] == "anonymous"
        assert await every_call(office, share["id"], token="", headers={"Host": "evil.example"}) == {
            (403, "origin_refused")
        }


# --- whose share, whose device ----------------------------------------------------------------------------


async def test_share_of_a_device_that_the_token_does_not_allow_is_not_made(office: Operators) -> None:
    """Unknown and forbidden are not told apart; one of many is enough."""
    for devices in (["C"], ["A", "C"], ["unknown"], ["A", "B", "c"]):
        assert await office.refused("POST", "", {**BODY, "device_ids": devices}) == (403, "not_allowed")
    everything = office.token("*")
    await office.make("C", "anything", token=everything)


@pytest.mark.parametrize(
    "subject, scopes, devices, sees",
    [
        ("ana", ("share",), ("A", "B"), True),
        ("ana", ("share",), ("*",), True),
        ("ana", ("share",), ("A",), False),
        ("ana", ("share",), ("C",), False),
        ("eve", ("share",), ("A", "B"), False),
        ("eve", ("share",), ("*",), False),
        ("eve", ("admin",), ("A", "B"), True),
        ("eve", ("admin", "share"), ("*",), True),
        ("eve", ("admin",), ("B",), False),
        ("Ana", ("share",), ("*",), False),
    ],
)
async def test_share_is_its_owners_and_the_admins(
    office: Operators, subject: str, scopes: tuple[str, ...], devices: tuple[str, ...], sees: bool
) -> None:
    """A caller who may not see all of it gets the answer for one that does not exist."""
    share = await office.make("A", "B")
    token = office.token(*devices, subject=subject, scopes=scopes)
    path = f"/{share['id']}"
    _, page, _ = await office.call("GET", token=token)
    assert [found["id"] for found in page["shares"]] == ([share["id"]] if sees else [])
    calls: list[tuple[str, Any]] = [("GET", None), ("PATCH", {"label": "x"}), ("DELETE", None)]
    for method, body in calls:
        status, answer, _ = await office.call(method, path, body, token=token)
        assert status == (200 if sees else 404)
        if not sees:
            assert (status, answer) == (await office.call(method, f"/{NOBODY}", body, token=token))[:2]
    if not sees:
        await untouched(office, share)


@pytest.mark.parametrize("share_id", [NOBODY, "x", "0" * 5000, "%2e%2e", "a%00b", "{}", "'%20OR%201", "ABCDEF012345"])
async def test_unknown_share_is_not_found(office: Operators, share_id: str) -> None:
    """Whatever stands in its place; the database is asked for ids alone."""
    for method, body in (("GET", None), ("PATCH", {"label": "x"}), ("DELETE", None)):
        assert await office.refused(method, f"/{share_id}", body) == (404, "share_not_found")
    assert ("by_id" in office.store.calls) == (share_id == NOBODY)


@pytest.mark.parametrize("path", ["/", "/a/b", "/a/", "//", f"/{NOBODY}/viewers"])
async def test_nothing_else_is_below(office: Operators, path: str) -> None:
    """In JSON, like all else here."""
    assert await office.refused("GET", path) == (404, "not_found")


async def test_other_methods_are_told_which_there_are(office: Operators) -> None:
    """405 with Allow."""
    async with aiohttp.ClientSession() as http:
        for path, allowed in ((PATH, {"GET", "HEAD", "POST"}), (f"{PATH}/x", {"GET", "HEAD", "PATCH", "DELETE"})):
            async with http.put(office.server.make_url(path)) as answer:
                assert answer.status == 405
                assert set(answer.headers["Allow"].split(",")) == allowed


# --- bodies ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonx"])
async def test_body_must_be_declared_json(office: Operators, media: str) -> None:
    """What a form of another page can send is refused."""
    share = await office.make()
    sent = {"Content-Type": media}
    assert await office.refused("POST", "", BODY, headers=sent) == (415, "unsupported_media_type")
    assert await office.refused("PATCH", f"/{share['id']}", {"label": "x"}, headers=sent) == (
        415, "unsupported_media_type",
    )  # fmt: skip
    await untouched(office, share)


async def test_compressed_body_is_refused(office: Operators) -> None:
    """A few bytes may unpack to any number."""
    sent = {"Content-Encoding": "gzip"}
    assert await office.refused("POST", "", b"\x1f\x8b", headers=sent) == (415, "unsupported_media_type")


async def test_body_is_bounded(office: Operators) -> None:
    """By its declared length, and as it comes."""
    large = json.dumps({**BODY, "label": "x" * MAX_BODY_BYTES}).encode()

    async def dripping() -> AsyncIterator[bytes]:
        for start in range(0, len(large), 1000):
            yield large[start : start + 1000]

    assert await office.refused("POST", "", large) == (413, "too_large")
    url, sent = office.server.make_url(PATH), {"Authorization": f"Bearer {office.ana}"}
    sent["Content-Type"] = "application/json; charset=utf-8"
    async with aiohttp.ClientSession() as http, http.post(url, headers=sent, data=dripping()) as answer:
        assert (answer.status, (await answer.json())["code"]) == (413, "too_large")


async def test_slow_body_is_given_up() -> None:
    """The connection is not held for a client that sends nothing."""
    never = asyncio.Event()

    async def stalled() -> AsyncIterator[bytes]:
        yield b"{"
        await never.wait()

    async with operators(FakeStore(), ShareLimits(body_seconds=0.05)) as office:
        url, sent = office.server.make_url(PATH), {"Authorization": f"Bearer {office.ana}"}
        sent["Content-Type"] = "application/json"
        async with aiohttp.ClientSession() as http, http.post(url, headers=sent, data=stalled()) as answer:
            assert (answer.status, (await answer.json())["code"]) == (408, "too_slow")


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{", b'{"device_ids":["A"],"device_ids":["B"]}', {}, {"x": 1}])
async def test_wrong_body_is_refused_in_words(office: Operators, body: Any) -> None:
    """What is wrong with each field is tested with the bodies."""
    share = await office.make()
    assert await office.refused("POST", "", body) == (400, "invalid_request")
    assert await office.refused("PATCH", f"/{share['id']}", body) == (400, "invalid_request")
    await untouched(office, share)
