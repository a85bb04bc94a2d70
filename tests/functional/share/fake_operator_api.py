"""A server that speaks the operators' interface of shares from memory, for tests of the commands."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from bridge.cli.main import main

TOKEN = "v4.local.only-for-tests"
CODE = "the-code-of-the-link"
CREATE = ("create", "--devices", "A", "--ttl", "1h")
COMMANDS: Sequence[tuple[str, ...]] = (
    CREATE,
    ("list",),
    ("show", "a"),
    ("extend", "a", "--ttl", "1h"),
    ("relabel", "a", "--label", "x"),
    ("revoke", "a"),
)
"""Each command, with the least that it needs."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def share(share_id: str, **changes: Any) -> dict[str, Any]:
    """A share as the server answers it."""
    return {
        "id": share_id, "status": "active", "device_ids": ["A", "B"], "aliases": {"A": "Van 1", "B": "B"}, "label": "",
        "owner": "ops", "created_at": "2026-11-21T10:00:00.000Z", "starts_at": "2026-11-21T10:00:00.000Z",
        "expires_at": "2026-11-22T18:00:00.000Z", "ended_at": None, "end_reason": None, "has_password": False,
        "max_viewers": None, "fields": ["speed_kmh", "time"], "precision_m": 0, "delay_s": 0, "trail": 100,
        "destination": None, "end_on_arrival": False, "viewers": {"now": 3, "total": 5}, **changes,
    }  # fmt: skip


def refusal(status: int, code: str, message: str, **headers: str) -> Handler:
    """An answer as the server refuses."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response({"code": code, "message": message}, status=status, headers=headers)

    return answer


class FakeOperatorApi:
    """Keeps ``shares``; ``requests`` holds (method, path with query, body) of each request.

    With ``answer`` it says that to everything instead. Without ``TOKEN`` it refuses. Pages hold two shares.
    """

    def __init__(self, *shares: dict[str, Any], answer: Handler | None = None) -> None:
        self.shares = {one["id"]: one for one in shares}
        self.requests: list[tuple[str, str, Any]] = []
        self.tokens: list[str | None] = []
        self.clears_viewers = True
        self._answer = answer
        self._app = web.Application()
        self._app.router.add_route("*", "/{rest:.*}", self._route)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """The URL while it serves."""
        server = TestServer(self._app)
        await server.start_server()
        try:
            yield f"http://127.0.0.1:{server.port}"
        finally:
            await server.close()

    async def _route(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        self.requests.append((request.method, request.path_qs, json.loads(text) if text else None))
        self.tokens.append(request.headers.get("Authorization"))
        if self._answer is not None:
            return await self._answer(request)
        if self.tokens[-1] != f"Bearer {TOKEN}":
            return await refusal(401, "token_required", "present an access token")(request)
        share_id = request.path.removeprefix("/api/v1/shares").strip("/")
        if not share_id:
            return self._list(request) if request.method == "GET" else self._create(request)
        if share_id not in self.shares:
            return await refusal(404, "share_not_found", "there is no such share")(request)
        found = self.shares[share_id]
        if request.method == "PATCH":
            if found["status"] in ("ended", "revoked"):
                return await refusal(409, "share_ended", "it has ended; create another one")(request)
            changes = dict(self.requests[-1][2])
            if changes.pop("expires_in", None):
                changes["expires_at"] = "2030-01-01T00:00:00.000Z"
            found["aliases"] = {**found["aliases"], **changes.pop("aliases", {})}
            found.update(changes)
        elif request.method == "DELETE" and found["status"] not in ("ended", "revoked"):
            found.update(status="revoked", end_reason="revoked", ended_at="2026-11-21T11:00:00.000Z")
            if self.clears_viewers:
                found["viewers"] = {"now": 0, "total": found["viewers"]["total"]}
        return web.json_response(found)

    def _create(self, request: web.Request) -> web.Response:
        body = self.requests[-1][2]
        made = share("new-1", device_ids=body["device_ids"], aliases=body.get("aliases", {}),
                     has_password="password" in body)  # fmt: skip
        made["url"] = f"http://{request.host}/s/{CODE}"
        return web.json_response(made, status=201, headers={"Location": "/api/v1/shares/new-1"})

    def _list(self, request: web.Request) -> web.Response:
        found = [one for one in self.shares.values() if one["status"] == request.query.get("status", one["status"])]
        ids = [one["id"] for one in found]
        start = ids.index(request.query["after"]) + 1 if "after" in request.query else 0
        page = found[start : start + 2]
        more = start + 2 < len(found)
        return web.json_response({"shares": page, "next": page[-1]["id"] if more else None})


async def run_command(*arguments: str) -> int:
    """Run the program in a thread, beside the server that it asks; its exit status."""

    def run() -> int:
        try:
            return main(arguments)
        except SystemExit as error:  # argparse's own end
            return int(error.code or 0)

    return await asyncio.to_thread(run)
