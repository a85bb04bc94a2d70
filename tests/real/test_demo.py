"""``demo``: everything in one process, for the first five minutes."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.access.paseto import generate_key
from tests.environment import ROOT, environment
from tests.serving import Process, run
from tests.sockets import Crowd, LeanSocket, handshake

SECONDS = 60.0
MESSAGES = 5


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Process]:
    """A running demo of five quick vehicles on a free port; it has said how to go on."""
    with Process(tmp_path, "demo", "--port", "0", "--vehicles", "5", "--rate", "5") as process:
        process.wait_for("Ctrl-C stops it")
        yield process


def test_what_it_prints_can_be_pasted(demo: Process, tmp_path: Path) -> None:
    """The watch command works in a shell as it stands; Ctrl-C then ends the demo well."""
    watch = demo.wait_for(r"(?m)^ +(TELEMETRY_BRIDGE_URL=.* watch truck-001,truck-002)$")[1]
    done = subprocess.run(
        ["bash", "-c", f"{watch} --json --count {MESSAGES}"],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    messages = [event for event in events if event["event"] == "message"]
    assert len(messages) == MESSAGES
    assert {event["device_id"] for event in messages} <= {"truck-001", "truck-002"}
    assert {"LAT", "LON"} <= messages[0]["data"]["data"].keys()
    assert demo.end(signal.SIGINT) == 0
    assert "Traceback" not in demo.log()


def test_the_stream_url_and_the_token_open_a_stream(demo: Process) -> None:
    """As printed; and without the token the door stays shut."""
    port, path = demo.wait_for(r"ws://127\.0\.0\.1:(\d+)(/api/v1/stream\S*)").groups()
    token = demo.wait_for(r"TELEMETRY_BRIDGE_TOKEN=(v4\.local\.\S+)")[1]
    with Crowd() as crowd:
        client = crowd.add(LeanSocket(int(port), path, token))
        stranger = crowd.add(LeanSocket(int(port), path))
        crowd.pump_until(lambda: bool(client.messages()) and stranger.close_code == 1008, SECONDS)


def test_the_share_link_opens(demo: Process) -> None:
    """The page, and a stream that moves under the alias; nothing is left on the disk, and the demo may share more."""
    link, port, code = demo.wait_for(r"(?m)^ +(http://127\.0\.0\.1:(\d+)/s/([A-Za-z0-9_-]{22}))$").groups()
    with urllib.request.urlopen(link, timeout=SECONDS) as page:
        assert page.headers.get_content_type() == "text/html"
    body = json.dumps({"code": code}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/v1/public/share-location/init", body)
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        opened = json.loads(answer.read())
    assert opened["share"]["label"] == "Your delivery"
    assert opened["share"]["destination"]["name"] == "City centre"
    path = opened["stream_url"].partition(f"ws://127.0.0.1:{port}")[2]
    with Crowd() as crowd:
        viewer = crowd.add(LeanSocket(int(port), path, opened["token"]))
        crowd.pump_until(lambda: len(viewer.messages()) >= MESSAGES, SECONDS)
        assert {event["alias"] for event in viewer.events if event["event"] == "message"} == {"Van 1"}
        assert all({"lat", "lon", "speed_kmh", "time"} <= data.keys() for data in viewer.messages())
        assert "truck-001" not in json.dumps(viewer.events)
    token = demo.wait_for(r"TELEMETRY_BRIDGE_TOKEN=(v4\.local\.\S+)")[1]
    made = run(
        "share", "create", "--devices", "truck-002", "--ttl", "1h", folder=demo.folder,
        TELEMETRY_BRIDGE_URL=f"http://127.0.0.1:{port}", TELEMETRY_BRIDGE_TOKEN=token,
    )  # fmt: skip
    assert made.stdout.startswith(f"http://127.0.0.1:{port}/s/"), made.stderr
    assert not list(demo.folder.glob("*.sqlite3*"))


def test_the_page_that_it_names_exists(demo: Process) -> None:
    """A file URL with the address and the token in the fragment, which no server ever sees."""
    page, port = demo.wait_for(r"(file://\S+)#url=ws://127\.0\.0\.1:(\d+)&token=v4\.local\.\S+").groups()
    assert page == (ROOT / "examples" / "websocket_client_example.html").as_uri()
    assert demo.wait_for(r"ws://127\.0\.0\.1:(\d+)/api")[1] == port


def test_its_mqtt_broker_is_reached_from_this_machine_only(demo: Process) -> None:
    """No password protects it, so it listens on loopback."""
    port = int(demo.wait_for(r"MQTT broker on 127\.0\.0\.1:(\d+)")[1])
    listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    addresses = {fields[1] for fields in listening if fields[3] == "0A"}
    assert f"0100007F:{port:04X}" in addresses
    assert f"00000000:{port:04X}" not in addresses


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    """Exit status 1, and how to choose another one."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run("demo", "--port", port, folder=tmp_path)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert port in done.stderr


def test_settings_that_it_makes_itself_are_said_and_the_others_kept(tmp_path: Path) -> None:
    """Which of them it ignores; the origins and the level of the log stay as they are."""
    given = (
        f"BRIDGE_ACCESS_KEYS={generate_key()}", "BRIDGE_MQTT_URL=mqtt://x", "BRIDGE_LOG_LEVEL=INFO",
        "BRIDGE_ALLOWED_ORIGINS=https://app.example.com", "BRIDGE_HOST=0.0.0.0",
    )  # fmt: skip
    with Process(tmp_path, "demo", "--port", "0", "--vehicles", "1", prefix=("env", *given)) as demo:
        port = int(demo.wait_for(r"ws://127\.0\.0\.1:(\d+)/api")[1])
        assert "ignored by demo: BRIDGE_ACCESS_KEYS, BRIDGE_MQTT_URL\n" in demo.log()
        demo.wait_for(r"INFO bridge.app: Listening on http://127\.0\.0\.1:\d+ \(every interface\)")
        for origin, status in (("null", 101), ("https://app.example.com", 101), ("https://evil.example", 403)):
            assert upgrade_status(port, origin) == status
        assert demo.end(signal.SIGINT) == 0
        assert "Stopping\n" in demo.log()


def upgrade_status(port: int, origin: str) -> int:
    """What the server answers to a page of this origin."""
    head = handshake(port, "/api/v1/ws", "").replace(b"\r\n", f"\r\nOrigin: {origin}\r\n".encode(), 1)
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as sock:
        sock.sendall(head)
        return int(sock.recv(64).split()[1])


def test_two_demos_do_not_meet(demo: Process, tmp_path: Path) -> None:
    """Each has its own ports and its own key: the token of one opens nothing at the other."""
    folder = tmp_path / "second"
    folder.mkdir()
    with Process(folder, "demo", "--port", "0", "--vehicles", "1") as second:
        port = int(second.wait_for(r"ws://127\.0\.0\.1:(\d+)/api")[1])
        token = demo.wait_for(r"TELEMETRY_BRIDGE_TOKEN=(v4\.local\.\S+)")[1]
        with Crowd() as crowd:
            client = crowd.add(LeanSocket(port, "/api/v1/stream?device_ids=*", token))
            crowd.pump_until(lambda: client.close_code is not None, SECONDS)
            assert client.close_code == 1008
        assert second.end(signal.SIGTERM) == 0


def test_senseless_arguments_are_refused(tmp_path: Path) -> None:
    """Exit status 2 and one line, before anything starts."""
    for arguments in (
        ("--vehicles", "0"),
        ("--rate", "0"),
        ("--port", "-1"),
        ("--port", "65536"),
        ("--port", "x"),
        ("--vehicles", "1000000"),
    ):
        done = run("demo", "--port", "0", *arguments, folder=tmp_path)
        assert done.returncode == 2, (arguments, done.stdout)
        told = [line for line in done.stderr.splitlines() if "error: " in line or line.startswith("telemetry-bridge: ")]
        assert len(told) == 1
        assert "Traceback" not in done.stderr
