"""``stop()`` is quick in every state and leaves nothing behind."""

from __future__ import annotations

import gc
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from bridge.ingest.mqtt import Consumer, ConsumerLimits
from tests.functional.ingest.fake_mqtt import (
    BAD_CREDENTIALS,
    LINK_SECONDS,
    NOT_AUTHORIZED,
    THREAD_NAME,
    Collected,
    FakeMqtt,
    Link,
    Waits,
    json_decoder,
    nobody_listens,
    options,
    position,
)
from tests.sockets import open_files
from tests.waiting import wait_until

STOP_SECONDS = 10.0
"""Far above what stopping needs on a busy machine, far below every wait that it must not sit out (LINK_SECONDS)."""


def floods(link: Link) -> None:
    """Accept, and send as fast as the consumer takes it."""
    link.accept()
    batch = position("A") * 1_000
    while True:
        link.send(batch)


def accepts(link: Link) -> None:
    """Say yes to all."""
    link.accept()
    link.hold()


def refuses(link: Link) -> None:
    """Wrong password."""
    link.connack(BAD_CREDENTIALS)


def refuses_the_filter(link: Link) -> None:
    """The access list says no."""
    link.connack()
    link.suback(NOT_AUTHORIZED)
    link.hold()


def stops_reading(link: Link) -> None:
    """Accept and then neither read nor write."""
    link.accept()
    link.sock.recv(1, socket.MSG_PEEK)  # looks, and leaves it where it is


Reached = Callable[[Consumer], bool]
STATES: dict[str, tuple[Callable[[Link], None], Reached]] = {
    "subscribed": (accepts, lambda consumer: consumer.statistics().ready),
    "flooded": (floods, lambda consumer: consumer.statistics().received > 5_000),
    "no CONNACK": (Link.hold, lambda consumer: consumer.statistics().alive),
    "connection refused": (refuses, lambda consumer: "refused" in consumer.statistics().detail),
    "filter refused": (refuses_the_filter, lambda consumer: "refused" in consumer.statistics().detail),
    "broker does not read": (stops_reading, lambda consumer: consumer.statistics().ready),
    "closed at once": (lambda link: None, lambda consumer: consumer.statistics().detail != "not started"),
}


@contextmanager
def nothing_left_behind() -> Iterator[None]:
    """No thread and no file more than before."""
    gc.collect()
    threads, files = threading.active_count(), open_files()
    yield
    gc.collect()
    wait_until(lambda: threading.active_count() <= threads, what=threading.enumerate)
    wait_until(lambda: open_files() <= files, what=open_files)


@pytest.mark.parametrize("script, reached", STATES.values(), ids=STATES.keys())
def test_stop_is_quick_and_leaves_no_thread_and_no_file(script: Callable[[Link], None], reached: Reached) -> None:
    """Whatever the consumer is doing, and whatever the MQTT broker does not do."""
    with nothing_left_behind(), FakeMqtt(script) as broker:
        consumer = Consumer(options(broker.port), json_decoder(), Collected())
        consumer.start()
        wait_until(lambda: reached(consumer))
        began = time.monotonic()
        consumer.stop(LINK_SECONDS)
        consumer.stop(LINK_SECONDS)
        assert time.monotonic() - began < STOP_SECONDS
        assert not consumer.statistics().alive
        assert not [thread for thread in threading.enumerate() if thread.name == "mqtt-consumer"]


def test_stop_before_start_leaves_nothing() -> None:
    """A server whose start fails half-way stops what it never started."""
    with nothing_left_behind():
        consumer = Consumer(options(1), json_decoder(), Collected())
        consumer.stop()
        assert not consumer.statistics().alive


def test_stop_during_back_off_is_quick() -> None:
    """Nobody listens, and the next attempt is half a minute away."""
    with nothing_left_behind(), nobody_listens() as port:
        consumer = Consumer(options(port), json_decoder(), Collected(), jitter=Waits(30.0))
        consumer.start()
        wait_until(lambda: "refused" in consumer.statistics().detail)
        began = time.monotonic()
        consumer.stop(LINK_SECONDS)
        assert time.monotonic() - began < STOP_SECONDS
        assert not consumer.statistics().alive


@contextmanager
def deaf_port() -> Iterator[int]:
    """A port whose connections are never taken, so that the kernel leaves the next one waiting."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as stack:
        address = listener.getsockname()
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        yield address[1]


@contextmanager
def silent_port(tls: bool) -> Iterator[int]:
    """A port where connecting does not come to an end: its TCP handshake, or its TLS one."""
    if tls:
        with FakeMqtt(Link.hold) as broker:
            yield broker.port
    else:
        with deaf_port() as port:
            yield port


# paho leaves the socket of a handshake that failed to the garbage collector (paho-mqtt 2.2 _ssl_wrap_socket).
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("tls", [False, True], ids=["TCP", "TLS"])
def test_stop_while_connecting_returns_in_time(tls: bool) -> None:
    """The system is still connecting: stop() does not wait for it."""
    limits = ConsumerLimits(connect_seconds=LINK_SECONDS)
    with nothing_left_behind():
        with silent_port(tls) as port:
            consumer = Consumer(options(port, tls=tls), json_decoder(), Collected(), limits)
            consumer.start()
            time.sleep(0.2)
            began = time.monotonic()
            consumer.stop()
            assert time.monotonic() - began < STOP_SECONDS
        wait_until(lambda: not consumer.statistics().alive)
    assert not [thread for thread in threading.enumerate() if thread.name == THREAD_NAME]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # as above
@pytest.mark.parametrize("tls", [False, True], ids=["TCP", "TLS"])
def test_connecting_is_given_up_in_time(tls: bool) -> None:
    """By itself, while nobody answers: the system's own patience is minutes long, and TLS has none."""
    limits = ConsumerLimits(connect_seconds=1.0)
    with nothing_left_behind(), silent_port(tls) as port:
        consumer = Consumer(options(port, tls=tls), json_decoder(), Collected(), limits)
        consumer.start()
        time.sleep(0.2)
        consumer.stop(0.0)
        wait_until(lambda: not consumer.statistics().alive)


def test_a_flapping_broker_grows_nothing() -> None:
    """Two hundred connections one after the other: one thread, and the files of one connection."""
    with nothing_left_behind(), FakeMqtt(Link.accept) as broker:
        consumer = Consumer(options(broker.port), json_decoder(), Collected(), jitter=Waits(0.0))
        consumer.start()
        wait_until(lambda: broker.connections > 20)
        files = open_files()
        wait_until(lambda: broker.connections > 200)
        # One connection more, seen from both of its ends; a thread that has not closed its own yet will.
        wait_until(lambda: open_files() <= files + 4, what=open_files)
        assert len([thread for thread in threading.enumerate() if thread.name == "mqtt-consumer"]) == 1
        consumer.stop()
