"""How does a program follow devices, reconnect, and renew its token without losing its place?

    pip install aiohttp
    TELEMETRY_BRIDGE_TOKEN=v4.local.… python websocket_client_example.py ws://127.0.0.1:8000 truck-001,truck-002

One socket: authenticate in-band, subscribe in-band, print. The token never stands in a URL.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import sys

import aiohttp

FINAL_CODES = {1002, 1007, 1008, 1009}  # the server says: do not come back (see "Closing" in the documentation)


async def fetch_token() -> str:
    """Ask whoever issues your tokens. Called before each connection and again before the token expires."""
    return os.environ.get("TELEMETRY_BRIDGE_TOKEN", "")


async def send(socket: aiohttp.ClientWebSocketResponse, action: str, ref: str, **data: object) -> None:
    """One command. The server's answer carries the same ``ref``."""
    await socket.send_str(json.dumps({"action": action, "ref": ref, "data": data}))


async def renew_token(socket: aiohttp.ClientWebSocketResponse) -> None:
    """A new token on the live socket: nothing is interrupted, no message is lost."""
    await send(socket, "authenticate", "renew", token=await fetch_token())


async def follow(session: aiohttp.ClientSession, url: str, device_ids: list[str]) -> int:
    """One connection, to its end. Returns the close code, 1006 where the connection broke."""
    async with session.ws_connect(url + "/api/v1/ws") as socket:
        token = await fetch_token()
        if token:
            await send(socket, "authenticate", "login", token=token)  # the answer is an ``info`` event
        await send(socket, "subscribe", "devices", device_ids=device_ids, snapshot=True)
        silence = 30.0
        while True:
            try:
                frame = await socket.receive(timeout=silence)
            except TimeoutError:
                print(f"nothing came for {silence:.0f} s: the connection is dead", file=sys.stderr)
                return 1006
            if frame.type is aiohttp.WSMsgType.CLOSE:
                print(f"closed with {frame.data}: {frame.extra}", file=sys.stderr)
                return int(frame.data)
            if frame.type is not aiohttp.WSMsgType.TEXT:
                return 1006
            event = json.loads(frame.data)
            if event["event"] == "message":
                print(event["device_id"], json.dumps(event["data"]), flush=True)
            elif event["event"] == "hello":
                silence = 2.5 * event["data"]["heartbeat_seconds"]  # even an idle server pings
            elif event["event"] == "expiring":
                await renew_token(socket)
            elif event["event"] == "gap":
                print(f"{event['data']['count']} messages were skipped: we are too slow", file=sys.stderr)
            elif event["event"] in ("error", "upstream", "expired", "revoked"):
                print(event["event"], json.dumps(event["data"]), file=sys.stderr)


async def main(url: str, device_ids: list[str]) -> None:
    """Follow for ever, with full jitter between attempts so that a thousand clients do not come back at once."""
    attempt = 0
    clock = asyncio.get_running_loop().time
    async with aiohttp.ClientSession() as session:
        while True:
            began = clock()
            try:
                code = await follow(session, url, device_ids)
            except (aiohttp.ClientError, TimeoutError) as error:
                print(f"cannot connect: {error}", file=sys.stderr)
                code = 1006
            if code in FINAL_CODES:
                sys.exit(3)
            attempt = 0 if clock() - began > 10.0 else attempt + 1
            bound = min(30.0, 0.5 * 2 ** min(attempt, 6))
            await asyncio.sleep(random.uniform(0.0, bound))  # noqa: S311 - chance, not secrecy


if __name__ == "__main__":
    address = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8000"
    ids = sys.argv[2].split(",") if len(sys.argv) > 2 else ["*"]
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        asyncio.run(main(address, ids))
