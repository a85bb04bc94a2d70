"""What the tests with real parts share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.environment import find_program
from tests.mosquitto import Credentials, MosquittoServer, make_credentials
from tests.parts import lacking
from tests.serving import Serving, StartServing
from tests.sharing import Sharing

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this folder ``real``, so that ``-m 'not real'`` leaves it out."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.real)


def need(*programs: str) -> None:
    """Skip the test when a program is missing; in CI, where all of them are installed, fail."""
    missing = [name for name in programs if find_program(name) is None]
    if missing:
        lacking(f"not installed: {', '.join(missing)} (make parts)")


class StartMosquitto(Protocol):
    """Makes and starts a Mosquitto with the options of ``MosquittoServer``."""

    def __call__(
        self,
        *,
        credentials: Credentials | None = None,
        acl: bool = False,
        tls: bool = False,
        websockets: bool = False,
        shipped: bool = False,
        extra: tuple[str, ...] = (),
    ) -> MosquittoServer: ...


@pytest.fixture
def start_mosquitto(tmp_path: Path) -> Iterator[StartMosquitto]:
    """Starts any number of Mosquittos; all of them have ended when the test has."""
    need("mosquitto", "mosquitto_pub", "mosquitto_sub")
    servers: list[MosquittoServer] = []

    def start(
        *,
        credentials: Credentials | None = None,
        acl: bool = False,
        tls: bool = False,
        websockets: bool = False,
        shipped: bool = False,
        extra: tuple[str, ...] = (),
    ) -> MosquittoServer:
        folder = tmp_path / f"mosquitto-{len(servers)}"
        folder.mkdir()
        server = MosquittoServer(
            folder, credentials=credentials, acl=acl, tls=tls, websockets=websockets, shipped=shipped, extra=extra
        )
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def mosquitto(start_mosquitto: StartMosquitto) -> MosquittoServer:
    """A running Mosquitto, open to everyone on ``mosquitto.port``."""
    return start_mosquitto()


@pytest.fixture(scope="session")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    """Throw-away passwords for ``bridge``, ``truck-1`` and ``truck-2``, a private authority and a certificate."""
    need("mosquitto_passwd", "openssl")
    return make_credentials(tmp_path_factory.mktemp("credentials"), "bridge", "truck-1", "truck-2")


@pytest.fixture
def start_serving(tmp_path: Path) -> Iterator[StartServing]:
    """Starts any number of ``telemetry-bridge serve``; all of them have ended when the test has."""
    with ExitStack() as stack:
        count = 0

        def start(**options: object) -> Serving:
            nonlocal count
            folder = tmp_path / f"serve-{count}"
            folder.mkdir()
            count += 1
            return stack.enter_context(Serving(folder, **options))  # type: ignore[arg-type]

        yield start


class StartSharing(Protocol):
    """Starts a ``Sharing`` that is ready for telemetry of ``mosquitto``."""

    def __call__(self, mosquitto: MosquittoServer, **options: Any) -> Sharing: ...


@pytest.fixture
def start_sharing(tmp_path: Path) -> Iterator[StartSharing]:
    """Starts any number of servers with share links; in the end no log of theirs holds a secret."""
    started: list[Sharing] = []
    with ExitStack() as stack:

        def start(mosquitto: MosquittoServer, **options: Any) -> Sharing:
            folder = tmp_path / f"sharing-{len(started)}"
            folder.mkdir()
            sharing = stack.enter_context(Sharing(folder, mqtt_url=mosquitto.url(), **options))
            started.append(sharing)
            sharing.wait_ready()
            return sharing

        yield start
    for sharing in started:
        sharing.check_log()
