"""A well-behaved client, on aiohttp: events as they come, and how it all ended."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp

WAIT_SECONDS = 15.0
"""For an event or an end; far above what either needs."""
Event = dict[str, Any]


class Client:
    """One WebSocket. Keep-alive events are put aside; everything that came is in ``seen``."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.seen: list[Event] = []
        self.texts: list[str] = []
        self.close_code: int | None = None
        self.reason = ""

    async def open(self, token: str | None, **options: Any) -> None:
        """Connect; aiohttp.WSServerHandshakeError when the server refuses the upgrade."""
        headers = dict(options.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        self._http = aiohttp.ClientSession(cookies=options.pop("cookies", None))
        try:
            self.socket = await self._http.ws_connect(self.url, headers=headers, **{"max_msg_size": 0, **options})
        except BaseException:
            await self._http.close()
            raise

    async def leave(self) -> None:
        """Say goodbye. Harmless after the end."""
        if hasattr(self, "socket"):
            await self.socket.close()
        await self._http.close()

    async def next(self, seconds: float = WAIT_SECONDS) -> Event | None:
        """The next event that is no keep-alive; None when the server has closed."""
        while True:
            message = await asyncio.wait_for(self.socket.receive(), seconds)
            if message.type is not aiohttp.WSMsgType.TEXT:
                # aiohttp makes it 1006 when its own Close frame finds the connection gone, which says nothing of ours.
                said = message.type is aiohttp.WSMsgType.CLOSE
                self.close_code = message.data if said else self.socket.close_code
                self.reason = str(message.extra or "")
                return None
            event: Event = json.loads(message.data)
            if event["event"] != "ping":
                self.texts.append(message.data)
                self.seen.append(event)
                return event

    async def expect(self, kind: str, seconds: float = WAIT_SECONDS) -> Any:
        """The ``data`` of the next event, which must be of this kind."""
        event = await self.next(seconds)
        assert event is not None, f"closed with {self.close_code} instead of {kind}"
        assert event["event"] == kind, event
        return event["data"]

    async def until(self, kind: str, seconds: float = WAIT_SECONDS) -> Event:
        """The next event of this kind; others are passed over."""
        async with asyncio.timeout(seconds):
            while True:
                event = await self.next()
                assert event is not None, f"closed with {self.close_code} before {kind}"
                if event["event"] == kind:
                    return event

    async def end(self, seconds: float = WAIT_SECONDS) -> tuple[int | None, list[Event]]:
        """Read to the end: the close code and the events on the way."""
        events: list[Event] = []
        async with asyncio.timeout(seconds):
            while True:
                event = await self.next()
                if event is None:
                    return self.close_code, events
                events.append(event)

    async def say(self, action: str, ref: object = None, **data: object) -> None:
        """Send a command; no ``data`` at all when there is none."""
        command: dict[str, object] = {"action": action}
        if ref is not None:
            command["ref"] = ref
        if data:
            command["data"] = data
        await self.socket.send_str(json.dumps(command))

    async def ask(self, action: str, ref: object = 1, **data: object) -> Event:
        """Send a command and take the next event, which must be its answer."""
        await self.say(action, ref, **data)
        event = await self.next()
        assert event is not None, f"closed with {self.close_code} instead of an answer"
        assert event.get("ref") == ref, event
        return event

    async def ask_past_messages(self, action: str, ref: object = 1, **data: object) -> Event:
        """Send a command and pass over messages until its answer."""
        await self.say(action, ref, **data)
        while True:
            event = await self.next()
            assert event is not None, f"closed with {self.close_code} instead of an answer"
            if event["event"] != "message":
                assert event.get("ref") == ref, event
                return event

    async def quiet(self) -> list[Event]:
        """Everything up to the answer of a ping that is sent now: what the server had to say until then."""
        await self.say("ping", "quiet")
        events: list[Event] = []
        while True:
            event = await self.next()
            assert event is not None, f"closed with {self.close_code}"
            if event["event"] == "pong" and event.get("ref") == "quiet":
                return events
            events.append(event)


def numbers(events: list[Event]) -> list[int]:
    """The ``n`` of every message among ``events``."""
    return [event["data"]["n"] for event in events if event["event"] == "message"]


def devices(events: list[Event]) -> list[str]:
    """The device of every message among ``events``."""
    return [event["device_id"] for event in events if event["event"] == "message"]
