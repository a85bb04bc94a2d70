"""An MQTT broker inside the process, for trying out: amqtt on a loopback port, in a separate thread."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from typing import Any, Final

from bridge.core.addresses import MqttAddress
from bridge.core.errors import StartError

START_SECONDS: Final = 10.0
_LOOPBACK: Final = "127.0.0.1"
MQTT_VERSION: Final = "3.1.1"
"""What amqtt speaks."""


class EmbeddedBroker:
    """amqtt bound to 127.0.0.1, so that no stranger from outside reaches it; any local program may.

    Its own thread and loop: what it costs is not the bridge's. Not for production: its queues are not
    bounded.
    """

    def __init__(self, port: int = 0) -> None:
        """``port`` 0 takes a free one. StartError when amqtt is not installed or the port is in use."""
        try:
            from amqtt.broker import Broker  # type: ignore[import-untyped]
        except ImportError:
            raise StartError("the embedded MQTT broker needs amqtt: pip install 'telemetry-bridge[embedded]'") from None
        self._broker_class: Any = Broker
        self.address = MqttAddress(_LOOPBACK, port or _free_port(), False, None, None)
        self._thread = threading.Thread(target=self._run, name="embedded-mqtt", daemon=True)
        self._started = threading.Event()
        self._stop = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._error: BaseException | None = None

    def start(self) -> None:
        """Returns when it listens. StartError when it does not."""
        for name in ("amqtt", "transitions"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._thread.start()
        if not self._started.wait(START_SECONDS) or self._error is not None:
            raise StartError(f"the embedded MQTT broker did not start on {self.address}: {self._error or 'no answer'}")

    def stop(self) -> None:
        """End it, in two seconds at most."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(2.0)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # start() raises it
            self._error = error
            self._started.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        broker = self._broker_class(
            {
                "listeners": {"default": {"type": "tcp", "bind": str(self.address)}},
                "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
            },
            loop=self._loop,
        )
        await broker.start()
        self._started.set()
        await self._stop.wait()
        with contextlib.suppress(Exception):
            await asyncio.wait_for(broker.shutdown(), 1.0)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])
