"""Connections without a request head: which ones count, and which ones are cut."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bridge.server.limits import ServerLimits
from bridge.server.listener import FileShortage, SilentConnections
from tests.fakes import Timers

LIMITS = ServerLimits(request_head_seconds=10.0, silent_connections=3)


class Transport:
    """A connection that stands; knows whose it is, and whether it was cut."""

    def __init__(self) -> None:
        self.protocol: Any = None
        self.aborted = False

    def get_extra_info(self, _name: str) -> None:
        return None

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def get_protocol(self) -> Any:
        return self.protocol

    def abort(self) -> None:
        self.aborted = True


class Protocol:
    """What aiohttp would make for a connection."""

    def __init__(self) -> None:
        self.transport: Transport | None = None

    def connection_made(self, transport: Transport) -> None:
        self.transport = transport


class Listener:
    """A listener whose time goes when the test says so."""

    def __init__(self) -> None:
        self.timers = Timers()
        self.silent = SilentConnections(
            FileShortage(lambda: 0.0, 0), LIMITS, clock=lambda: self.timers.now, call_later=self.timers
        )

    def connect(self) -> Transport:
        """One more connection that stands."""
        transport = Transport()
        self.silent.protocol(Protocol).connection_made(transport)  # type: ignore[arg-type]
        return transport

    def ask(self, transport: Transport) -> Any:
        """A complete request head on it; gives what the handler is asked for."""
        request: Any = SimpleNamespace(protocol=transport.protocol)
        return self.silent.heard(request, lambda request: request)  # type: ignore[arg-type, return-value]


@pytest.fixture
def listener() -> Listener:
    """A listener without a connection."""
    return Listener()


def test_silent_connection_is_cut_after_its_time(listener: Listener) -> None:
    """Not before ``request_head_seconds``, and no later; then no timer runs."""
    first = listener.connect()
    listener.timers.advance(5.0)
    second = listener.connect()
    listener.timers.advance(4.9)
    assert not first.aborted
    listener.timers.advance(0.5)
    assert first.aborted
    assert not second.aborted
    listener.timers.advance(5.0)
    assert second.aborted
    assert not listener.timers.due


def test_request_is_the_end_of_silence_and_goes_to_its_handler(listener: Listener) -> None:
    """From the first complete head on a connection is forgotten, however long it says nothing after that."""
    transport = listener.connect()
    assert listener.ask(transport).protocol is transport.protocol
    assert len(listener.silent) == 0
    listener.timers.advance(60.0)
    assert not transport.aborted
    listener.ask(transport)  # a second request on the same connection is nothing new


def test_transport_that_another_protocol_has_is_not_cut(listener: Listener) -> None:
    """Whoever takes a connection over owns it, also where the listener has heard of no request."""
    transport = listener.connect()
    transport.set_protocol(object())
    listener.timers.advance(60.0)
    assert not transport.aborted
    assert len(listener.silent) == 0


def test_upgraded_connections_leave_room(listener: Listener) -> None:
    """A connection that has asked and left for another protocol is not among those that must make room."""
    upgraded = [listener.connect() for _ in range(LIMITS.silent_connections)]
    for transport in upgraded:
        listener.ask(transport)
        transport.set_protocol(object())
    silent = [listener.connect() for _ in range(LIMITS.silent_connections + 1)]
    assert not any(transport.aborted for transport in upgraded)
    assert [transport.aborted for transport in silent] == [True, False, False, False]


def test_connection_that_has_gone_is_left_alone(listener: Listener) -> None:
    """Its protocol has no transport any more."""
    transport = listener.connect()
    transport.protocol.transport = None
    listener.timers.advance(60.0)
    assert not transport.aborted
