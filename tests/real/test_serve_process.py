"""``serve`` as a process: signals, a blocked stdout, no files left, and what its log must not hold."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mosquitto import MosquittoServer
from tests.ports import free_port
from tests.real.conftest import need
from tests.serving import Serving, StartServing, make_token
from tests.sockets import TEXT, Crowd, LeanSocket, handshake
from tests.waiting import wait_until

STREAM = "/api/v1/stream?device_ids=A"
SECONDS = 60.0
DRAIN_SECONDS = 120.0
QUICK_SECONDS = 60.0
"""For an end that does not wait until the time for draining has passed. Some seconds are enough on an idle machine."""
TRIES = 5
GROWTH_SECONDS = 5.0
"""After so long one attempt to accept that makes many later ones has taken up the processor for good."""
NOISE_LINES = 100_000
NOISE = f"""
import logging, sys, threading, time
from bridge.cli.main import main

def noise():
    while not logging.getLogger().handlers:
        time.sleep(0.01)
    for number in range({NOISE_LINES}):
        logging.getLogger("bridge.noise").warning("line %d of many that nobody reads", number)

threading.Thread(target=noise, daemon=True).start()
sys.exit(main())
"""
FILES = 256


def message(number: int) -> str:
    """A message of device A."""
    return f'{{"data":{{"DEVICE_ID":"A","N":{number}}}}}'


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_signal_ends_it_in_order(
    mosquitto: MosquittoServer, start_serving: StartServing, number: signal.Signals
) -> None:
    """1001 for the client, exit status 0, and the log says so; also with the MQTT broker away."""
    serving = start_serving(mqtt_url=mosquitto.url(), drain_seconds=DRAIN_SECONDS)
    serving.wait_ready()
    with Crowd() as crowd:
        client = crowd.add(LeanSocket(serving.port, STREAM, make_token("A")))
        mosquitto.pause()
        serving.running.send_signal(number)
        crowd.pump_until(lambda: client.close_code is not None, QUICK_SECONDS)
        assert client.close_code == 1001
        assert serving.running.wait(QUICK_SECONDS) == 0
    assert f"{number.name}: draining" in serving.log()
    assert serving.log().endswith("Stopped\n")


def test_a_second_signal_ends_it_at_once(mosquitto: MosquittoServer, start_serving: StartServing) -> None:
    """A client that does not answer the Close frame holds the first one up; a person need not wait for it."""

    def status() -> int:
        serving = start_serving(mqtt_url=mosquitto.url(), drain_seconds=DRAIN_SECONDS)
        with Crowd() as crowd:
            crowd.add(LeanSocket(serving.port, STREAM, make_token("A")), reads=False)
            serving.running.send_signal(signal.SIGTERM)
            serving.wait_for("Draining: closing")
            return serving.end(signal.SIGTERM)

    # That client is given up after two seconds, and when the second signal is later than that there is no one to end.
    assert any(status() == -signal.SIGTERM for _ in range(TRIES))


def test_while_it_drains_nobody_new_comes_in(mosquitto: MosquittoServer, start_serving: StartServing) -> None:
    """The port is closed at once, so that a load balancer goes elsewhere."""
    serving = start_serving(mqtt_url=mosquitto.url(), port=free_port(), drain_seconds=DRAIN_SECONDS)
    with Crowd() as crowd:
        crowd.add(LeanSocket(serving.port, STREAM, make_token("A")), reads=False)
        serving.running.send_signal(signal.SIGTERM)
        serving.wait_for("Draining: closing")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", serving.port))
        assert serving.running.wait(QUICK_SECONDS) == 0


@pytest.fixture
def unread_pipe() -> Iterator[int]:
    """The writing end of a pipe that nobody reads."""
    reading, writing = os.pipe()
    yield writing
    os.close(reading)
    os.close(writing)


def test_a_blocked_stdout_does_not_hold_up_the_stream(
    mosquitto: MosquittoServer, start_serving: StartServing, unread_pipe: int
) -> None:
    """A hundred thousand lines that nobody reads: most are dropped and counted, data flows, SIGTERM works."""
    serving = start_serving(
        program=(sys.executable, "-c", NOISE), stdout=unread_pipe, mqtt_url=mosquitto.url(), drain_seconds=DRAIN_SECONDS
    )
    serving.wait_ready()
    wait_until(lambda: serving.stats()["log_lines_dropped"] > NOISE_LINES * 0.8, 2 * SECONDS)
    with Crowd() as crowd:
        client = crowd.add(LeanSocket(serving.port, STREAM, make_token("A")))
        for number in range(3):
            mosquitto.publish("fleet/A", message(number))
            crowd.pump_until(lambda: len(client.messages()) > number, SECONDS)  # noqa: B023 - called here only
        serving.running.send_signal(signal.SIGTERM)
        crowd.pump_until(lambda: client.close_code is not None, QUICK_SECONDS)
        assert serving.running.wait(QUICK_SECONDS) == 0, serving.log()
    assert "Fatal" not in serving.error_file.read_text()


@pytest.mark.parametrize("event_loop", ["uvloop", "asyncio"])
def test_without_free_files_it_goes_on_and_recovers(
    mosquitto: MosquittoServer, start_serving: StartServing, event_loop: str
) -> None:
    """The streams that are open get their data, the processor is not spun, the MQTT broker may even restart."""
    need("prlimit")
    serving = start_serving(
        prefix=("prlimit", f"--nofile={FILES}"),
        mqtt_url=mosquitto.url(),
        event_loop=event_loop,
        max_connections_per_ip=0,
        max_connections_per_principal=0,
        handshakes_per_second=0,
        heartbeat_seconds=300,
    )
    serving.wait_ready()
    token = make_token("A")
    waiting: list[socket.socket] = []
    with Crowd() as crowd:
        client = crowd.add(LeanSocket(serving.port, STREAM, token))
        try:
            for _ in range(FILES + 50):
                sock = socket.create_connection(("127.0.0.1", serving.port), timeout=SECONDS)
                waiting.append(sock)
                sock.sendall(handshake(serving.port, STREAM, token))
            wait_until(lambda: len(serving.files()) >= FILES - 8, what=lambda: len(serving.files()))
            mosquitto.publish("fleet/A", message(1))
            crowd.pump_until(lambda: len(client.messages()) == 1, SECONDS)
            wait_until(lambda: is_resting(serving))  # some handshakes may still be under way
            time.sleep(GROWTH_SECONDS)
            wait_until(lambda: is_resting(serving))
        finally:
            for sock in waiting:
                sock.close()
        wait_until(lambda: len(serving.files()) < FILES // 2, what=lambda: len(serving.files()))
        late = wait_until(lambda: try_connect(serving, token))
        crowd.add(late)
        mosquitto.restart()
        wait_until(lambda: serving.stats()["mqtt"]["connects"] == 2)  # until then it may be ready by its old connection
        serving.wait_ready()
        mosquitto.publish("fleet/A", message(2))
        crowd.pump_until(lambda: bool(late.messages()) and len(client.messages()) == 2, SECONDS)
    assert serving.end() == 0
    log = serving.log()
    assert log.count(f"Almost all of the {FILES} files") == 1
    assert f"may open {FILES} files, BRIDGE_MAX_CONNECTIONS=10000 needs" in log
    lines = log.count("\n")
    assert lines < 3 * FILES, "a line for every attempt to accept"


def test_it_takes_all_the_files_that_the_host_allows(mosquitto: MosquittoServer, start_serving: StartServing) -> None:
    """The usual soft limit of 1,024 is a default for old programs, not a wish of the operator's."""
    need("prlimit")
    serving = start_serving(prefix=("prlimit", f"--nofile={FILES}:1024"), mqtt_url=mosquitto.url(), max_connections=800)
    limits = Path(f"/proc/{serving.running.pid}/limits").read_text()
    assert re.search(r"Max open files +1024 +1024", limits)
    assert "WARNING bridge.listener" not in serving.log()


def cpu_seconds(serving: Serving) -> float:
    """Processor time that it has used so far."""
    with open(f"/proc/{serving.running.pid}/stat", encoding="ascii") as file:  # noqa: PTH123
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_resting(serving: Serving) -> bool:
    """Whether it uses next to nothing of the processor for a second; one that spins uses all that it can get."""
    before, began = cpu_seconds(serving), time.monotonic()
    time.sleep(1.0)
    return cpu_seconds(serving) - before < 0.1 * (time.monotonic() - began)


def try_connect(serving: Serving, token: str) -> LeanSocket | None:
    """A stream, or None while there is no room."""
    try:
        return LeanSocket(serving.port, STREAM, token)
    except (AssertionError, OSError):
        return None


def test_no_token_reaches_the_log(mosquitto: MosquittoServer, start_serving: StartServing) -> None:
    """However it is presented, good or bad, and with every detail logged."""
    serving = start_serving(mqtt_url=mosquitto.url(), log_level="DEBUG")
    serving.wait_ready()
    good, cut = make_token("A"), make_token("A")[:-9]
    with Crowd() as crowd:
        for token in (good, cut):
            crowd.add(LeanSocket(serving.port, STREAM, token))
            crowd.add(LeanSocket(serving.port, f"{STREAM}&token={token}"))
            crowd.add(LeanSocket(serving.port, f"/api/v1/ws?token={token}&nonsense={token}"))
            client = crowd.add(LeanSocket(serving.port, "/api/v1/ws"))
            client.send(TEXT, b'{"action":"authenticate","ref":1,"data":{"token":"%s"}}' % token.encode())
            client.send(TEXT, b'{"action":"%s"}' % token.encode())
            serving.get(f"/api/v1/nothing?token={token}")
            serving.get(f"/healthz?token={token}")
            serving.get(f"/{token}")
        crowd.pump_until(lambda: sum(bool(member.events) for member in crowd.members) == 8, SECONDS)
    assert serving.end() == 0
    log = serving.log()
    for token in (good, cut):
        assert token[:40] not in log
        assert token[-40:] not in log
    assert "opened" in log
