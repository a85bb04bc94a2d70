"""What the tests of the public stream share: a server per test, both event loops, and a log without secrets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, Protocol

import pytest

from tests.functional.share.stream.served import SharingBridge
from tests.functional.stream.conftest import (
    _bare_environment,
    _no_secrets_in_the_log,
    pytest_asyncio_loop_factories,
)

__all__ = ["_bare_environment", "_no_secrets_in_the_log", "pytest_asyncio_loop_factories"]


class StartSharing(Protocol):
    """Starts a server with these settings; it has stopped, and left nothing behind, when the test has."""

    async def __call__(self, **settings: Any) -> SharingBridge: ...


@pytest.fixture
async def start(_bare_environment: None) -> AsyncIterator[StartSharing]:
    """Makes servers with share links."""
    async with AsyncExitStack() as stack:

        async def start(**settings: Any) -> SharingBridge:
            return await stack.enter_async_context(SharingBridge(**settings))

        yield start


@pytest.fixture
async def bridge(start: StartSharing) -> SharingBridge:
    """A server with the default settings."""
    return await start()
