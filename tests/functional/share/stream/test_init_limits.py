"""How often one may ask for a token, and guess a password."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import aiohttp
import pytest
from argon2.exceptions import VerificationError

from share.api.passwords import NO_MEMORY
from share.api.public_routes import RETRY_SECONDS
from share.model.limits import ShareLimits
from tests.functional.share.stream.conftest import StartSharing
from tests.functional.share.stream.served import INIT, STREAM, SharingBridge

SECRET: Final = "correct horse"
WRONG: Final = int(ShareLimits().wrong_passwords_per_minute)
MAX_WAITING_CHECKS: Final = ShareLimits().max_waiting_checks


@pytest.fixture
def start(start: StartSharing) -> StartSharing:
    """Makes servers on which time passes by ``later`` alone."""

    async def start_still(**settings: Any) -> SharingBridge:
        bridge = await start(**settings)
        bridge.ticks.stop()
        return bridge

    return start_still


def later(bridge: SharingBridge, seconds: float) -> None:
    """Move the monotonic clock."""
    bridge.ticks.advance(seconds)


async def ask(bridge: SharingBridge, code: str, forwarded: str | None = None) -> int:
    """Status of one exchange."""
    return (await bridge.init(code, **({} if forwarded is None else {"X-Forwarded-For": forwarded})))[0]


async def test_rate_of_one_address(start: StartSharing) -> None:
    """As many as the setting says at once, then 429 with Retry-After, before anything is looked at; then again."""
    bridge = await start(public_requests_per_minute=5)
    _, code = await bridge.share()
    assert [await ask(bridge, code) for _ in range(6)] == [200] * 5 + [429]
    async with aiohttp.ClientSession() as http:
        for body in (b"nonsense", b'{"code":"unknown"}', b" " * 5000):
            async with http.post(bridge.url(INIT), data=body) as response:
                assert response.status == 429
                assert response.headers["Retry-After"] == str(RETRY_SECONDS)
                assert response.headers["Cache-Control"] == "no-store"
                assert (await response.json())["code"] == "rate_limited"
    later(bridge, 11)
    assert await ask(bridge, code) == 429
    later(bridge, 1.1)
    assert [await ask(bridge, code) for _ in range(2)] == [200, 429]
    later(bridge, 12)
    assert await ask(bridge, code) == 200


async def test_refused_exchanges_count_too(start: StartSharing) -> None:
    """Who tries codes gets no more tries than who has one."""
    bridge = await start(public_requests_per_minute=3)
    _, code = await bridge.share()
    assert [await ask(bridge, f"guess {number}") for number in range(4)] == [404, 404, 404, 429]
    assert await ask(bridge, code) == 429


async def test_no_limit(start: StartSharing) -> None:
    """0 switches it off."""
    bridge = await start(public_requests_per_minute=0)
    _, code = await bridge.share()
    assert {await ask(bridge, code) for _ in range(70)} == {200}


async def test_forged_addresses_are_not_believed(start: StartSharing) -> None:
    """Without TRUSTED_PROXIES the connection's own address counts, whatever X-Forwarded-For says."""
    bridge = await start(public_requests_per_minute=3)
    statuses = [await ask(bridge, "x", f"203.0.113.{number}") for number in range(5)]
    assert statuses == [404, 404, 404, 429, 429]


async def test_addresses_that_a_trusted_proxy_tells(start: StartSharing) -> None:
    """Each client has its own rate; what it has written before the proxy's word changes nothing."""
    bridge = await start(public_requests_per_minute=2, trusted_proxies="127.0.0.0/8")
    for chain in ("203.0.113.1", "9.9.9.9, 203.0.113.1"):
        assert await ask(bridge, "x", chain) == 404
    for chain in ("203.0.113.1", "8.8.8.8, 203.0.113.1", "203.0.113.2, 203.0.113.1"):
        assert await ask(bridge, "x", chain) == 429
    assert await ask(bridge, "x", "203.0.113.2") == 404
    # One subscriber's network of IPv6 is one address, however many it has.
    assert [await ask(bridge, "x", f"2001:db8:0:1::{number}") for number in range(3)] == [404, 404, 429]
    assert await ask(bridge, "x", "2001:db8:0:2::1") == 404


async def test_new_streams_of_one_address(start: StartSharing) -> None:
    """As many as exchanges, counted apart: 429 before the upgrade, and the exchange still works."""
    bridge = await start(public_requests_per_minute=3)
    _, code = await bridge.share()
    token = await bridge.token_of(code)
    for _ in range(3):
        await (await bridge.view(token)).expect("hello")
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await bridge.view(token)
    assert caught.value.status == 429
    assert caught.value.headers is not None
    assert caught.value.headers["Retry-After"] == str(RETRY_SECONDS)
    assert caught.value.headers["Cache-Control"] == "no-store"
    assert await ask(bridge, code) == 200
    await bridge.watch("A")  # a fleet's watcher is not concerned
    later(bridge, 21)
    await (await bridge.view(token)).expect("hello")


async def test_wrong_passwords_of_one_share(start: StartSharing) -> None:
    """From whatever address: ``wrong_passwords_per_minute``, then 429 for the right one too, then one in 6 s."""
    bridge = await start(trusted_proxies="127.0.0.0/8", public_requests_per_minute=1000)
    _, code = await bridge.share(password=SECRET)
    _, other = await bridge.share(password=SECRET)

    async def guess(number: int, password: str) -> int:
        return (await bridge.init(code, password, **{"X-Forwarded-For": f"203.0.113.{number}"}))[0]

    assert [await guess(number, f"guess {number}") for number in range(WRONG)] == [403] * WRONG
    assert await guess(100, "one more") == 429
    assert await guess(101, SECRET) == 429
    assert (await bridge.init(code))[0] == 401
    assert (await bridge.init(other, SECRET))[0] == 200
    later(bridge, 6.1)
    assert [await guess(102, f"again {number}") for number in range(2)] == [403, 429]
    later(bridge, 6.1)
    assert [await guess(103, SECRET) for _ in range(3)] == [200] * 3


async def test_right_passwords_do_not_count(start: StartSharing) -> None:
    """The pages of many viewers come back each few minutes."""
    bridge = await start(public_requests_per_minute=0)
    _, code = await bridge.share(password=SECRET)
    assert {(await bridge.init(code, SECRET))[0] for _ in range(2 * WRONG)} == {200}


async def test_password_that_cannot_be_checked_is_no_wrong_one(
    start: StartSharing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without memory for it: 503 as often as one asks, and no try is used up."""
    bridge = await start(public_requests_per_minute=0)
    _, code = await bridge.share(password=SECRET)

    def fails(*_: object) -> bool:
        raise VerificationError(NO_MEMORY)

    with monkeypatch.context() as patch:
        patch.setattr("argon2.PasswordHasher.verify", fails)
        answers = [await bridge.init(code, SECRET) for _ in range(2 * WRONG)]
    assert {(status, answer["code"]) for status, answer in answers} == {(503, "busy")}
    assert (await bridge.init(code, SECRET))[0] == 200


async def test_wrong_passwords_that_come_together(start: StartSharing) -> None:
    """However many are sent at once, no more are tried than one after the other, also when one try is left."""
    bridge = await start(public_requests_per_minute=0)
    _, code = await bridge.share(password=SECRET)
    tried = 0
    for _ in range(3):
        answers = await asyncio.gather(*(bridge.init(code, f"guess {number}") for number in range(40)))
        codes = [answer["code"] for _, answer in answers]
        assert set(codes) <= {"password_wrong", "rate_limited", "busy"}
        tried += codes.count("password_wrong")
        later(bridge, 6.1)
    assert WRONG <= tried <= WRONG + 4


async def test_one_share_does_not_use_up_the_password_checks_of_all(start: StartSharing) -> None:
    """Above ``max_waiting_checks`` the answer is 503; another share is served meanwhile."""
    bridge = await start(public_requests_per_minute=0)
    _, code = await bridge.share(password=SECRET)
    _, other = await bridge.share(password=SECRET)
    many = [bridge.init(code, SECRET) for _ in range(3 * MAX_WAITING_CHECKS)]
    answers = await asyncio.gather(*many, bridge.init(other, SECRET))
    statuses = [status for status, _ in answers]
    assert statuses[-1] == 200
    assert statuses.count(200) >= MAX_WAITING_CHECKS
    assert set(statuses) <= {200, 503}
    assert (await bridge.init(code, SECRET))[0] == 200


async def test_flood_of_streams_with_bad_tokens_is_limited(start: StartSharing) -> None:
    """A token that opens nothing costs its sender as much of the rate as a good one."""
    bridge = await start(public_requests_per_minute=2)
    for _ in range(2):
        client = await bridge.connect(STREAM, "nonsense")
        assert (await client.end())[0] == 1008
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await bridge.connect(STREAM, "nonsense")
    assert caught.value.status == 429
