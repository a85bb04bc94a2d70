"""``examples/websocket_client_example.py`` as its first lines say to run it."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

from tests.environment import ROOT
from tests.mosquitto import MosquittoServer
from tests.ports import free_port
from tests.real.test_main_job import ENVELOPE
from tests.serving import Process, Serving, StartServing, make_token
from tests.waiting import wait_until

EXAMPLE = ROOT / "examples" / "websocket_client_example.py"
MESSAGES = 10
BACK_SECONDS = 120.0
"""Four times the longest that the example waits between two attempts."""


def example(folder: Path, port: int, token: str, device_ids: str = "*") -> Process:
    """The example, not started."""
    program = (sys.executable, "-u", str(EXAMPLE))
    address = f"ws://127.0.0.1:{port}"
    return Process(folder, address, device_ids, program=program, name="example", TELEMETRY_BRIDGE_TOKEN=token)


def test_it_follows_the_demo(tmp_path: Path) -> None:
    """Positions as lines; Ctrl-C ends it without a traceback."""
    with Process(tmp_path, "demo", "--port", "0", "--vehicles", "3", "--rate", "10", name="demo") as demo:
        port = int(demo.wait_for(r"ws://127\.0\.0\.1:(\d+)/api")[1])
        token = demo.wait_for(r"TELEMETRY_BRIDGE_TOKEN=(v4\.local\.\S+)")[1]
        with example(tmp_path, port, token, "truck-001,truck-002") as client:
            client.wait_for(rf"(?s)(truck-00[12] \{{.*\n){{{MESSAGES}}}")
            assert client.end(signal.SIGINT) == 0
        lines = client.log_file.read_text().splitlines()
        assert {line.partition(" ")[0] for line in lines} <= {"truck-001", "truck-002"}
        assert all({"LAT", "LON"} <= json.loads(line.partition(" ")[2])["data"].keys() for line in lines)
        # Of the MQTT broker it may have been told: the demo prints its address before it is connected there.
        told = client.error_file.read_text().splitlines()
        assert [line for line in told if not line.startswith("upstream ")] == []
        assert demo.end(signal.SIGINT) == 0


def test_it_comes_back_after_a_restart(mosquitto: MosquittoServer, start_serving: StartServing, tmp_path: Path) -> None:
    """1001 when the server goes; connected again, by itself, when it is back; and the last known message shown."""
    port = free_port()
    first = start_serving(mqtt_url=mosquitto.url(), port=port)
    first.wait_ready()
    with example(tmp_path, port, make_token()) as client:
        mosquitto.publish("fleet/x", ENVELOPE, retain=True)
        client.wait_for("0848086072")
        assert first.end() == 0
        client.wait_for("closed with 1001: server draining")
        before = client.log_file.stat().st_size
        start_serving(mqtt_url=mosquitto.url(), port=port).wait_ready()
        mosquitto.publish("fleet/y", ENVELOPE.replace("0848086072", "after"))
        client.wait_for("(?m)^after ", BACK_SECONDS)
        # Both may be replayed, in any order.
        wait_until(lambda: b"0848086072" in client.log_file.read_bytes()[before:], what=client.log)


def test_a_refused_token_ends_it(mosquitto: MosquittoServer, start_serving: StartServing, tmp_path: Path) -> None:
    """Coming back would not help, so it does not: exit status 3 and the server's words."""
    serving: Serving = start_serving(mqtt_url=mosquitto.url())
    with example(tmp_path, serving.port, "v4.local.nonsense") as client:
        assert client.running.wait(BACK_SECONDS) == 3
        assert "token_invalid" in client.log() or "1008" in client.log()
