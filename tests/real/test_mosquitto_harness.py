"""The Mosquitto that other tests rely on behaves as they assume."""

from __future__ import annotations

import os
import socket

import pytest

from tests.mosquitto import MosquittoError, MosquittoServer
from tests.real.conftest import StartMosquitto

SECONDS = 60.0


def first_bytes(port: int, seconds: float) -> bytes:
    """What an MQTT 3.1.1 CONNECT is answered with; empty when nothing comes in time."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as client:
        client.sendall(b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03abc")
        try:
            return client.recv(4)
        except TimeoutError:
            return b""


def test_restart_keeps_the_port(mosquitto: MosquittoServer) -> None:
    """A client may reconnect to where it was."""
    port, pid = mosquitto.port, mosquitto.pid
    mosquitto.restart()
    assert mosquitto.port == port
    assert mosquitto.pid not in (None, pid)
    assert first_bytes(port, SECONDS) == b"\x20\x02\x00\x00"


def test_nothing_listens_after_kill(mosquitto: MosquittoServer) -> None:
    """A killed Mosquitto is gone at once, and reaped."""
    pid = mosquitto.pid
    assert pid is not None
    mosquitto.kill()
    assert mosquitto.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(ConnectionRefusedError):
        first_bytes(mosquitto.port, SECONDS)


def test_paused_mosquitto_is_silent_and_comes_back(mosquitto: MosquittoServer) -> None:
    """Pausing makes a half-open link: the kernel accepts, nobody answers."""
    mosquitto.pause()
    assert first_bytes(mosquitto.port, 0.05) == b""
    mosquitto.resume()
    assert first_bytes(mosquitto.port, SECONDS) == b"\x20\x02\x00\x00"


def test_paused_mosquitto_can_be_stopped(mosquitto: MosquittoServer) -> None:
    """A test that fails while Mosquitto is paused leaves no process behind."""
    mosquitto.pause()
    mosquitto.stop()
    assert mosquitto.pid is None


def test_publish_reaches_a_subscriber(mosquitto: MosquittoServer) -> None:
    """The helper publishes any bytes, retained when asked to."""
    mosquitto.publish("fleet/A/position", b'{"lat":\x00\xff1}', qos=1, retain=True)
    done = mosquitto.client("mosquitto_sub", "-t", "#", "-C", "1", "-N")
    assert done.stdout == b'{"lat":\x00\xff1}'


def test_websocket_listener_answers(start_mosquitto: StartMosquitto) -> None:
    """With ``websockets`` there is a second listener that speaks HTTP."""
    server = start_mosquitto(websockets=True)
    with socket.create_connection(("127.0.0.1", server.websocket_port), timeout=SECONDS) as client:
        client.sendall(
            b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Protocol: mqtt\r\n\r\n"
        )
        assert client.recv(12) == b"HTTP/1.1 101"


def test_bad_configuration_is_told_with_the_log(start_mosquitto: StartMosquitto) -> None:
    """A Mosquitto that does not come up raises what it logged, and leaves no process."""
    with pytest.raises(MosquittoError, match="no_such_option"):
        start_mosquitto(extra=("no_such_option 1",))
