"""The consumer: one thread that reads the MQTT broker and puts decoded telemetry into the handoff.

It drives paho through its external-loop calls with ``selectors`` (epoll). paho's own loop waits with
``select.select``, which fails for ever once the process holds about 1,020 files: the first restart of
the MQTT broker under so many WebSockets would end all data (eclipse-paho/paho.mqtt.python#819). No
exception ends the thread: each is counted, the connection is closed and opened again with
full-jitter back-off.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import selectors
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import paho.mqtt.client as paho
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from bridge.core.backoff import BACKOFF_BASE_SECONDS, full_jitter
from bridge.core.errors import PayloadCause, PayloadError
from bridge.core.telemetry import Telemetry, UpstreamState
from bridge.ingest.decoding import Decoder
from bridge.ingest.mqtt.limits import ConsumerLimits
from bridge.ingest.mqtt.link import LiftedSocket, in_words, make_client
from bridge.ingest.mqtt.options import ConsumerOptions, ConsumerStatistics
from bridge.ingest.mqtt.packets import MalformedPacketError, Publish

log = logging.getLogger("bridge.ingest.mqtt")

Jitter = Callable[[int, float, float], float]
"""Failures in a row, the bounds of the first wait and of every wait (seconds) → seconds to wait."""


def _jitter(failures: int, base: float, cap: float) -> float:
    return full_jitter(failures, random.uniform, base, cap)


class Door(Protocol):
    """The part of the handoff that the thread uses."""

    def put(self, batch: list[Telemetry]) -> None:
        """Hand over what one read brought, in order."""

    def signal(self, state: UpstreamState) -> None:
        """Hand over a change of the link."""


@dataclass(slots=True)
class _State:
    """Written by the thread only, read by anyone: single attributes, so no lock is needed."""

    connected: bool = False
    granted_at: float | None = None
    """Since when the MQTT broker grants every filter; None while it does not."""
    tick_at: float = 0.0
    received: int = 0
    connects: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    detail: str = "not started"


class Consumer:
    """Owns the thread. ``start`` and ``stop`` are for the loop's side; ``stop`` is bounded in time."""

    def __init__(
        self,
        options: ConsumerOptions,
        decoder: Decoder,
        door: Door,
        limits: ConsumerLimits = ConsumerLimits(),
        *,
        jitter: Jitter = _jitter,
    ) -> None:
        """OSError when the CA file cannot be read; nothing is connected yet."""
        self._options = options
        self._limits = limits
        self._jitter = jitter
        self._decode = decoder.decode
        self._door = door
        self._state = _State()
        self._client = make_client(options, limits)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_disconnect = self._on_disconnect
        self._stopping = threading.Event()
        self._wake = os.pipe()
        self._thread = threading.Thread(target=self._run, name="mqtt-consumer", daemon=True)
        self._failures = 0
        self._subscribe_id: int | None = None
        self._wanting = options.topics
        self._answer_deadline = 0.0
        self._refusal = ""
        self._lost = ""

    def start(self) -> None:
        """Start the thread. Once only."""
        self._state.tick_at = time.monotonic()
        self._thread.start()

    def stop(self, timeout: float = 2.0) -> None:
        """Disconnect and end the thread, in ``timeout`` seconds at most. May be called twice."""
        if not self._stopping.is_set():
            os.write(self._wake[1], b"x")  # first: once ``_stopping`` is set the thread may close the pipe
            self._stopping.set()
            if self._thread.ident is None:  # never started, so the thread will not
                self._close_pipe()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _close_pipe(self) -> None:
        for end in self._wake:
            os.close(end)

    def statistics(self) -> ConsumerStatistics:
        """A snapshot; from any thread."""
        state = self._state
        return ConsumerStatistics(
            alive=self._thread.is_alive(),
            connected=state.connected,
            subscribed=state.granted_at is not None,
            tick_age=time.monotonic() - state.tick_at,
            received=state.received,
            connects=state.connects,
            # Plain strings, since orjson takes no others as keys; of a copy, since the thread goes on counting.
            refused={str(cause): count for cause, count in dict(state.causes).items()},
            detail=state.detail,
            failures=self._failures + bool(self._refusal),
            silent_seconds=self._limits.silent_seconds,
        )

    # --- the thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._lost = self._refusal = ""
            try:
                self._one_connection()
            except BaseException as error:  # whatever it was, the thread must live: the stream hangs on it
                self._state.causes["link_error"] += 1
                self._lost = self._lost or in_words(error)
                if not isinstance(error, OSError | MalformedPacketError):
                    log.exception("The MQTT link failed unexpectedly; reconnecting")
            self._leave()
            self._pause()
        self._state.detail = "stopped"
        self._close_pipe()

    def _one_connection(self) -> None:
        """From connect to loss. Returns when the link is gone or the process stops."""
        lifted = self._client.open(self._options.address)
        self._answer_deadline = time.monotonic() + self._limits.connect_seconds
        tick_seconds, misc_at = self._limits.tick_seconds, 0.0
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake[0], selectors.EVENT_READ)
            key = selector.register(lifted, selectors.EVENT_READ)
            while not self._stopping.is_set() and self._client.socket() is not None:
                events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._client.want_write() else 0)
                if events != key.events:
                    key = selector.modify(lifted, events)
                ready = selector.select(0 if lifted.buffered() else tick_seconds)
                now = time.monotonic()
                for ready_key, mask in ready:
                    if ready_key is key and mask & selectors.EVENT_WRITE:
                        self._client.loop_write()
                self._state.tick_at = now
                self._read(lifted)
                if now >= misc_at:
                    misc_at = now + tick_seconds
                    self._client.loop_misc()
                    self._check_answer()

    def _read(self, lifted: LiftedSocket) -> None:
        """Read once, hand over what came."""
        publishes = lifted.fill()
        if publishes:
            self._take(publishes)
        for packet_id in lifted.lifter.take_oversize():
            self._state.received += 1
            self._state.causes[PayloadCause.OVERSIZE] += 1
            if packet_id:
                self._client.ack(packet_id, 1)
        while lifted.has_packet() or lifted.ended:
            if self._client.loop_read() != paho.MQTT_ERR_SUCCESS or self._client.socket() is None:
                break

    def _take(self, publishes: list[Publish]) -> None:
        """Decode a batch and hand it over. A bad message, or a bug in a decoder, costs that message only."""
        batch: list[Telemetry] = []
        append, decode, causes = batch.append, self._decode, self._state.causes
        for topic, payload, retain, packet_id in publishes:
            try:
                append(decode(topic, payload, retain))
            except PayloadError as error:
                causes[error.cause] += 1
            except BaseException:  # a decoder may be anyone's: not even SystemExit may end the thread
                causes[PayloadCause.DECODER_BUG] += 1
                if causes[PayloadCause.DECODER_BUG] == 1:
                    log.exception("A decoder failed; the message is dropped, and further failures are only counted")
            if packet_id:
                self._client.ack(packet_id, 1)
        self._state.received += len(publishes)
        if batch:
            self._door.put(batch)

    def _check_answer(self) -> None:
        """Drop a link whose CONNACK or SUBACK does not come; ask again for what was refused."""
        if self._state.granted_at is not None or time.monotonic() < self._answer_deadline:
            return
        if self._refusal:
            self._subscribe()  # the refused ones only: the others' retained messages would all come again
        else:
            raise TimeoutError(f"no answer to CONNECT or SUBSCRIBE within {self._limits.connect_seconds:g} s")

    def _leave(self) -> None:
        """After every connection: close the socket and report the loss, once."""
        state = self._state
        was_up = state.granted_at is not None
        if state.granted_at is not None and time.monotonic() - state.granted_at > self._limits.stable_seconds:
            self._failures = 0
        state.connected, state.granted_at = False, None
        state.detail = self._lost or "connection lost"
        with contextlib.suppress(Exception):
            if self._stopping.is_set():
                self._client.disconnect()
                self._client.loop_write()
        with contextlib.suppress(Exception):
            if self._client.lifted is not None:
                self._client.lifted.close()
        if self._stopping.is_set():
            return
        if was_up:
            self._door.signal(UpstreamState.DOWN)
        if was_up or self._failures == 0:
            log.warning("The MQTT broker at %s is not available: %s", self._options.address, state.detail)

    def _pause(self) -> None:
        """Wait before the next attempt; longer where only a person can help."""
        limits = self._limits
        if self._refusal:
            wait = self._jitter(self._failures, limits.refused_seconds / 4, limits.refused_seconds)
        else:
            wait = self._jitter(self._failures, BACKOFF_BASE_SECONDS, limits.retry_seconds)
        self._failures += 1
        until = time.monotonic() + wait
        while not self._stopping.is_set() and (left := until - time.monotonic()) > 0:
            self._state.tick_at = time.monotonic()
            self._stopping.wait(min(left, limits.tick_seconds))

    # --- paho's callbacks: on the thread --------------------------------------------------------------

    def _on_connect(self, _c: paho.Client, _u: Any, _f: Any, reason: ReasonCode, _p: Properties | None) -> None:
        if reason.is_failure:
            self._refusal = self._lost = (
                f"it refused the connection ({reason}); check BRIDGE_MQTT_URL and its passwords"
            )
            return
        self._state.connected = True
        self._state.connects += 1
        self._state.detail = "connected"
        self._wanting = self._options.topics
        self._subscribe()

    def _subscribe(self) -> None:
        """On every connect: sessions are clean, so the MQTT broker has forgotten the last time."""
        filters = [(topic, self._options.qos) for topic in self._wanting]
        self._subscribe_id = self._client.subscribe(filters)[1]
        limits = self._limits
        seconds = limits.refused_seconds if self._refusal else limits.connect_seconds
        self._answer_deadline = time.monotonic() + seconds

    def _on_subscribe(
        self, _c: paho.Client, _u: Any, mid: int, reasons: list[ReasonCode], _p: Properties | None
    ) -> None:
        if mid != self._subscribe_id:
            return
        refused = tuple(topic for topic, reason in zip(self._wanting, reasons, strict=False) if reason.is_failure)
        if refused:
            self._wanting = refused
            refusal = f"it refused the subscription to {', '.join(refused)}; check its access list"
            if refusal != self._refusal:
                log.error("The MQTT broker at %s: %s", self._options.address, refusal)
            self._refusal = self._state.detail = refusal
            self._answer_deadline = time.monotonic() + self._limits.refused_seconds
            return
        self._refusal = ""
        self._state.granted_at = time.monotonic()
        self._state.detail = "subscribed"
        log.info("Subscribed at the MQTT broker %s to %s", self._options.address, ", ".join(self._options.topics))
        self._door.signal(UpstreamState.UP)

    def _on_disconnect(self, _c: paho.Client, _u: Any, flags: Any, reason: ReasonCode, _p: Properties | None) -> None:
        if not self._lost:
            self._lost = f"it disconnected: {reason}" if flags.is_disconnect_packet_from_server else self._lost_text()
            if reason.getName() == "Session taken over":
                self._refusal = self._lost = "another client uses the same MQTT client id; check BRIDGE_MQTT_CLIENT_ID"

    def _lost_text(self) -> str:
        """What to say of a connection that ended without a DISCONNECT: paho calls it "Unspecified error".

        Mosquitto 2.0 does not say "session taken over" to a client whose session ends with its connection.
        """
        if self._state.granted_at is None or self._failures < self._limits.short_links:
            return "connection lost"
        return "connection lost again soon after it was made; does another client use our BRIDGE_MQTT_CLIENT_ID?"
