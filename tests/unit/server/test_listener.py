"""Listening sockets, addresses for people, and files that run out."""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import select
import socket

import pytest

from bridge.core.addresses import place
from bridge.core.errors import StartError
from bridge.core.rates import EPISODE_SECONDS
from bridge.core.setting_types import check_host
from bridge.server.lifecycle import close_all
from bridge.server.listener import FILES_RESERVE, FileShortage, bind, raise_file_limit
from tests.fakes import Clock

ACCEPT_SECONDS = 10.0
"""For a connection that stands to reach its listener; at once, as a rule."""


@pytest.mark.parametrize(
    "host, shown",
    [
        ("127.0.0.1", "127.0.0.1:80"),
        ("0.0.0.0", "127.0.0.1:80"),
        ("::", "[::1]:80"),
        ("::1", "[::1]:80"),
        ("2001:db8::7", "[2001:db8::7]:80"),
        ("bridge.example.com", "bridge.example.com:80"),
    ],
)
def test_address_is_written_so_that_it_can_be_used(host: str, shown: str) -> None:
    """IPv6 in brackets; for every interface the one on which this machine reaches it."""
    assert place(host, 80) == shown


@pytest.mark.parametrize("text, host", [("[::]", "::"), (" ::1 ", "::1"), ("localhost", "localhost")])
def test_host_is_taken_as_people_write_it(text: str, host: str) -> None:
    """Brackets belong to URLs, and are forgiven."""
    assert check_host(text) == host


def reaches(address: str, sockets: list[socket.socket]) -> bool:
    """Whether a connection to that address comes to ``sockets``: elsewhere another program may have the port."""
    port = sockets[0].getsockname()[1]
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as client:
        if client.connect_ex((address, port)) != 0:
            return False
        for sock in select.select(sockets, [], [], ACCEPT_SECONDS)[0]:
            taken, _ = sock.accept()
            taken.close()
            return True
    return False


@pytest.mark.parametrize("host, reached", [("::", ["127.0.0.1", "::1"]), ("::1", ["::1"]), ("0.0.0.0", ["127.0.0.1"])])
def test_every_interface_is_every_interface(host: str, reached: list[str]) -> None:
    """``::`` means IPv4 as well, whatever the host's default is; every other address only itself."""
    try:
        sockets = bind(host, 0, "BRIDGE_PORT")
    except StartError:
        pytest.skip("this machine has no IPv6")
    try:
        for sock in sockets:
            sock.listen()
        for address in ("127.0.0.1", "::1"):
            assert reaches(address, sockets) == (address in reached)
    finally:
        close_all(sockets)


# --- files ------------------------------------------------------------------------------------------------------


class Limits:
    """The two limits of open files, as the kernel keeps them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, *, fixed: bool = False) -> None:
        self.now = (soft, hard)
        self._fixed = fixed
        monkeypatch.setattr(resource, "getrlimit", lambda _which: self.now)
        monkeypatch.setattr(resource, "setrlimit", self._set)

    def _set(self, _which: int, limits: tuple[int, int]) -> None:
        if self._fixed:
            raise ValueError("current limit exceeds maximum limit")
        self.now = limits


@pytest.mark.parametrize(
    "soft, hard, fixed, warned",
    [
        (1024, 4096, False, False),
        (1024, 1000 + FILES_RESERVE, False, False),
        (1024, 1000 + FILES_RESERVE - 1, False, True),
        (256, 256, False, True),
        (256, 4096, True, True),
        (256, resource.RLIM_INFINITY, False, False),
    ],
)
def test_file_limit_is_raised_and_a_low_one_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, soft: int, hard: int, fixed: bool, warned: bool
) -> None:
    """As many as the host allows; the operator learns at the start what would fail under load."""
    limits = Limits(monkeypatch, soft, hard, fixed=fixed)
    raise_file_limit(1000)
    assert limits.now == ((soft, hard) if fixed else (hard, hard))
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == warned
    assert all("BRIDGE_MAX_CONNECTIONS=1000" in line for line in warnings)


def test_shortage_is_one_line_a_minute(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """By the number of the socket that was accepted, or by the loop's word that none could be."""
    Limits(monkeypatch, 256, 256)
    clock, loop = Clock(), asyncio.new_event_loop()
    shortage = FileShortage(clock, few_files=16)
    try:
        shortage.accepted(256 - 16 - 1)
        assert not caplog.records
        shortage.accepted(255)
        for number in (errno.EMFILE, errno.ENFILE):
            shortage.handle(
                loop, {"message": "socket.accept() out of system resource", "exception": OSError(number, "x")}
            )
        assert len(caplog.records) == 1
        clock.now += EPISODE_SECONDS
        shortage.handle(loop, {"exception": OSError(errno.EMFILE, "x")})
        assert len(caplog.records) == 2
        shortage.handle(loop, {"message": "something else", "exception": OSError(errno.EPERM, "x")})
        assert caplog.records[-1].name == "asyncio"
        assert "something else" in caplog.text
    finally:
        loop.close()
