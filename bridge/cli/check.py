"""``telemetry-bridge check``: would the service start, and would telemetry arrive?"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from dataclasses import replace
from typing import Final

from bridge.app import authenticator_of, consumer_of, consumer_options, decoder_of, groups_of
from bridge.cli.healthcheck import ask, ready_url
from bridge.core.addresses import parse_mqtt_url, place
from bridge.core.errors import StartError
from bridge.core.telemetry import Telemetry, UpstreamState
from bridge.server.lifecycle import close_all
from bridge.server.listener import bind, tls_context
from bridge.settings import PREFIX, Settings, load_settings
from share.service import database_url, share_page, share_ring

ANSWER_SECONDS: Final = 8.0
"""For the MQTT broker to accept, and to grant every topic filter."""
LISTEN_SECONDS: Final = 2.0
"""How long to wait for a first message; none is not a failure, since devices may be quiet."""
_LOOK_SECONDS: Final = 0.1


class _Listener:
    """Takes what the consumer hands over, and notes that something came."""

    def __init__(self) -> None:
        self.heard = threading.Event()

    def put(self, batch: list[Telemetry]) -> None:
        self.heard.set()

    def signal(self, state: UpstreamState) -> None:
        """The statistics say it too."""


def run_check() -> int:
    """0 when all is well; 2 when a setting is wrong; 1 when the host or the MQTT broker refuses."""
    settings = load_settings()
    authenticator_of(settings, groups_of(settings))
    decoder_of(settings)
    url = None
    if settings.share_keys:
        share_ring(settings)
        share_page(settings)
        url = database_url(settings)
    print("settings and keys: OK")
    status = _check_host(settings)
    if url is not None:
        status = max(status, _check_database(url))
    return max(status, _check_mqtt(settings))


def _check_database(url: str) -> int:
    from bridge.storage.limits import StorageLimits
    from bridge.storage.opening import probe_database
    from share.store.migrations import SHARES

    try:
        name = probe_database(url, [SHARES], StorageLimits())
    except StartError as error:
        print(f"{PREFIX}DATABASE_URL: {error}", file=sys.stderr)
        return 1
    print(f"shares in {name}: OK")
    return 0


def _check_host(settings: Settings) -> int:
    status = 0
    for name, port in (("PORT", settings.port), ("ADMIN_PORT", settings.admin_port)):
        if port is None:
            continue
        try:
            close_all(bind(settings.host, port, PREFIX + name))
        except StartError as error:
            if is_served(settings):
                print(f"listening on {place(settings.host, port)}: in use by a bridge with these settings")
                continue
            print(f"{PREFIX}{name}: {error}", file=sys.stderr)
            status = 1
        else:
            print(f"listening on {place(settings.host, port)}: OK")
    if settings.tls_cert and settings.tls_key:
        try:
            tls_context(settings.tls_cert, settings.tls_key)
        except StartError as error:
            print(f"{PREFIX}TLS_CERT: {error}", file=sys.stderr)
            return 1
        print("TLS certificate and key: OK")
    return status


def is_served(settings: Settings) -> bool:
    """Whether a bridge, ready or not, answers at the /readyz of these settings."""
    try:
        status, body = ask(ready_url(settings))
        answer = json.loads(body)
    except (OSError, ValueError):
        return False
    return status in (200, 503) and isinstance(answer, dict) and {"status", "problems"} <= answer.keys()


def _check_mqtt(settings: Settings) -> int:
    address = parse_mqtt_url(settings.mqtt_url.get_secret_value())
    if address is None:
        print("MQTT broker: embedded")
        return 0
    listener = _Listener()
    options = consumer_options(settings, address, settings.mqtt_version)
    # Two clients of one id throw each other out, and the service may be running.
    options = replace(options, client_id=f"{options.client_id}-check")
    consumer = consumer_of(options, decoder_of(settings), listener)
    logging.getLogger("bridge").addHandler(logging.NullHandler())  # its problems are printed below, by setting
    consumer.start()
    try:
        until = time.monotonic() + ANSWER_SECONDS
        while not (statistics := consumer.statistics()).subscribed:
            if statistics.failures or time.monotonic() > until:
                name = "MQTT_TOPICS" if statistics.connected else "MQTT_URL"
                print(f"{PREFIX}{name}: MQTT broker {address}: {statistics.detail}", file=sys.stderr)
                return 1
            time.sleep(_LOOK_SECONDS)
        until = time.monotonic() + LISTEN_SECONDS
        while not (statistics := consumer.statistics()).refused and time.monotonic() < until:
            if listener.heard.wait(_LOOK_SECONDS):
                break
    finally:
        consumer.stop()
    print(f"MQTT broker {address}: subscribed to {', '.join(settings.mqtt_topics)}")
    if statistics.refused and not listener.heard.is_set():
        causes = ", ".join(f"{cause} ({count})" for cause, count in statistics.refused.items())
        print(f"{PREFIX}DEVICE_ID_POINTERS: messages arrive but none can be decoded: {causes}", file=sys.stderr)
        return 1
    print("telemetry: arriving" if listener.heard.is_set() else f"telemetry: none within {LISTEN_SECONDS:g} s")
    return 0
