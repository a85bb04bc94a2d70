"""A publisher of numbered messages, run as a process of its own: ``python flood.py PORT RATE SECONDS DEVICES``.

No MQTT library: two thousand messages a second must cost next to nothing. MQTT 3.1.1, QoS 0. Message n,
from 1, says ``{"DEVICE_ID":"d…","SEQ":n}`` on ``flood/d…``. Prints how many were sent.
"""

from __future__ import annotations

import socket
import sys
import time

BATCH_SECONDS = 0.01
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


def flood(port: int, rate: float, seconds: float, devices: int) -> int:
    """Publish, evenly, ``rate`` messages per second; returns how many that were."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(CONNECT)
        if sock.recv(4) != b"\x20\x02\x00\x00":
            raise ConnectionRefusedError
        began, sent = time.monotonic(), 0
        while (passed := time.monotonic() - began) < seconds:
            due = int(passed * rate)
            sock.sendall(b"".join(numbered(number, devices) for number in range(sent + 1, due + 1)))
            sent = max(sent, due)
            time.sleep(BATCH_SECONDS)
        sock.sendall(b"\xe0\x00")
    return sent


if __name__ == "__main__":
    sys.stdout.write(f"{flood(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))}\n")
