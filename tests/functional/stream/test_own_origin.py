"""Which pages are the server's own, as the whole server is put together."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.app import running
from bridge.settings import load_settings
from tests.functional.stream.raw import RawClient
from tests.functional.stream.served import KEY


@pytest.mark.parametrize(
    "settings, by_host",
    [({}, 101), ({"public_url": "https://public.example.com"}, 403)],
    ids=["without PUBLIC_URL", "with PUBLIC_URL"],
)
async def test_public_url_is_the_own_origin(settings: dict[str, Any], by_host: int) -> None:
    """Where it is set, the name in ``Host`` counts for nothing: the asker chooses that."""
    given = load_settings(port=0, access_keys=KEY, mqtt_url="mqtt://127.0.0.1:1", drain_seconds=0.5, **settings)
    async with running(given) as server:
        origins = {f"http://127.0.0.1:{server.port}": by_host, "https://evil.example": 403}
        if settings:
            origins["https://public.example.com"] = 101
        for origin, status in origins.items():
            client = RawClient(server.port)
            await client.connect()
            assert (await client.request("GET", "/api/v1/ws", Origin=origin))[0] == status
            await client.leave()
