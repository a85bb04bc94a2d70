"""Rules for all tests: no secret of any kind reaches a log, at any level; and Ctrl-C works."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bridge.access.redaction import redact
from share.api.passwords import Passwords
from share.links.links import Links

OURS = ("bridge", "share", "aiohttp", "asyncio", "alembic", "amqtt", "paho", "transitions")
"""Loggers that a server's log at DEBUG holds: ours, and those of what a server is made of; not the tests' own tools.
Not SQLAlchemy's, which sets its own level to WARNING."""
ACCESS = "aiohttp.access"
"""A test's own little server may have this log; the bridge has not, for it prints the query string."""
SHORTEST_SECRET = 8
"""Shorter passwords are words that may stand in a log for another reason."""


class Ear(logging.Handler):
    """Hears every record at DEBUG, and knows the codes and passwords of the shares that were made."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self.secrets: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.split(".")[0] in OURS and record.name != ACCESS:
            self.lines.append(self.format(record))

    def learn(self, secret: str) -> None:
        """From now on nobody may say this."""
        if len(secret) >= SHORTEST_SECRET:
            self.secrets.add(secret)

    def leaks(self) -> list[str]:
        """The lines since the last call that hold a secret."""
        lines, self.lines = self.lines, []
        return [line for line in lines if redact(line) != line or any(secret in line for secret in self.secrets)]


def pytest_configure() -> None:
    """Ctrl-C is heard by what the tests start: a shell's background job, such as a CI's, hands it down as ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def _ear() -> Iterator[Ear]:
    ear = Ear()
    root = logging.getLogger()
    with pytest.MonkeyPatch.context() as patch:
        _listen_to_codes(patch, ear)
        _listen_to_passwords(patch, ear)
        root.addHandler(ear)
        yield ear
        root.removeHandler(ear)


def _listen_to_codes(patch: pytest.MonkeyPatch, ear: Ear) -> None:
    create: Callable[..., Any] = Links.create

    async def listened(self: Links, *arguments: Any) -> Any:
        share, code = await create(self, *arguments)
        ear.learn(code)
        return share, code

    patch.setattr(Links, "create", listened)


def _listen_to_passwords(patch: pytest.MonkeyPatch, ear: Ear) -> None:
    for name in ("hash", "verify"):
        call: Callable[..., Any] = getattr(Passwords, name)

        async def listened(self: Passwords, *arguments: str, _call: Callable[..., Any] = call) -> Any:
            for argument in arguments:
                ear.learn(argument)
            return await _call(self, *arguments)

        patch.setattr(Passwords, name, listened)


@pytest.fixture(autouse=True)
def _no_secret_in_any_log(_ear: Ear) -> Iterator[None]:
    """Whatever a test does, and whatever level it sets: no code, token, password or key at DEBUG or above."""
    # asyncio's only DEBUG line is which selector it uses, and tests that look for silence would hear it.
    loggers = [logging.getLogger(name) for name in OURS if name != "asyncio"]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)
    assert not _ear.leaks()
