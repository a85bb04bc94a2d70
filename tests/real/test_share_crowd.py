"""Many viewers of one share, and some that never read; and share links behind a real nginx."""

from __future__ import annotations

import http.client
import json
import logging
import os
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from signal import SIGTERM

import pytest
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from tests.environment import environment, find_program
from tests.mosquitto import Credentials, MosquittoServer
from tests.real.conftest import StartSharing
from tests.real.test_nginx_config import Nginx, nginx
from tests.sharing import PUBLIC, SHARES, Sharing, Viewer, check_quick, is_cut, seed
from tests.sockets import Crowd, LeanSocket, many_files
from tests.waiting import wait_until

__all__ = ["nginx"]
LOAD_SECONDS = float(os.environ.get("LOAD_SECONDS", "5"))
RATE = 50
GOOD, STALLED = 300, 100
QUEUE_BYTES = 64 * 1024
BUFFER_BYTES = 64 * 1024
"""What may wait for one socket beside its queue: one chunk in the transport and the event being made."""
MARGIN_BYTES = 24 * 1024 * 1024
"""Above the bound: the allocator's slack, and the interpreter's own growth under load."""
log = logging.getLogger("tests.crowd")
SECONDS = 60.0
DRAIN_SECONDS = 120.0
"""Twice what the end may take: it does not wait for the viewers that never read."""
HOST = "telemetry.example.com"


def publish_evenly(mosquitto: MosquittoServer, crowd: Crowd) -> int:
    """Positions with growing latitudes, by mosquitto_pub, while the crowd is read; returns how many."""
    program = find_program("mosquitto_pub")
    assert program is not None
    command = [program, "-h", "127.0.0.1", "-p", str(mosquitto.port), "-t", "fleet/truck-1", "-q", "1", "-l"]
    sent, began = 0, time.monotonic()
    with subprocess.Popen(command, env=environment(), stdin=subprocess.PIPE, text=True, bufsize=1) as publisher:
        assert publisher.stdin is not None
        while (passed := time.monotonic() - began) < LOAD_SECONDS:
            while sent < passed * RATE:
                sent += 1
                publisher.stdin.write(seed("truck-1", sent / 1e3, 7, ahead=10) + "\n")
            crowd.pump(0.01)
        publisher.stdin.close()
    assert publisher.returncode == 0
    return sent


def test_a_crowd_gets_everything_beside_some_that_never_read(
    mosquitto: MosquittoServer, start_sharing: StartSharing
) -> None:
    """Every message in order for who reads, memory inside its bound, and SIGTERM ends all in time."""
    with many_files(4_096), Crowd() as crowd:
        sharing = start_sharing(
            mosquitto,
            queue_messages=10_000,
            queue_bytes=QUEUE_BYTES,
            max_payload_bytes=QUEUE_BYTES // 2,
            max_connections_per_ip=0,
            heartbeat_seconds=300,
            drain_seconds=DRAIN_SECONDS,
        )
        share = sharing.create(trail=0)
        token = sharing.init(share["code"])[1]["token"]
        baseline = sharing.rss_bytes()
        stalled = [LeanSocket(sharing.port, f"{PUBLIC}/stream", token, receive_bytes=2048) for _ in range(STALLED)]
        for member in stalled:
            crowd.add(member, reads=False)
        sharing.fill(mosquitto, "truck-1", STALLED)
        good = [LeanSocket(sharing.port, f"{PUBLIC}/stream", token) for _ in range(GOOD)]
        for member in good:
            crowd.add(member)
        crowd.pump_until(lambda: all(member.messages() for member in good), SECONDS)
        viewers = {"now": GOOD + STALLED, "total": GOOD + STALLED}
        wait_until(lambda: sharing.operate("GET", f"/{share['id']}")[1]["viewers"] == viewers)

        sent = publish_evenly(mosquitto, crowd)
        peak = sharing.rss_bytes()
        crowd.pump_until(
            lambda: all(len(member.messages()) == sent + 1 for member in good), SECONDS,
            lambda: (sent, Counter(len(member.messages()) for member in good)),
        )  # fmt: skip
        for member in good:
            messages = [event for event in member.events if event["event"] == "message"]
            numbers = [int(message["id"].partition("-")[2]) for message in messages]
            assert numbers == list(range(numbers[0], numbers[0] + sent + 1))
            assert [message["data"]["lat"] for message in messages[1:]] == [n / 1e3 for n in range(1, sent + 1)]
            assert not member.has("gap")
        log.info("memory: %.1f MiB more", (peak - baseline) / 2**20)
        assert peak - baseline < STALLED * (QUEUE_BYTES + BUFFER_BYTES) + MARGIN_BYTES
        wait_until(lambda: sharing.stats()["broker"]["behind"] + sum(map(is_cut, stalled)) == STALLED)

        began = time.monotonic()
        sharing.running.send_signal(SIGTERM)
        crowd.pump_until(lambda: all(member.close_code for member in good), SECONDS)
        assert {member.close_code for member in good} == {1001}
        assert sharing.running.wait(SECONDS) == 0
        check_quick("drained", time.monotonic() - began, SECONDS)


# --- behind nginx ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Upstream:
    """Where nginx finds the bridge."""

    port: int
    sharing: Sharing


@pytest.fixture
def upstream(mosquitto: MosquittoServer, start_sharing: StartSharing) -> Iterator[Upstream]:
    """In the place of the stand-in of the tests of nginx.conf: a real server, as docs/ and deploy/ set it up."""
    sharing = start_sharing(
        mosquitto, public_url=f"https://{HOST}", trusted_proxies="127.0.0.1", public_requests_per_minute=60
    )
    yield Upstream(sharing.port, sharing)
    assert sharing.end() == 0


def test_a_link_works_behind_nginx(
    mosquitto: MosquittoServer, upstream: Upstream, nginx: Nginx, credentials: Credentials
) -> None:
    """Page, assets, ``init`` and stream over TLS; link and stream have the public name; no code is logged."""
    sharing = upstream.sharing
    link = sharing.create("truck-1", aliases={"truck-1": "Alias-Nginx"})
    assert link["url"] == f"https://{HOST}/s/{link['code']}"
    context = ssl.create_default_context(cafile=str(credentials.ca_file))

    def ask(method: str, path: str, body: object = None) -> tuple[http.client.HTTPResponse, bytes]:
        over = http.client.HTTPSConnection("localhost", nginx.port, context=context, timeout=SECONDS)
        headers = {"Host": HOST} | ({} if body is None else {"Content-Type": "application/json"})
        over.request(method, path, None if body is None else json.dumps(body), headers)
        answer = over.getresponse()
        data = answer.read()
        over.close()
        return answer, data

    page, text = ask("GET", f"/s/{link['code']}")
    assert page.status == 200
    assert page.headers["Referrer-Policy"] == "strict-origin"
    asset = text.decode().partition('"/s-assets/')[2].partition('"')[0]
    assert ask("GET", f"/s-assets/{asset}")[0].headers["Cache-Control"].endswith("immutable")
    answer = json.loads(ask("POST", f"{PUBLIC}/init", {"code": link["code"]})[1])
    sharing.keep_secret(answer["token"])
    assert answer["stream_url"] == f"wss://{HOST}{PUBLIC}/stream"
    address = answer["stream_url"].replace(HOST, f"localhost:{nginx.port}")
    with connect(f"{address}?token={answer['token']}", ssl=context, open_timeout=SECONDS) as socket:
        viewer = Viewer(socket)
        viewer.until("hello")
        mosquitto.publish("fleet/truck-1", seed("truck-1", 1, 2))
        assert viewer.message()["alias"] == "Alias-Nginx"
        assert sharing.operate("DELETE", f"/{link['id']}")[0] == 200
        assert viewer.end() == 1008
    protocols = [Subprotocol("telemetry-bridge"), Subprotocol(f"bearer.{answer['token']}")]
    with connect(address, ssl=context, subprotocols=protocols, open_timeout=SECONDS) as socket:
        late = Viewer(socket)
        assert late.end() == 1008
        assert late.events[-1]["data"]["code"] == "share_closed"
    assert ask("GET", f"{SHARES}/{link['id']}")[0].status == 401
    logs = nginx.logs()
    assert '"GET /s/*** HTTP/1.1" 200' in logs
    for secret in (link["code"], answer["token"][:40], "Alias-Nginx"):
        assert secret not in logs
