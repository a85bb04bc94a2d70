"""What the tests of the stream share: a server per test, both event loops, and a log without secrets."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest
import uvloop

from bridge.access.redaction import redact
from tests.functional.stream.served import SECRETS, Bridge


class StartBridge(Protocol):
    """Starts a server with these settings; it has stopped, and left nothing behind, when the test has."""

    async def __call__(self, **settings: Any) -> Bridge: ...


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every test here runs on both loops: they differ in what a closed transport still does."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("BRIDGE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _no_secrets_in_the_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever a test does, no record holds a token or a key that a test has used."""
    caplog.set_level(logging.INFO)
    yield
    records = [record for phase in ("setup", "call", "teardown") for record in caplog.get_records(phase)]
    text = "\n".join(map(caplog.handler.format, records))
    leaked = [secret[:16] for secret in SECRETS if secret in text]
    assert not leaked
    assert redact(text) == text


@pytest.fixture
async def start(_bare_environment: None) -> AsyncIterator[StartBridge]:
    """Makes servers."""
    async with AsyncExitStack() as stack:

        async def start(**settings: Any) -> Bridge:
            return await stack.enter_async_context(Bridge(**settings))

        yield start


@pytest.fixture
async def bridge(start: StartBridge) -> Bridge:
    """A server with the default settings."""
    return await start()
