"""What the log says of a share from its making to its end, at its most talkative."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import aiohttp
import pytest

from bridge.access.redaction import redact
from bridge.core.errors import StorageError
from share.api.passwords import Passwords
from share.model.draft import Changes
from share.model.grant import Destination
from tests.functional.share.stream.conftest import StartSharing
from tests.functional.share.stream.served import FILE, INIT, QUICK, STREAM, broken_database, seed
from tests.functional.stream.raw import TEXT, frame
from tests.functional.stream.served import SECRETS

PASSWORD: Final = "correct horse battery"
WRONG: Final = "Tr0ub4dor&3 or so"
LABEL: Final = "Journey of Ann Oakley"
PLACE: Final = "Her mother's house"


class FaultyPasswords(Passwords):
    """A bug of ours in the middle of ``init``, while ``is_faulty``."""

    is_faulty = False

    async def verify(self, stored: str, password: str) -> bool:
        if self.is_faulty:
            raise ZeroDivisionError
        return await super().verify(stored, password)


async def test_nothing_secret_is_said_at_any_level(start: StartSharing, caplog: pytest.LogCaptureFixture) -> None:
    """Every way in and out, the wrong ones too, under DEBUG and a loop in debug mode: no code, token, password, hash or
    key; no label, place or coordinate either."""
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0
    # As SQLAlchemy itself does, whatever the root's level: below, it would show every row that it reads.
    caplog.set_level(logging.WARNING, "sqlalchemy")
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "asyncio")
    caplog.set_level(logging.DEBUG, "aiohttp")
    passwords = FaultyPasswords(QUICK)
    bridge = await start(database_url=FILE, passwords=passwords)
    goal = Destination(48.123456, 11.654321, 100.0, PLACE)
    share, code = await bridge.share("A", label=LABEL, password=PASSWORD, destination=goal, end_on_arrival=True)
    private = {
        LABEL,
        PLACE,
        WRONG,
        "48.123456",
        "11.654321",
        "7.654321",
        code,
        share.code_hash,
        str(share.password_hash),
    }

    async with aiohttp.ClientSession() as http:
        for body in (
            {"code": code[:-1] + "!"},
            {"code": code, "password": 5},
            {"code": [code]},
            {"password": PASSWORD},
        ):
            async with http.post(bridge.url(INIT), json=body) as response:
                assert response.status in {400, 404}
        async with http.get(bridge.url(f"{INIT}?code={code}")) as response:
            assert response.status == 405
        async with http.post(bridge.url(f"{INIT}/{code}"), json={"code": code}) as response:
            assert response.status == 404
    for given in (None, WRONG, PASSWORD.title()):
        assert (await bridge.init(code, given))[0] in {401, 403}
    status, answer = await bridge.init(code, PASSWORD)
    assert status == 200
    token = answer["token"]
    private.add(token)

    broken = token[:-4] + "AAAA"
    for given in (broken, code, PASSWORD, f"v4.local.{WRONG}"):
        await (await bridge.connect(STREAM, given)).end()
        await (await bridge.connect(f"{STREAM}?token={broken}&x={code}")).end()
        await (await bridge.connect(STREAM, protocols=["telemetry-bridge", f"bearer.{broken}"])).end()
    private |= {broken, broken[9:60]}
    cookies = {"telemetry_bridge_token": bridge.token("*")}
    viewer = await bridge.connect(f"{STREAM}?token={token}", cookies=cookies)
    await viewer.expect("hello")
    for text in ("{", token, f'{{"action":"{token}"}}', f'{{"action":"ping","{code}":1}}', PASSWORD):
        await viewer.socket.send_str(text)
        await viewer.expect("error")
    await viewer.ask("authenticate", token=broken)
    await viewer.ask("authenticate", token=token)
    bridge.publish(seed("A", lat=7.654321, lon=7.654321))
    await viewer.expect("message")
    await bridge.sharing.links.change(share, Changes(label=LABEL + "!", aliases={"A": "Ann's car"}))
    await viewer.expect("share")
    raw = await bridge.raw()
    await raw.upgrade(f"{STREAM}?token={token}")
    await raw.send(frame(TEXT, b"\xff" + token.encode()))
    assert (await raw.events_to_end())[1] == 1007
    liar = await bridge.raw()
    status, _ = await liar.request("GET", f"{STREAM}?token={token}", Origin="http://evil.example")
    assert status == 403
    nonsense = await bridge.raw()
    await nonsense.send(f"GET {STREAM}?token={token} HTTP/9.9\r\n{code}\r\n\r\n".encode())
    assert (await nonsense.response())[0] == 400
    with broken_database():
        assert (await bridge.init("A" * 22))[0] == 503
        with pytest.raises(StorageError):
            await bridge.sharing.links.revoke(share)
        with pytest.raises(StorageError):
            await bridge.share("A", label=LABEL, password=PASSWORD)
    passwords.is_faulty = True
    body = {"code": code, "password": PASSWORD}
    async with aiohttp.ClientSession() as http, http.post(bridge.url(INIT), json=body) as response:
        assert response.status == 500  # a bug of ours, with its traceback in the log
        told = await response.text()
    passwords.is_faulty = False
    assert [secret for secret in private if secret in told] == []
    bridge.publish(seed("A", lat=48.123456, lon=11.654321))
    assert (await viewer.end())[0] == 1000
    assert (await bridge.init(code, PASSWORD))[0] == 410
    loop.set_debug(False)

    text = "\n".join(map(caplog.handler.format, caplog.records))
    assert "ended: arrived" in text
    assert "ZeroDivisionError" in text
    assert [secret[:12] for secret in private | SECRETS if secret in text] == []
    assert redact(text) == text
