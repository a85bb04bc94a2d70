"""An MQTT 5 broker that does what a test says, byte by byte, and what the consumer tests share."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

from bridge.core.addresses import MqttAddress
from bridge.core.telemetry import Telemetry, UpstreamState
from bridge.ingest.decoding.json_decoder import JsonDecoder
from bridge.ingest.mqtt import Consumer, ConsumerLimits, ConsumerOptions
from tests.waiting import wait_until

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, PINGREQ, DISCONNECT = 1, 2, 3, 4, 8, 9, 12, 14
GRANTED, NOT_AUTHORIZED, BAD_CREDENTIALS, TAKEN_OVER = 0x00, 0x87, 0x86, 0x8E
LINK_SECONDS = 20.0
QUICK = ConsumerLimits(tick_seconds=0.05)
THREAD_NAME = "fake-mqtt"


def packet(kind: int, flags: int, body: bytes) -> bytes:
    """A control packet: fixed header with the length as a variable byte integer, then ``body``."""
    length, rest = bytearray(), len(body)
    while rest > 0x7F:
        length.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([kind << 4 | flags, *length, rest]) + body


def publish(
    topic: bytes, payload: bytes, *, qos: int = 0, retain: bool = False, packet_id: int = 1, properties: bytes = b"\0"
) -> bytes:
    """A PUBLISH as MQTT 5.0 section 3.3 has it."""
    head = len(topic).to_bytes(2, "big") + topic + (packet_id.to_bytes(2, "big") if qos else b"")
    return packet(PUBLISH, qos << 1 | retain, head + properties + payload)


def position(device_id: str, number: int = 1) -> bytes:
    """A good message of a device, as a PUBLISH."""
    return publish(b"fleet/" + device_id.encode(), b'{"data":{"DEVICE_ID":"%s","N":%d}}' % (device_id.encode(), number))


class Link:
    """One connection of the consumer, seen from the broker."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.number = number
        sock.settimeout(LINK_SECONDS)
        self._file = sock.makefile("rb")

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def receive(self) -> tuple[int, bytes]:
        """The type and body of the next packet. EOFError when the consumer is gone, or says that it goes."""
        first = self._file.read(1)
        if not first:
            raise EOFError
        size, shift = 0, 0
        while True:
            byte = self._file.read(1)[0]
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if first[0] >> 4 == DISCONNECT:
            raise EOFError
        return first[0] >> 4, self._file.read(size)

    def expect(self, kind: int) -> bytes:
        """The body of the next packet, which must be of this kind."""
        got, body = self.receive()
        assert got == kind, got
        return body

    def connack(self, reason: int = 0) -> bytes:
        """Take CONNECT and answer it; returns its body."""
        body = self.expect(CONNECT)
        self.send(packet(CONNACK, 0, bytes([0, reason, 0])))
        return body

    def suback(self, *reasons: int) -> bytes:
        """Take SUBSCRIBE and answer it; returns its body."""
        body = self.expect(SUBSCRIBE)
        self.send(packet(SUBACK, 0, body[:2] + b"\0" + bytes(reasons or (GRANTED,))))
        return body

    def accept(self) -> None:
        """CONNECT and SUBSCRIBE, both answered well."""
        self.connack()
        self.suback()

    def hold(self) -> None:
        """Answer pings until the consumer goes."""
        while True:
            if self.receive()[0] == PINGREQ:
                self.send(packet(PINGREQ + 1, 0, b""))

    def close(self) -> None:
        """Both ends of it, so that whoever waits for a byte wakes up."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self._file.close()
        self.sock.close()


class FakeMqtt:
    """Runs ``script`` for each connection, in a separate thread; the connection is closed when it returns."""

    def __init__(self, script: Callable[[Link], None]) -> None:
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self.errors: list[Exception] = []
        self._links: set[Link] = set()
        self._threads = [threading.Thread(target=self._accept, name=THREAD_NAME)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            link = Link(sock, self.connections)
            self._links.add(link)
            thread = threading.Thread(target=self._run, args=(link,), name=THREAD_NAME)
            self._threads.append(thread)
            thread.start()

    def _run(self, link: Link) -> None:
        try:
            self._script(link)
        except (OSError, EOFError, IndexError, ValueError):  # the consumer, or the test, closed the connection
            pass
        except Exception as error:
            self.errors.append(error)
        finally:
            link.close()
            self._links.discard(link)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for link in list(self._links):
            with contextlib.suppress(OSError):
                link.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(LINK_SECONDS)
        assert not self.errors, self.errors


@dataclass
class Collected:
    """The other side of the consumer's door: keeps everything."""

    messages: list[Telemetry] = field(default_factory=list)
    states: list[UpstreamState] = field(default_factory=list)

    def put(self, batch: list[Telemetry]) -> None:
        self.messages += batch

    def signal(self, state: UpstreamState) -> None:
        self.states.append(state)

    def device_ids(self) -> list[str]:
        """Whose messages came, in order."""
        return [message.device_id for message in self.messages]

    def wait_for(self, device_id: str) -> None:
        """Wait until a message of that device has come."""
        wait_until(lambda: device_id in self.device_ids(), what=self.device_ids)


def options(port: int, *, host: str = "127.0.0.1", **changes: Any) -> ConsumerOptions:
    """How to reach a broker on loopback."""
    tls, user, password = (changes.pop(name, None) for name in ("tls", "user", "password"))
    address = MqttAddress(host, port, bool(tls), user, password)
    given: dict[str, Any] = {"topics": ("#",), "client_id": "test-consumer", "max_payload_bytes": 1024, **changes}
    return ConsumerOptions(address=address, **given)


def json_decoder() -> JsonDecoder:
    """A decoder of the DEVICE_ID envelope."""
    return JsonDecoder(id_pointers=["/data/DEVICE_ID"], position_pointers=["/data/LAT"], max_payload_bytes=1024)


@contextlib.contextmanager
def nobody_listens() -> Iterator[int]:
    """A port that refuses. It stays taken meanwhile, so that no other program can begin to listen there."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


class Waits:
    """The consumer's jitter: always the same, and notes (failures, base, cap) of each back-off."""

    def __init__(self, seconds: float = 0.01) -> None:
        self._seconds = seconds
        self.asked: list[tuple[int, float, float]] = []

    def __call__(self, failures: int, base: float, cap: float) -> float:
        self.asked.append((failures, base, cap))
        return self._seconds


@contextlib.contextmanager
def consuming(
    given: ConsumerOptions, decoder: Any = None, *, limits: ConsumerLimits = QUICK, waits: Waits | None = None
) -> Iterator[tuple[Consumer, Collected]]:
    """A running consumer; it must end when told to, and leave no thread. It hardly waits between attempts."""
    collected = Collected()
    consumer = Consumer(given, decoder or json_decoder(), collected, limits, jitter=waits or Waits())
    consumer.start()
    try:
        yield consumer, collected
    finally:
        consumer.stop(LINK_SECONDS)  # how quick it is, others show
    assert not consumer.statistics().alive


def lines(caplog: Any, level: int = logging.WARNING) -> list[str]:
    """What the consumer has logged, from that level on."""
    return [record.getMessage() for record in caplog.records if record.levelno >= level]
