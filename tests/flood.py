"""A publisher of numbered messages.

No MQTT library: two thousand messages a second must cost next to nothing. MQTT 3.1.1, QoS 0. Message n,
from 1, says ``{"DEVICE_ID":"d…","SEQ":n}`` on ``flood/d…``.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

CONNECT_SECONDS = 60.0
CONNECT = b"\x10\x11\x00\x04MQTT\x04\x02\x00\x3c\x00\x05flood"


def publish_packet(topic: bytes, payload: bytes) -> bytes:
    """A PUBLISH with QoS 0 (MQTT 3.1.1 section 3.3)."""
    body = len(topic).to_bytes(2, "big") + topic + payload
    length, rest = bytearray(), len(body)
    while rest > 0x7F:
        length.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([0x30, *length, rest]) + body


def numbered(sequence: int, devices: int) -> bytes:
    """Message ``sequence`` as a packet."""
    device = f"d{sequence % devices}"
    payload = f'{{"data":{{"DEVICE_ID":"{device}","SEQ":{sequence}}}}}'
    return publish_packet(f"flood/{device}".encode(), payload.encode())


@contextmanager
def publisher(port: int) -> Iterator[socket.socket]:
    """A connection that takes ``numbered`` packets."""
    with socket.create_connection(("127.0.0.1", port), timeout=CONNECT_SECONDS) as sock:
        sock.sendall(CONNECT)
        if sock.recv(4) != b"\x20\x02\x00\x00":
            raise ConnectionRefusedError
        yield sock
        sock.sendall(b"\xe0\x00")
