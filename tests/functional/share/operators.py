"""A server with the operators' calls alone, and a client for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer

from bridge.access.authenticator import mint
from bridge.access.paseto import KeyRing, generate_key
from bridge.app import stream_service_of
from bridge.server.callers import Callers
from bridge.settings import load_settings
from bridge.stream.service import StreamService
from share.api.operator_routes import PATH, OperatorRoutes
from share.links.links import Links
from share.links.ports import Store
from share.model.errors import BusyError
from share.model.limits import DAY_SECONDS, ShareLimits
from tests.stored import FakeAudience, FakeStore

KEY = generate_key()
RING = KeyRing([KEY])


class FakePasswords:
    """Hashes into something that only the test can tell from the password."""

    def __init__(self) -> None:
        self.busy = False
        self.hashed: list[str] = []

    async def hash(self, password: str) -> str:
        if self.busy:
            raise BusyError("busy")
        self.hashed.append(password)
        return f"$hash${len(self.hashed)}"


class Operators:
    """One server. ``call`` asks as ana, who may share A and B, unless another token is given."""

    def __init__(
        self,
        streaming: StreamService,
        links: Links,
        store: FakeStore,
        audience: FakeAudience,
        server: TestServer,
        passwords: FakePasswords,
    ) -> None:
        """``store`` tells nothing where the links have a real database."""
        self.streaming = streaming
        self.store = store
        self.links = links
        self.audience = audience
        self.server = server
        self.passwords = passwords
        self.ana = self.token()

    def token(
        self, *devices: str, subject: str = "ana", scopes: tuple[str, ...] = ("share",), since: float = 0.0
    ) -> str:
        """An access token for an hour, for A and B when no device is named."""
        return mint(
            RING, subject=subject, devices=devices or ("A", "B"), groups=(), scopes=scopes, ttl=3600,
            now=self.streaming.clock() + since,
        )  # fmt: skip

    async def call(
        self, method: str, path: str = "", body: Any = None, *, token: str | None = None, **options: Any
    ) -> tuple[int, Any, Any]:
        """Status, JSON body and headers of one call below PATH. ``body`` goes as JSON, bytes as they are."""
        headers = {"Authorization": f"Bearer {self.ana if token is None else token}", **options.pop("headers", {})}
        if token == "":
            del headers["Authorization"]
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
            options["data"] = body if isinstance(body, bytes) else orjson.dumps(body)
        url = self.server.make_url("/").with_path(PATH + path, encoded=True).update_query(options.pop("query", {}))
        async with (
            aiohttp.ClientSession(cookies=options.pop("cookies", None)) as http,
            http.request(method, url, headers=headers, **options) as answer,
        ):
            data = await answer.read()
            assert answer.content_type == "application/json", data
            assert answer.headers["Cache-Control"] == "no-store"
            body = orjson.loads(data) if data else None
            if answer.status >= 400:
                assert set(body) == {"code", "message"}
            return answer.status, body, answer.headers

    async def refused(self, method: str, path: str = "", body: Any = None, **options: Any) -> tuple[int, str]:
        """Status and code of a call that is refused."""
        status, answer, _ = await self.call(method, path, body, **options)
        assert status >= 400, answer
        return status, answer["code"]

    async def make(self, *devices: str, token: str | None = None, **fields: Any) -> dict[str, Any]:
        """A new share of these devices, of A when none is named, for an hour."""
        body = {"device_ids": devices or ["A"], "expires_in": 3600, **fields}
        status, share, headers = await self.call("POST", "", body, token=token)
        assert status == 201, share
        assert headers["Location"] == f"{PATH}/{share['id']}"
        assert isinstance(share, dict)
        return share


@asynccontextmanager
async def operators(
    store: Store | None = None, limits: ShareLimits = ShareLimits(), **settings: Any
) -> AsyncIterator[Operators]:
    """A running server; its links are closed at the end."""
    chosen = load_settings(**({"port": 0, "access_keys": KEY} | settings))
    streaming = stream_service_of(chosen)
    audience, passwords = FakeAudience(), FakePasswords()
    fake = store if isinstance(store, FakeStore) else FakeStore()
    links = Links(
        store or fake,
        audience,
        clock=streaming.clock,
        deadlines=streaming.deadlines,
        max_shares=chosen.max_shares,
        retention_seconds=chosen.share_retention_days * DAY_SECONDS,
        call_later=asyncio.get_running_loop().call_later,
        limits=limits,
    )
    await links.load()

    app = web.Application()
    routes = OperatorRoutes(
        Callers(streaming.origins, streaming.watching.verify),
        links,
        passwords,
        clock=streaming.clock,
        max_seconds=chosen.share_max_days * DAY_SECONDS,
        public_url=chosen.public_url,
        limits=limits,
    )
    app.add_routes(routes.routes())
    server = TestServer(app)
    await server.start_server()
    try:
        yield Operators(streaming, links, fake, audience, server, passwords)
    finally:
        await server.close()
        await links.close()


async def untouched(office: Operators, share: dict[str, Any]) -> None:
    """The only share is still what it was."""
    assert len(office.links) == 1
    assert office.audience.words == ["opened"]
    _, found, _ = await office.call("GET", f"/{share['id']}")
    assert {**found, "url": share["url"]} == share
