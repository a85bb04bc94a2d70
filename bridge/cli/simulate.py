"""Publishes a simulated fleet to any MQTT broker, from its own thread.

The command ``simulate`` runs one until Ctrl-C; the demo runs one beside the server.
"""

from __future__ import annotations

import heapq
import logging
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from bridge.cli.connection import BACKOFF, Backoff
from bridge.cli.fleet import Fleet, payload
from bridge.core.addresses import MqttAddress, parse_mqtt_url
from bridge.ingest.mqtt.publisher import Publisher, RefusedError

logger = logging.getLogger(__name__)

STABLE_SECONDS: Final = 10.0
"""A connection that lasted this long since CONNACK makes the next failure the first one again."""
TURN_SECONDS: Final = 0.25
"""Longest wait of the thread, so that ``stop()`` needs no wake-up pipe."""
STOP_SECONDS: Final = 1.0
"""What ``stop()`` waits for the thread. A connect in progress may outlive it, harmlessly: a daemon thread."""
CATCH_UP_SECONDS: Final = 60.0
"""Most that a vehicle drives between two publishes; bounds the work after an hour without a broker."""
MIN_RATE, MAX_RATE = 0.01, 100.0
"""Publishes per vehicle and second. Above 100 a position is no news; below, no one waits so long."""
JITTER: Final = 0.2
"""Publishes leave up to this share of the interval late, as real devices do."""


class Simulator:
    """Publishes ``fleet`` at ``rate`` messages per vehicle and second until stopped.

    Publishes are spread evenly over the interval. When the MQTT broker is away the simulator tries
    again for ever with full jitter; while the broker takes no data, due messages are skipped and
    counted, never queued. ``report`` gets one line per change of state. ValueError when an argument is
    out of range; its text never quotes the URL.
    """

    def __init__(
        self,
        mqtt_url: str,
        fleet: Fleet,
        rate: float,
        version: str = "5",
        *,
        ca_file: Path | None = None,
        report: Callable[[str], None] = logger.info,
        backoff: Backoff = BACKOFF,
        connect: Callable[[MqttAddress, str, Path | None], Publisher] = Publisher,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``clock`` is monotonic."""
        address = parse_mqtt_url(mqtt_url)
        if address is None:
            raise ValueError("embedded has no address; write mqtt://host:port")
        if not MIN_RATE <= rate <= MAX_RATE:
            raise ValueError(f"the rate must be from {MIN_RATE} to {MAX_RATE:g} messages per vehicle and second")
        if version not in ("5", "3.1.1"):
            raise ValueError("the MQTT version must be 5 or 3.1.1")
        self._address = address
        self._place = f"{'mqtts' if address.tls else 'mqtt'}://{address}"
        self._fleet = fleet
        self._interval = 1.0 / rate
        self._version = version
        self._ca_file = ca_file
        self._report = report
        self._backoff = backoff
        self._connect = connect
        self._clock = clock
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self.run, name="simulate", daemon=True)
        self.connected_at: float | None = None
        """When the connection stood, by ``clock``; None while there is none. The thread writes it, and the counts."""
        self.connections = self.published_messages = 0
        self.skipped_messages = 0
        """Fell due while the MQTT broker took no data; newer ones followed."""
        self._moved_at = [0.0] * len(fleet.vehicles)
        self._due: list[tuple[float, float, int]] = []
        self.refusal = ""
        """Why the MQTT broker does not accept our credentials; empty while it does or has not been asked."""

    def start(self) -> None:
        """Begin, in a daemon thread. Once only."""
        self._thread.start()

    def stop(self) -> None:
        """End within STOP_SECONDS. Idempotent; harmless before ``start()``."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def run(self) -> None:
        """What the thread does: publish until ``stop()``. Raises nothing."""
        attempt, reported = 0, ""
        while not self._stopping.is_set():
            try:
                self._session()
            # paho raises what its parser meets (struct.error, MalformedPacket: paho#155, #326); the
            # thread must outlive all of it.
            except Exception as error:
                if self.connected_at is not None:
                    reported = ""  # that it is lost again is news
                    if self._clock() - self.connected_at > STABLE_SECONDS:
                        attempt = 0
                self.refusal = str(error) if isinstance(error, RefusedError) else ""
                self.connected_at = None
                news = self._news(_one_line(error))
                if news != reported:
                    reported = news
                    self._report(news)
                self._stopping.wait(self._backoff(attempt))
                attempt += 1
        self.connected_at = None

    def _news(self, reason: str) -> str:
        if self.refusal:
            return f"{self._place} refuses us: {reason}; check user and password in the MQTT URL"
        if "protocol version" in reason:
            reason += " (--mqtt-version 3.1.1 speaks the older one, as the embedded MQTT broker does)"
        return f"no connection to {self._place}: {reason}; trying again"

    def _session(self) -> None:
        """One connection, until asked to stop. Raises when it ends before."""
        publisher = self._connect(self._address, self._version, self._ca_file)
        try:
            while not self._stopping.is_set():
                pause = TURN_SECONDS
                if publisher.ready:
                    if self.connected_at is None:
                        self.connected_at = self._clock()
                        self.connections += 1
                        self._schedule()
                        self._report(f"publishing {len(self._fleet.vehicles)} vehicles to {self._place}")
                    pause = min(pause, self._publish_due(publisher))
                publisher.turn(pause)
        finally:
            publisher.close()

    def _schedule(self) -> None:
        """Give each vehicle its slot in the interval, from now on."""
        now, count = self._clock(), len(self._fleet.vehicles)
        slots = [now + self._interval * index / count for index in range(count)]
        self._due = [(slot, slot, index) for index, slot in enumerate(slots)]

    def _publish_due(self, publisher: Publisher) -> float:
        """Publish what is due. Returns the seconds until the next is."""
        while not self._stopping.is_set():
            due, slot, index = self._due[0]
            now = self._clock()
            if due > now:
                return due - now
            vehicle = self._fleet.vehicles[index]
            vehicle.advance(min(now - self._moved_at[index], CATCH_UP_SECONDS) if self._moved_at[index] else 0.0)
            self._moved_at[index] = now
            if publisher.congested:
                self.skipped_messages += 1
            else:
                publisher.publish(vehicle.topic, payload(vehicle, time.time()))
                self.published_messages += 1
            # A slot in the past would make a burst after a pause: start anew from here instead.
            slot = max(slot + self._interval, now)
            late = random.uniform(0.0, JITTER) * self._interval  # noqa: S311 - not a secret
            heapq.heapreplace(self._due, (slot + late, slot, index))
        return 0.0


def run_simulate(
    *,
    mqtt_url: str = "mqtt://localhost:1883",
    vehicles: int = 50,
    rate: float = 1.0,
    seed: int = 1,
    version: str = "5",
    ca_file: Path | None = None,
) -> int:
    """The command ``simulate``: publish until Ctrl-C or SIGTERM. Returns the exit status.

    0 when stopped, 1 when the MQTT broker refuses the credentials. ValueError when an argument is wrong.
    Progress goes to stderr, one line for each change. Call from the main thread.
    """
    report = partial(print, file=sys.stderr, flush=True)
    simulator = Simulator(mqtt_url, Fleet(vehicles, seed), rate, version, ca_file=ca_file, report=report)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    simulator.start()
    try:
        while not simulator.refusal:
            time.sleep(TURN_SECONDS)
    except KeyboardInterrupt:
        return 0
    finally:
        simulator.stop()
        signal.signal(signal.SIGTERM, before)
    return 1


def _one_line(error: Exception) -> str:
    """What went wrong, for people: the system's words without numbers and source files."""
    text = getattr(error, "verify_message", "") or getattr(error, "strerror", "") or str(error)
    return " ".join(text.split()) or type(error).__name__
