"""Readers that never read, beside readers that do, under load; and the end of all of them."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from signal import SIGTERM

from tests import flood
from tests.mosquitto import MosquittoServer
from tests.real.conftest import StartMosquitto
from tests.serving import StartServing, make_token
from tests.sharing import is_cut
from tests.sockets import Crowd, LeanSocket, many_files
from tests.waiting import wait_until

LOAD_SECONDS = float(os.environ.get("LOAD_SECONDS", "6"))
"""How long the load lasts; the full run takes 20."""
RATE = 2_000
AHEAD_MESSAGES = 1_000
"""Most that are under way to a good reader: half of what may wait for it, so that a busy machine makes nobody slow."""
DEVICES = 200
GOOD = STALLED = 200
QUEUE_BYTES = 256 * 1024
BUFFER_BYTES = 64 * 1024
"""What may wait for one socket beside its queue: one chunk in the transport and the event being made."""
MARGIN_BYTES = 24 * 1024 * 1024
"""Above the bound: the allocator's slack, and the interpreter's own growth under load."""
SECONDS = 60.0
DRAIN_SECONDS = 120.0
"""Twice what the end may take: it does not wait for the readers that never read."""
STREAM = "/api/v1/stream?device_ids=*&snapshot=false"


class Counting(LeanSocket):
    """Reads and counts ``SEQ``; any number that is missing, repeated or out of order is noted."""

    NUMBER = re.compile(rb'"SEQ":(\d+)\}')
    received = 0
    wrong = ""

    def feed(self, data: bytes) -> None:
        """Search instead of parsing: 400,000 frames a second are too many for Python."""
        data = self._rest + data
        end = 0
        found = self.NUMBER.findall(data)
        if found:
            numbers = list(map(int, found))
            first = self.received + 1
            if not self.wrong and numbers != list(range(first, first + len(numbers))):
                self.wrong = f"{numbers[:3]}…{numbers[-1]} instead of {first}…"
            self.received = numbers[-1]
            end = data.rindex(b'"SEQ":') + 1  # past its beginning: it is not found again
        self._rest = data = data[end:] if found else data
        if b'"event":"gap"' in data and not self.wrong:
            self.wrong = f"a gap after {self.received}"
        close = data.rfind(b"\x88")
        if close >= 0 and len(data) >= close + 4 and self.close_code is None:
            self.closed_with(int.from_bytes(data[close + 2 : close + 4], "big"))


def load(mosquitto: MosquittoServer, crowd: Crowd, good: list[Counting], look: Callable[[], None]) -> None:
    """Publish evenly until the good readers have it all; ``look`` is called five times a second."""
    total, sent = int(RATE * LOAD_SECONDS), 0
    began = looked = time.monotonic()
    with flood.publisher(mosquitto.port) as sock:
        while (slowest := min(member.received for member in good)) < total:
            now = time.monotonic()
            assert now < began + LOAD_SECONDS + 2 * SECONDS, progress(good, total)
            due = min(total, int((now - began) * RATE), slowest + AHEAD_MESSAGES)
            sock.sendall(b"".join(flood.numbered(number, DEVICES) for number in range(sent + 1, due + 1)))
            sent = max(sent, due)
            crowd.pump(0.01)
            if now > looked + 0.2:
                looked = now
                look()


def test_readers_that_never_read_cost_the_others_nothing_and_do_not_hold_up_the_end(
    start_mosquitto: StartMosquitto, start_serving: StartServing
) -> None:
    """Good readers get every message in order, memory stays inside its bound, and SIGTERM ends all in time."""
    mosquitto = start_mosquitto()
    with many_files(4_096), Crowd() as crowd:
        serving = start_serving(
            mqtt_url=mosquitto.url(),
            queue_messages=10_000,
            queue_bytes=QUEUE_BYTES,
            max_connections_per_ip=0,
            max_connections_per_principal=0,
            handshakes_per_second=0,
            heartbeat_seconds=300,
            drain_seconds=DRAIN_SECONDS,
        )
        serving.wait_ready()
        token = make_token()
        good = [Counting(serving.port, STREAM, token) for _ in range(GOOD)]
        for member in good:
            crowd.add(member)
        stalled = [LeanSocket(serving.port, STREAM, token, receive_bytes=2048) for _ in range(STALLED)]
        for reader in stalled:
            crowd.add(reader, reads=False)
        seen_bytes = [serving.rss_bytes()]
        load(mosquitto, crowd, good, lambda: seen_bytes.append(serving.rss_bytes()))
        assert [member.wrong for member in good if member.wrong] == []
        assert max(seen_bytes) - seen_bytes[0] < STALLED * (QUEUE_BYTES + BUFFER_BYTES) + MARGIN_BYTES
        wait_until(lambda: serving.stats()["broker"]["behind"] + sum(map(is_cut, stalled)) == STALLED)
        assert serving.stats()["handoff"]["dropped"] == 0

        serving.running.send_signal(SIGTERM)
        crowd.pump_until(lambda: all(member.close_code for member in good), SECONDS)
        assert {member.close_code for member in good} == {1001}
        assert serving.running.wait(SECONDS) == 0
        assert "Traceback" not in serving.log()


def progress(good: list[Counting], total: int) -> str:
    """For a failure's text."""
    behind = [(member.received, member.wrong) for member in good if member.received < total]
    return f"{len(behind)} of {len(good)} have not got {total}: {behind[:5]}"
