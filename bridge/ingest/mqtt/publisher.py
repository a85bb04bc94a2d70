"""One MQTT connection that publishes, without paho's own loop.

paho's ``loop_start()`` waits with ``select()``, which cannot watch file descriptors above 1,023 and
then reconnects for ever (eclipse/paho.mqtt.python#819). The demo runs this in the same process as the
server's sockets, so ``turn()`` waits with ``selectors`` (epoll) instead.
"""

from __future__ import annotations

import contextlib
import secrets
import selectors
import time
from pathlib import Path
from typing import Any, Final

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from bridge.core.addresses import MqttAddress
from bridge.core.errors import BridgeError

CONNECT_SECONDS: Final = 5.0
"""From the first SYN to CONNACK, each of TCP, TLS and MQTT; paho's default too."""
KEEPALIVE_SECONDS: Final = 20
"""MQTT keep-alive: a broker that is gone without a word is noticed within twice this."""
_HOPELESS = {"Bad user name or password", "Not authorized", "Banned", "Bad authentication method"}
"""CONNACK reasons (MQTT 5.0 section 3.2.2.2) that trying again does not cure."""


class LinkLostError(BridgeError):
    """The connection could not be made or has ended. The text is for the operator and holds no secret."""


class RefusedError(LinkLostError):
    """The MQTT broker does not accept these credentials."""


class Publisher:
    """One MQTT connection for publishing at QoS 0, from connect to close, driven by the thread that made it."""

    def __init__(self, address: MqttAddress, version: str, ca_file: Path | None) -> None:
        """Connect, which blocks up to twice CONNECT_SECONDS. OSError when it cannot."""
        self.ready = False
        self._lost: LinkLostError | None = None
        self._deadline = time.monotonic() + 2 * CONNECT_SECONDS
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"tb-fleet-{secrets.token_hex(4)}",
            protocol=mqtt.MQTTv5 if version == "5" else mqtt.MQTTv311,
        )
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.connect_timeout = CONNECT_SECONDS
        if address.tls:
            self._client.tls_set(ca_certs=str(ca_file) if ca_file else None)
        if address.username is not None:
            self._client.username_pw_set(address.username, address.password)
        self._client.connect(address.host, address.port, KEEPALIVE_SECONDS)
        socket = self._client.socket()
        if socket is None:
            raise LinkLostError("closed at once")
        self._socket = socket
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._socket, selectors.EVENT_READ)

    @property
    def congested(self) -> bool:
        """Whether the MQTT broker takes no data at present: publishing now would only queue."""
        return self._client.want_write()

    def publish(self, topic: str, message: bytes) -> None:
        """Hand one message to the socket, QoS 0."""
        self._client.publish(topic, message, qos=0)

    def turn(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds, then read, write and keep alive. LinkLostError when the link is lost."""
        self._check_lost()  # publish() may have found out; then paho has closed the socket
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._client.want_write() else 0)
        self._selector.modify(self._socket, events)
        self._selector.select(timeout)
        # Read whatever the selector says: TLS may hold bytes that the kernel no longer has.
        codes = [self._client.loop_read()]
        if self._client.want_write():
            codes.append(self._client.loop_write())
        codes.append(self._client.loop_misc())
        self._check_lost()
        failed = next((code for code in codes if code != MQTTErrorCode.MQTT_ERR_SUCCESS), None)
        if failed is not None:
            raise LinkLostError(mqtt.error_string(failed))
        if not self.ready and time.monotonic() > self._deadline:
            raise LinkLostError("no CONNACK in time; is this an MQTT port?")

    def _check_lost(self) -> None:
        if self._lost is not None:
            raise self._lost

    def close(self) -> None:
        """Say goodbye if possible and give up both file descriptors."""
        self.ready = False
        with contextlib.suppress(Exception):
            self._client.disconnect()
        self._selector.close()
        self._socket.close()

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        if reason.is_failure:
            self._lost = (RefusedError if str(reason) in _HOPELESS else LinkLostError)(str(reason))
        else:
            self.ready = True

    def _on_disconnect(self, _client: Any, _data: Any, flags: Any, reason: ReasonCode, _properties: Any) -> None:
        # Without a DISCONNECT packet paho's reason is "Unspecified error", which says nothing.
        self._lost = self._lost or LinkLostError(
            str(reason) if flags.is_disconnect_packet_from_server else "connection lost"
        )
