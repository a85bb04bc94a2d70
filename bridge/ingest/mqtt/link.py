"""One MQTT client whose PUBLISH packets never pass through paho.

paho opens the connection (TLS, CONNECT,
CONNACK), subscribes and keeps alive; the bytes that the MQTT broker sends go through a ``PublishLifter``
first, and only complete control packets reach paho's own reader.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from bridge.core.addresses import MqttAddress
from bridge.core.limits import MQTT_READ_BYTES
from bridge.ingest.mqtt.limits import ConsumerLimits
from bridge.ingest.mqtt.options import ConsumerOptions
from bridge.ingest.mqtt.packets import Publish, PublishLifter

RECEIVE_MAXIMUM: Final = 1000
"""QoS 1 messages on their way to us at a time (MQTT 5.0 section 3.1.2.11.3): PUBACKs go out per batch."""

_QUICKACK: Final = getattr(socket, "TCP_QUICKACK", None)
"""Acknowledge at once (tcp(7); not permanent, so after every read). Mosquitto leaves Nagle's algorithm on
(``set_tcp_nodelay false``), and with a delayed ACK a message waits up to 40 ms for no reason."""


class LiftedSocket:
    """A socket as paho wants one (its ``SocketLike`` protocol), whose reading side is fed by ``fill``."""

    def __init__(self, sock: Any, lifter: PublishLifter, on_bytes: Callable[[], None]) -> None:
        self._sock = sock
        self._on_bytes = on_bytes
        self.lifter = lifter
        self._packets: deque[bytes] = deque()
        self.ended = False
        # All else that paho and a selector ask of it is the socket's own.
        self.send = sock.send
        self.close = sock.close
        self.fileno = sock.fileno
        self.setblocking = sock.setblocking

    def fill(self) -> list[Publish]:
        """Read once what the kernel (or the TLS layer) has, without blocking.

        Raises OSError when the connection broke and MalformedPacketError when the stream is no MQTT.
        """
        try:
            data = self._sock.recv(MQTT_READ_BYTES)
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return []
        if not data:
            self.ended = True
            return []
        if _QUICKACK is not None:
            self._sock.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        self._on_bytes()
        publishes, packets = self.lifter.feed(data)
        self._packets.extend(packets)
        return publishes

    def buffered(self) -> bool:
        """Whether the TLS layer holds bytes that no selector will announce."""
        return isinstance(self._sock, ssl.SSLSocket) and self._sock.pending() > 0

    def has_packet(self) -> bool:
        """Whether a control packet waits for paho."""
        return bool(self._packets)

    def recv(self, size: int) -> bytes:
        """What paho reads: the bytes of complete control packets, and nothing beyond them."""
        if not self._packets:
            if self.ended:
                return b""
            raise BlockingIOError
        packet = self._packets.popleft()
        if len(packet) > size:
            self._packets.appendleft(packet[size:])
        return packet[:size]


class LiftingClient(paho.Client):
    """paho's client with a ``LiftedSocket`` in the place of its socket.

    ``_create_socket`` is not public: paho swaps in its own wrapper there for WebSockets, and this does
    the same. ``tests/functional/ingest/test_consumer.py`` fails should a later paho not call it.
    """

    def __init__(self, make_lifter: Callable[[], PublishLifter], limits: ConsumerLimits, **options: Any) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, **options)
        self._make_lifter = make_lifter
        self._keepalive_seconds = limits.keepalive_seconds
        self.connect_timeout = limits.connect_seconds
        self.lifted: LiftedSocket | None = None

    def _create_socket(self) -> Any:
        self.lifted = LiftedSocket(super()._create_socket(), self._make_lifter(), self._note_bytes)
        return self.lifted

    def _note_bytes(self) -> None:
        """paho 2.2 gives a PINGRESP more time while bytes arrive, since one large message may come before it.

        It would note them itself, had they passed through it.
        """
        with self._msgtime_mutex:
            self._last_bytes_received = time.monotonic()

    def open(self, address: MqttAddress) -> LiftedSocket:
        """Connect (TCP and TLS, ``connect_seconds`` each) and send CONNECT. OSError when that fails."""
        options: dict[str, Any] = {}
        if self.protocol == paho.MQTTv5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.ReceiveMaximum = RECEIVE_MAXIMUM
            properties.SessionExpiryInterval = 0
            options = {"clean_start": True, "properties": properties}
        self.connect(address.host, address.port, self._keepalive_seconds, **options)
        assert self.lifted is not None
        return self.lifted


def make_client(options: ConsumerOptions, limits: ConsumerLimits = ConsumerLimits()) -> LiftingClient:
    """A client for ``options``, not connected. ssl.SSLError or OSError when the CA file cannot be read."""
    v5 = options.version == "5"
    client = LiftingClient(
        lambda: PublishLifter(properties=v5, max_payload_bytes=options.max_payload_bytes),
        limits,
        client_id=options.client_id,
        protocol=paho.MQTTv5 if v5 else paho.MQTTv311,
        reconnect_on_failure=False,
        manual_ack=True,
    )
    if options.address.username is not None:
        client.username_pw_set(options.address.username, options.address.password)
    if options.address.tls:
        client.tls_set_context(ssl.create_default_context(cafile=options.ca_file))
    # With it set, paho never writes inside our calls. Nothing to note: ``want_write`` is asked before every wait.
    client.on_socket_register_write = lambda *_: None
    return client


def in_words(error: BaseException) -> str:
    """Why a link ended, for the operator: one line, without numbers and source files of the TLS library."""
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message.removesuffix(".")
        return f"its certificate is not trusted: {why}; check BRIDGE_MQTT_CA_FILE and the host in BRIDGE_MQTT_URL"
    if isinstance(error, ssl.SSLError) and error.reason:
        return f"TLS: {error.reason.lower().replace('_', ' ')}"
    text = (error.strerror if isinstance(error, OSError) else "") or str(error)
    return " ".join(text.split()) or type(error).__name__
