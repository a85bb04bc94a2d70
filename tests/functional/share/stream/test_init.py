"""The exchange of a link's code for a token: what is answered, and what is not told."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any, Final

import aiohttp

from bridge.core.times import timestamp
from share.api import public_routes
from share.api.passwords import Passwords
from share.model.draft import Changes
from tests.functional.share.stream.conftest import StartSharing
from tests.functional.share.stream.served import FILE, INIT, QUICK, STREAM, SharingBridge, broken_database, seed

LABEL: Final = "Delivery of the piano"
UNKNOWN = "A" * 22
"""What a code looks like that was never given."""
SECRET: Final = "correct horse"


async def post(bridge: SharingBridge, body: object, **headers: str) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, body and headers of an answer of ``init``."""
    async with aiohttp.ClientSession() as http, http.post(bridge.url(INIT), json=body, headers=headers) as response:
        return response.status, await response.json(), dict(response.headers)


async def test_answer_has_all_that_the_page_needs(bridge: SharingBridge) -> None:
    """Token, its end, the share as its grant says, and where the stream is; never kept by a cache."""
    bridge.publish(seed("truck-7", lat=1.23456, time=timestamp(bridge.clock())))
    share, code = await bridge.share("truck-7", "truck-8", label=LABEL, ttl=900, trail=7)
    before = bridge.clock()
    # Milliseconds are cut off, and must not lead to before the share's start.
    bridge.publish(seed("truck-7", lat=1.23456, time=timestamp(before + 1)))
    status, answer, headers = await post(bridge, {"code": code})
    assert status == 200
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Type"] == "application/json"
    assert set(answer) == {"token", "expires_at", "share", "stream_url"}
    assert answer["token"].startswith("v4.local.")
    assert timestamp(before + 600) <= answer["expires_at"] <= timestamp(bridge.clock() + 600)
    assert answer["stream_url"] == f"ws://127.0.0.1:{bridge.port}{STREAM}"
    told = answer["share"]
    position = told["devices"][0].pop("position")
    assert position["lat"] == 1.23456
    assert told == {
        "label": LABEL,
        "starts_at": timestamp(share.starts_at),
        "ends_at": timestamp(share.ends_at),
        "devices": [{"alias": "Van 1"}, {"alias": "Van 2", "position": None}],
        "destination": None,
        "end_on_arrival": False,
        "precision_m": 0.0,
        "delay_s": 0.0,
        "trail": 7,
    }
    assert "truck" not in str(answer)
    assert share.id not in str(answer)


async def test_position_is_the_projected_one(bridge: SharingBridge) -> None:
    """On the grid and with the granted fields only; with a delay there is none before it has passed."""
    _, coarse = await bridge.share("A", precision_m=1000.0, fields=frozenset({"speed_kmh"}))
    _, delayed = await bridge.share("A", delay_s=60.0)
    bridge.publish(seed("A", lat=1.23456, lon=-70.98765, speed=47.0))
    position = (await bridge.init(coarse))[1]["share"]["devices"][0]["position"]
    assert set(position) == {"lat", "lon", "speed_kmh"}
    assert position["speed_kmh"] == 50.0
    assert 0 < abs(position["lat"] - 1.23456) < 0.01
    assert (await bridge.init(delayed))[1]["share"]["devices"] == [{"alias": "Van 1", "position": None}]


async def test_token_never_outlives_the_share(bridge: SharingBridge) -> None:
    """A share with a minute to go gives a token of a minute."""
    share, code = await bridge.share(ttl=60)
    assert (await bridge.init(code))[1]["expires_at"] == timestamp(share.ends_at)


async def test_every_token_is_another(bridge: SharingBridge) -> None:
    """Two viewers of one share cannot be told apart by nothing, nor use up each other's token."""
    _, code = await bridge.share()
    assert await bridge.token_of(code) != await bridge.token_of(code)


# --- what a code that does not work gets --------------------------------------------------------------

SHAPES: Final = [
    "x",
    "",
    " ",
    "A" * 22,
    "A" * 64,
    "A" * 1500,
    "../../etc/passwd",
    "' OR 1=1 --",
    "%00",
    "\x00",
    "é" * 22,
    "😀",
    "v4.local.abc",
    "null",
]


async def test_unknown_codes_of_any_shape_are_one(start: StartSharing) -> None:
    """Byte for byte the same answer, beside a password too, also for a code with its case changed or its end cut."""
    bridge = await start(public_requests_per_minute=0)
    share, code = await bridge.share(label=LABEL, password=SECRET)
    near = [code.swapcase(), code[:-1], f"{code} ", f" {code}", f"{code}\n", share.id, share.code_hash]
    seen = set()
    async with aiohttp.ClientSession() as http:
        for shape in [*SHAPES, *near]:
            for body in ({"code": shape}, {"code": shape, "password": SECRET}, {"code": shape, "password": None}):
                async with http.post(bridge.url(INIT), json=body) as response:
                    head = {name: value for name, value in response.headers.items() if name != "Date"}
                    seen.add((response.status, await response.text(), str(head)))
    assert len(seen) == 1
    status, text, headers = seen.pop()
    assert status == 404
    assert '"share_not_found"' in text
    assert "no-store" in headers


async def test_upcoming_share_says_when_it_begins_and_nothing_else(bridge: SharingBridge) -> None:
    """403 with ``starts_at``, and a token as soon as it has come."""
    share, code = await bridge.share(since=120, label=LABEL)
    status, answer, headers = await post(bridge, {"code": code})
    assert (status, answer["code"]) == (403, "share_not_started")
    assert set(answer) == {"code", "message", "starts_at"}
    assert answer["starts_at"] == timestamp(share.starts_at)
    assert headers["Cache-Control"] == "no-store"
    bridge.clock.advance(121)
    assert (await bridge.init(code))[0] == 200


async def test_share_whose_time_is_over(bridge: SharingBridge) -> None:
    """410 from the moment of its end, in memory and out of the database, with no reason given."""
    _, code = await bridge.share(ttl=60, label=LABEL)
    bridge.clock.advance(60)
    for _ in range(2):
        status, answer, headers = await post(bridge, {"code": code})
        assert (status, answer["code"], set(answer)) == (410, "share_ended", {"code", "message"})
        assert headers["Cache-Control"] == "no-store"
        bridge.streaming.deadlines.enforce()
    assert len(bridge.sharing.links) == 0


async def test_revoked_share(bridge: SharingBridge) -> None:
    """410, told apart from one that has ended; nothing of its label or devices."""
    share, code = await bridge.share(label=LABEL)
    await bridge.sharing.links.revoke(share)
    status, answer, _ = await post(bridge, {"code": code})
    assert (status, answer["code"], set(answer)) == (410, "share_revoked", {"code", "message"})


async def test_database_that_fails(start: StartSharing) -> None:
    """An open share is in memory and goes on; of any other code 503 says that it is not known, never 404."""
    bridge = await start(database_url=FILE)
    _, code = await bridge.share()
    with broken_database():
        assert (await bridge.init(code))[0] == 200
        status, answer, headers = await post(bridge, {"code": UNKNOWN})
    assert (status, answer["code"]) == (503, "storage_unavailable")
    assert headers["Retry-After"].isdigit()
    assert headers["Cache-Control"] == "no-store"
    assert (await bridge.init(UNKNOWN))[0] == 404


# --- passwords -----------------------------------------------------------------------------------------


async def test_password_comes_before_everything_that_the_share_says(bridge: SharingBridge) -> None:
    """401 without one, 403 with another, and in neither the label, an alias, a time or a position."""
    bridge.publish(seed("A"))
    share, code = await bridge.share(label=LABEL, password=SECRET)
    bridge.publish(seed("A"))
    for body, expected in (
        ({"code": code}, (401, "password_required")),
        ({"code": code, "password": None}, (401, "password_required")),
        ({"code": code, "password": ""}, (403, "password_wrong")),
        ({"code": code, "password": SECRET.upper()}, (403, "password_wrong")),
        ({"code": code, "password": f"{SECRET} "}, (403, "password_wrong")),
        ({"code": code, "password": "x" * 1500}, (403, "password_wrong")),
        ({"code": code, "password": "\x00"}, (403, "password_wrong")),
    ):
        status, answer, headers = await post(bridge, body)
        assert (status, answer["code"]) == expected
        assert set(answer) == {"code", "message"}
        assert headers["Cache-Control"] == "no-store"
        assert not any(text in str(answer) for text in (LABEL, "Van", "starts", share.id))
    status, answer = await bridge.init(code, SECRET)
    assert status == 200
    assert answer["share"]["label"] == LABEL


async def test_password_of_a_share_that_has_none_is_not_looked_at(bridge: SharingBridge) -> None:
    """The page may send what somebody typed before the owner took the password away."""
    _, code = await bridge.share()
    assert (await bridge.init(code, "anything"))[0] == 200


async def test_start_is_told_to_who_has_the_password_only(bridge: SharingBridge) -> None:
    """An upcoming share asks for its password first."""
    _, code = await bridge.share(since=60, password=SECRET)
    assert [(await bridge.init(code, given))[0] for given in (None, "wrong", SECRET)] == [401, 403, 403]
    assert (await bridge.init(code, "wrong"))[1]["code"] == "password_wrong"
    assert (await bridge.init(code, SECRET))[1]["code"] == "share_not_started"


async def test_end_is_told_after_the_password(bridge: SharingBridge) -> None:
    """The code alone does not even reveal that it has ended: the password protects the moment of an arrival."""
    share, revoked = await bridge.share(password=SECRET)
    _, ended = await bridge.share(ttl=60, password=SECRET)
    await bridge.sharing.links.revoke(share)
    bridge.clock.advance(61)
    for code, expected in ((revoked, "share_revoked"), (ended, "share_ended")):
        for given, told in (
            (None, (401, "password_required")),
            ("wrong", (403, "password_wrong")),
            (SECRET, (410, expected)),
        ):
            status, answer = await bridge.init(code, given)
            assert (status, answer["code"]) == told
    bridge.streaming.deadlines.enforce()


async def test_password_of_another_share_is_wrong(bridge: SharingBridge) -> None:
    """Each share has its own, and so its own hash of the same one."""
    _, first = await bridge.share(password=SECRET)
    _, second = await bridge.share(password="another one")
    assert (await bridge.init(first, "another one"))[0] == 403
    assert (await bridge.init(second, SECRET))[0] == 403


async def test_changed_password_counts_at_once(bridge: SharingBridge) -> None:
    """The old one is wrong from the moment of the change; None takes it away."""
    share, code = await bridge.share(password=SECRET)
    hashed = await bridge.sharing.passwords.hash("a new one")
    share = await bridge.sharing.links.change(share, Changes(password_hash=hashed))
    assert [(await bridge.init(code, given))[0] for given in (SECRET, "a new one")] == [403, 200]
    await bridge.sharing.links.change(share, Changes(password_hash=None))
    assert (await bridge.init(code))[0] == 200


class SlowPasswords(Passwords):
    """``meanwhile`` happens before the answer of a check."""

    meanwhile: Callable[[], Awaitable[object]]

    async def verify(self, stored: str, password: str) -> bool:
        matches = await super().verify(stored, password)
        await self.meanwhile()
        return matches


async def test_share_that_is_revoked_while_a_password_is_checked(start: StartSharing) -> None:
    """No token, and the true reason."""
    passwords = SlowPasswords(QUICK)
    bridge = await start(passwords=passwords)
    share, code = await bridge.share(password=SECRET)
    passwords.meanwhile = lambda: bridge.sharing.links.revoke(share)
    status, answer = await bridge.init(code, SECRET)
    assert (status, answer["code"]) == (410, "share_revoked")


async def test_refusals_keep_nothing_of_a_request(bridge: SharingBridge) -> None:
    """Code and password are gone from memory with the answer, whatever it was."""
    bridge.ticks.stop()
    _, code = await bridge.share(password=SECRET)
    for number in range(3):
        assert (await bridge.init(f"unknown {number}", "x"))[0] == 404
    assert [(await bridge.init(code, f"wrong {number}"))[0] for number in range(12)].count(429) == 2
    gc.collect()
    await asyncio.sleep(0)
    assert [each for each in gc.get_objects() if isinstance(each, public_routes.InitBody)] == []


async def test_position_from_the_moment_before_the_start_is_not_shown(bridge: SharingBridge) -> None:
    """However short it is: uvloop's own time is cut to milliseconds, which would carry some of them over."""
    for _ in range(50):
        bridge.publish(seed("A"))
        _, code = await bridge.share()
        _, answer = await bridge.init(code)
        assert answer["share"]["devices"] == [{"alias": "Van 1", "position": None}]
