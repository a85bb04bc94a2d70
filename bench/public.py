"""The bridge's public side as a server under test: viewers of share links instead of operators."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final

from bench.errors import BenchError
from bench.subject import Bridge, Serving, clean_environment, output, serving
from bench.targets import Place, Target
from tests.environment import ROOT

SETTINGS: Final = {
    # All viewers come from one address, and in most cases to one share: the only limits that are lifted.
    "BRIDGE_MAX_CONNECTIONS_PER_SHARE": "0",
    "BRIDGE_MAX_PUBLIC_CONNECTIONS": "0",
    "BRIDGE_PUBLIC_REQUESTS_PER_MINUTE": "0",
}
SHARES: Final = "/api/v1/shares"
PUBLIC: Final = "/api/v1/public/share-location"
STREAM: Final = f"{PUBLIC}/stream"
SHARE_SECONDS: Final = 3600
"""Life of a share; its tokens live for BRIDGE_SHARE_TOKEN_SECONDS, 10 minutes by default: longer than a run."""
HTTP_SECONDS: Final = 10.0


def _post(connection: HTTPConnection, path: str, body: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
    try:
        connection.request("POST", path, json.dumps(body), headers | {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode()
    except (HTTPException, OSError) as error:
        raise BenchError(f"{path} failed: {error}") from None
    if answer.status not in (200, 201):
        raise BenchError(f"{path} was refused with {answer.status}: {text[:300]}")
    result: dict[str, Any] = json.loads(text)
    return result


def share_tokens(bridge: Serving, devices: int) -> Iterator[str]:
    """A share with its defaults for each device of the load generator, and a viewer's token for each share."""
    access = {"Authorization": f"Bearer {bridge.token('--scope', 'share')}"}
    with closing(HTTPConnection("127.0.0.1", bridge.port, timeout=HTTP_SECONDS)) as connection:
        for device in range(devices):
            body = {"device_ids": [f"dev{device:05}"], "expires_in": SHARE_SECONDS}
            code = _post(connection, SHARES, body, access)["url"].rpartition("/")[2]
            yield _post(connection, f"{PUBLIC}/init", {"code": code}, {})["token"]


def fresh_store(place: Place, name: str, root: Path = ROOT) -> dict[str, str]:
    """Settings that turn shares on: a fresh share key and an empty database, both of this run."""
    database = place.folder / f"{name}.sqlite3"
    for old in place.folder.glob(f"{database.name}*"):
        old.unlink()
    return {
        "BRIDGE_SHARE_KEYS": output(place.folder, clean_environment({}, root), "keygen", "share"),
        "BRIDGE_DATABASE_URL": f"sqlite:///{database}",
    }


class Share(Bridge):
    """The public stream of ``telemetry-bridge serve``: a share for each device, its viewers are the sockets."""

    cases: frozenset[str] | None = frozenset(
        {"W1", "W3", "W3-12k", "idle", "handshake", "light", "scale-1k", "scale-10k"}
    )

    @contextmanager
    def running(self, place: Place) -> Iterator[Target]:
        """Runs it with a store of this run."""
        settings = SETTINGS | fresh_store(place, self.name, self.root) | self.settings
        with serving(place, self.name, settings, self.root) as bridge:
            tokens: Path = place.folder / "tokens"
            tokens.write_text("".join(f"{token}\n" for token in share_tokens(bridge, place.devices)), encoding="ascii")
            path = f"{STREAM}?token=%T"
            yield Target(
                bridge.pid, bridge.port, place.mqtt_port, ("--path", path, "--tokens", str(tokens), "--mark", "time")
            )
