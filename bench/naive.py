"""The usual design, to compare with: a queue and a task per socket, JSON encoded for each of them.

Not for use: no authentication, no limits. ``python naive.py PORT MQTT_PORT``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from typing import Any

import paho.mqtt.client as mqtt
from aiohttp import web
from paho.mqtt.enums import CallbackAPIVersion

QUEUE_MESSAGES = 100
TOPICS = "fleet/#"

subscribers: dict[str, set[asyncio.Queue[dict[str, Any]]]] = {}


def publish(payload: bytes | bytearray) -> None:
    """Puts a message into the queue of each socket that watches its device; a full queue loses it."""
    data = json.loads(payload)
    device_id = data["data"]["DEVICE_ID"]
    for queue in subscribers.get(device_id, ()):
        with contextlib.suppress(asyncio.QueueFull):
            queue.put_nowait({"event": "message", "device_id": device_id, "data": data})


async def send_from(queue: asyncio.Queue[dict[str, Any]], socket: web.WebSocketResponse) -> None:
    """Sends what comes into the queue, for ever."""
    while True:
        await socket.send_str(json.dumps(await queue.get()))


async def stream(request: web.Request) -> web.WebSocketResponse:
    """One socket."""
    socket = web.WebSocketResponse(heartbeat=25, compress=False)
    await socket.prepare(request)
    queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(QUEUE_MESSAGES)
    device_ids = request.query.get("device_ids", "").split(",")
    for device_id in device_ids:
        subscribers.setdefault(device_id, set()).add(queue)
    sender = asyncio.create_task(send_from(queue, socket))
    async for _ in socket:
        pass
    sender.cancel()
    for device_id in device_ids:
        subscribers[device_id].discard(queue)
    return socket


async def serve(port: int, mqtt_port: int) -> None:
    """Subscribes, then listens: an open port means ready."""
    loop = asyncio.get_running_loop()
    subscribed = asyncio.Event()

    def on_message(_client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        loop.call_soon_threadsafe(publish, message.payload)

    def on_subscribe(*_: object) -> None:
        loop.call_soon_threadsafe(subscribed.set)

    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.on_message = on_message
    client.on_subscribe = on_subscribe
    client.connect("127.0.0.1", mqtt_port)
    client.subscribe(TOPICS)
    client.loop_start()
    await subscribed.wait()
    app = web.Application()
    app.router.add_get("/", stream)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
