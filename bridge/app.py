"""The server: everything put together, started and stopped from top to bottom."""

from __future__ import annotations

import asyncio
import logging
import secrets
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from bridge.access.authenticator import Authenticator
from bridge.access.groups import load_groups
from bridge.access.paseto import KeyRing
from bridge.core.addresses import EMBEDDED, EVERY_INTERFACE, MqttAddress, parse_mqtt_url, place
from bridge.core.device_ids import Groups
from bridge.core.errors import SettingsError
from bridge.ingest.decoding import Decoder
from bridge.ingest.decoding.json_decoder import JsonDecoder
from bridge.ingest.handoff import Handoff
from bridge.ingest.mqtt import Consumer, ConsumerOptions, Door, in_words
from bridge.ingest.mqtt.embedded import MQTT_VERSION, EmbeddedBroker
from bridge.ingest.mqtt.limits import ConsumerLimits
from bridge.server.lifecycle import close_all, drain, open_listeners
from bridge.server.limits import ServerLimits
from bridge.server.listener import bind, raise_file_limit, tls_context
from bridge.server.logs import Logs
from bridge.server.operations import Operations
from bridge.settings import PREFIX, Settings
from bridge.storage.limits import StorageLimits
from bridge.stream.limits import StreamLimits
from bridge.stream.service import StreamService
from share.model.limits import ShareLimits
from share.service import ROUTES_OFF, Sharing, sharing

log = logging.getLogger("bridge.app")


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. ``port`` and ``admin_port`` are the real ones."""

    streaming: StreamService
    consumer: Consumer
    port: int
    admin_port: int | None
    mqtt: MqttAddress
    sharing: Sharing | None


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of each wing that no setting changes."""

    consumer: ConsumerLimits = ConsumerLimits()
    server: ServerLimits = ServerLimits()
    share: ShareLimits = ShareLimits()
    storage: StorageLimits = StorageLimits()
    stream: StreamLimits = StreamLimits()


@asynccontextmanager
async def running(settings: Settings, logs: Logs | None = None, limits: Limits = Limits()) -> AsyncIterator[Server]:
    """A server from start to stop. SettingsError or StartError before anything listens.

    On leaving: unready at once, no new connections, the consumer ends, every stream is closed with
    1001, all together, and what is left after ``drain_seconds`` is aborted.
    """
    loop = asyncio.get_running_loop()
    decoder = decoder_of(settings)
    async with AsyncExitStack() as stack:
        sockets = bind(settings.host, settings.port, "BRIDGE_PORT")
        stack.callback(close_all, sockets)
        admin = [] if settings.admin_port is None else bind(settings.host, settings.admin_port, "BRIDGE_ADMIN_PORT")
        stack.callback(close_all, admin)
        tls = tls_context(settings.tls_cert, settings.tls_key) if settings.tls_cert and settings.tls_key else None

        streaming = stream_service_of(settings, limits.stream)
        handoff = Handoff(loop)
        handoff.open(streaming.intake)
        address, version = _mqtt(settings, stack)
        consumer = consumer_of(consumer_options(settings, address, version), decoder, handoff, limits.consumer)
        shares = (
            await stack.enter_async_context(sharing(settings, streaming, limits.share, limits.storage))
            if settings.share_keys
            else None
        )
        operations = Operations(
            streaming,
            consumer.statistics,
            handoff.statistics,
            logs.dropped if logs else int,
            shares.statistics if shares else None,
        )

        public = web.Application()
        public.add_routes(streaming.routes())
        public.add_routes(shares.routes if shares else ROUTES_OFF)
        if not admin:
            public.add_routes(operations.routes())
        listeners = await open_listeners(stack, public, sockets, tls, limits.server)
        if admin:
            private = web.Application()
            private.add_routes(operations.routes())
            await open_listeners(stack, private, admin, None, limits.server)

        consumer.start()
        drain_seconds = settings.drain_seconds
        if shares:
            drain_seconds -= min(shares.closing_seconds, drain_seconds / 2)
        stack.push_async_callback(drain, streaming, consumer, handoff, listeners, drain_seconds)
        port = sockets[0].getsockname()[1]
        admin_port = admin[0].getsockname()[1] if admin else None
        scheme = "https" if tls else "http"
        where = " (every interface)" if settings.host in EVERY_INTERFACE else ""
        log.info("Listening on %s://%s%s, MQTT broker %s", scheme, place(settings.host, port), where, address)
        yield Server(streaming, consumer, port, admin_port, address, shares)


async def serve(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; a second signal ends the process at once. Returns the exit status."""
    logs = Logs(settings.log_level, settings.log_format)
    logs.start()
    raise_file_limit(settings.max_connections)
    try:
        async with running(settings, logs):
            await until_signal()
        log.info("Stopped")
    finally:
        logs.stop()
    return 0


async def until_signal() -> None:
    """Wait for SIGTERM or SIGINT. From then on a second one ends the process at once."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def received(number: signal.Signals) -> None:
        log.info("%s: draining; a second signal ends the process at once", number.name)
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, received, number)
    await stop.wait()


# --- the parts ------------------------------------------------------------------------------------------


def groups_of(settings: Settings) -> Groups:
    """The groups file, read. SettingsError when it cannot be."""
    if settings.groups_file is None:
        return {}
    try:
        return load_groups(settings.groups_file)
    except (OSError, ValueError) as error:
        raise SettingsError([("BRIDGE_GROUPS_FILE", str(error))]) from None


def stream_service_of(
    settings: Settings,
    limits: StreamLimits = StreamLimits(),
    *,
    clock: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
) -> StreamService:
    """The streams, put together. Must be called on the running loop. SettingsError as of the two parts above and below.

    ``clock`` is wall-clock; ``monotonic`` Python's, since uvloop cuts its own to milliseconds.
    """
    groups = groups_of(settings)
    return StreamService(
        settings,
        settings,
        authenticator=authenticator_of(settings, groups),
        groups=groups,
        public_url=settings.public_url,
        tls=settings.tls_cert is not None,
        limits=limits,
        clock=clock,
        monotonic=monotonic,
    )


def authenticator_of(settings: Settings, groups: Groups) -> Authenticator | None:
    """Who may come in; None under AUTH=off. SettingsError when a key is wrong."""
    if settings.auth == "off":
        return None
    try:
        return Authenticator(KeyRing(key.get_secret_value() for key in settings.access_keys), groups)
    except ValueError as error:
        raise SettingsError([("BRIDGE_ACCESS_KEYS", str(error))]) from None


def decoder_of(settings: Settings) -> JsonDecoder:
    """How payloads are read. SettingsError names each pointer setting, or the topic pattern, that is wrong."""
    problems: list[tuple[str, str]] = []
    given: dict[str, Any] = {"device_id_pointers": (), "position_pointers": (), "device_id_topic": ""}
    for name in given:  # each by itself: the decoder's words do not say whose mistake it is
        alone = given | {name: getattr(settings, name)}
        try:
            _decoder(alone, settings.max_payload_bytes)
        except ValueError as error:
            problems.append((PREFIX + name.upper(), str(error)))
    if problems:
        raise SettingsError(problems)
    return _decoder(settings.model_dump(include=set(given)), settings.max_payload_bytes)


def _decoder(given: Mapping[str, Any], max_payload_bytes: int) -> JsonDecoder:
    return JsonDecoder(
        id_pointers=given["device_id_pointers"],
        position_pointers=given["position_pointers"],
        topic_pattern=given["device_id_topic"],
        max_payload_bytes=max_payload_bytes,
    )


def _mqtt(settings: Settings, stack: AsyncExitStack) -> tuple[MqttAddress, str]:
    """Where the MQTT broker is and what it speaks; an embedded one is started."""
    url = settings.mqtt_url.get_secret_value()
    address = parse_mqtt_url(url)
    if address is not None:
        return address, settings.mqtt_version
    assert url == EMBEDDED
    embedded = EmbeddedBroker()
    embedded.start()
    stack.callback(embedded.stop)
    return embedded.address, MQTT_VERSION


def consumer_of(
    options: ConsumerOptions, decoder: Decoder, door: Door, limits: ConsumerLimits = ConsumerLimits()
) -> Consumer:
    """A consumer, not started. SettingsError when the authority's file cannot be used."""
    try:
        return Consumer(options, decoder, door, limits)
    except OSError as error:
        raise SettingsError([("BRIDGE_MQTT_CA_FILE", f"{options.ca_file} cannot be used: {in_words(error)}")]) from None


def consumer_options(settings: Settings, address: MqttAddress, version: str) -> ConsumerOptions:
    """What the consumer needs to know, with a fresh client id where none is set."""
    return ConsumerOptions(
        address=address,
        topics=settings.mqtt_topics,
        client_id=settings.mqtt_client_id or f"telemetry-bridge-{secrets.token_hex(4)}",
        qos=settings.mqtt_qos,
        version=version,
        ca_file=str(settings.mqtt_ca_file) if settings.mqtt_ca_file else None,
        max_payload_bytes=settings.max_payload_bytes,
    )
