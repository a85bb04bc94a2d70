"""What operators and load balancers see, and what happens when the bug is ours."""

from __future__ import annotations

import dataclasses

import aiohttp
import pytest

from bridge.app import running
from bridge.core.errors import StartError
from bridge.protocol.receiving import Receiver
from bridge.settings import load_settings
from bridge.stream.command_handler import CommandHandler
from bridge.stream.selection import DeviceSelection
from tests.functional.stream.served import KEY, Bridge, happening, position

STATS = "/api/v1/stream/stats"


async def get(url: str) -> tuple[int, dict[str, object]]:
    """Status and JSON of a GET."""
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        assert answer.content_type == "application/json"
        assert answer.headers["Cache-Control"] == "no-store"
        return answer.status, await answer.json()


async def test_stats_count_and_name_nobody(bridge: Bridge) -> None:
    """Counts only: no device, no subject, no token; no credential needed."""
    client = await bridge.watch("A,B", bridge.token("A", "B", subject="ana"))
    await bridge.watch("A", bridge.token("A", subject="ana"))
    await bridge.join()
    bridge.publish(position("A"), position("Q"), happening("B"))
    await client.quiet()
    status, stats = await get(bridge.url(STATS))
    assert status == 200
    assert stats["total_messages_processed"] == 3
    assert stats["active_subscribers"] == 2
    assert stats["devices_being_monitored"] == 2
    assert stats["streams"] == {"open": 3, "limit": 10_000, "peak": 3, "refused": {}}
    broker = stats["broker"]
    assert isinstance(broker, dict)
    assert (broker["delivered"], broker["behind"]) == (3, 0)
    assert "ana" not in str(stats)
    assert "Q" not in str(stats)


async def test_alive_is_not_ready(bridge: Bridge) -> None:
    """Without MQTT the process lives but should get no new clients, and says why."""
    assert await get(bridge.url("/readyz")) == (200, {"status": "ready", "problems": []})
    for changes, problem in (
        ({"subscribed": False, "detail": "connection lost"}, "MQTT: connection lost"),
        ({"tick_age": 1000.0, "detail": "late"}, "MQTT: late"),
        ({"alive": False}, "the consumer thread has ended"),
    ):
        healthy = bridge.consumer_statistics
        bridge.consumer_statistics = dataclasses.replace(healthy, **changes)
        assert await get(bridge.url("/readyz")) == (503, {"status": "unready", "problems": [problem]})
        assert await get(bridge.url("/healthz")) == (200, {"status": "alive"})
        bridge.consumer_statistics = healthy


async def test_admin_port_takes_operations_away_from_the_public() -> None:
    """With ADMIN_PORT the three are there and only there, and streams are not."""
    settings = load_settings(port=0, admin_port=0, access_keys=KEY, mqtt_url="mqtt://127.0.0.1:1", drain_seconds=0.5)
    async with running(settings) as server, aiohttp.ClientSession() as http:
        for path in ("/healthz", "/readyz", STATS):
            async with http.get(f"http://127.0.0.1:{server.port}{path}") as answer:
                assert answer.status == 404
        assert (await get(f"http://127.0.0.1:{server.admin_port}/healthz"))[0] == 200
        assert (await get(f"http://127.0.0.1:{server.admin_port}/readyz"))[0] == 503
        assert (await get(f"http://127.0.0.1:{server.admin_port}{STATS}"))[0] == 200
        async with http.get(f"http://127.0.0.1:{server.admin_port}/api/v1/ws") as answer:
            assert answer.status == 404


async def test_port_in_use_is_one_line() -> None:
    """Nothing listens and nothing is left open when the port is taken."""
    settings = load_settings(port=0, access_keys=KEY, mqtt_url="mqtt://127.0.0.1:1", drain_seconds=0.5)
    async with running(settings) as server:
        taken = settings.model_copy(update={"port": server.port})
        with pytest.raises(StartError, match=f"port {server.port} is in use"):
            async with running(taken):
                pass


# --- our own bugs -----------------------------------------------------------------------------------


def explode(*_: object, **__: object) -> None:
    """A bug."""
    raise ZeroDivisionError("the test's bug")


async def test_bug_in_a_command_ends_that_stream(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """1011 for the one, a traceback in the log, and everyone else goes on."""
    client, other = await bridge.watch(), await bridge.watch()
    monkeypatch.setattr(CommandHandler, "handle", explode)
    await client.say("ping")
    assert await client.end() == (1011, [])
    assert client.reason == "internal error"
    bugs = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(bugs) == 1
    assert bugs[0].exc_info is not None
    assert "the test's bug" in caplog.text
    bridge.publish(position("A"))
    await other.expect("message")


async def test_bug_at_the_door_ends_that_stream(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After the upgrade there is no HTTP status left: it must be 1011 too, and nothing may stay counted."""
    monkeypatch.setattr(DeviceSelection, "add", explode)
    client = await bridge.connect("/api/v1/stream?device_ids=A", bridge.token())
    assert await client.end() == (1011, [])
    assert "the test's bug" in caplog.text
    assert caplog.text.count("ERROR") == 1


async def test_bug_while_receiving_ends_that_stream(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even a socket that cannot be read any more gets its 1011 and is not served for ever."""
    client = await bridge.join()
    monkeypatch.setattr(Receiver, "next_event", explode)
    await client.say("ping")
    code, _ = await client.end()
    assert code in (1011, 1006)
    await bridge.wait_empty()
