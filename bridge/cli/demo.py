"""Everything in one process, for the first five minutes: MQTT broker, fleet, server, keys, token."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import Final

from bridge.access.authenticator import mint
from bridge.access.paseto import KeyRing, generate_key
from bridge.app import Server, running, until_signal
from bridge.cli.fleet import SANTIAGO, Fleet
from bridge.cli.simulate import Simulator
from bridge.core.addresses import EMBEDDED, place
from bridge.ingest.mqtt.embedded import MQTT_VERSION
from bridge.server.listener import raise_file_limit
from bridge.server.logs import Logs
from bridge.server.loops import run
from bridge.settings import PREFIX, Settings, given_variables, load_settings
from share.model.draft import Draft
from share.model.grant import Destination, Grant

TOKEN_SECONDS: Final = 12 * 3600.0
SHARE_SECONDS: Final = 2 * 3600.0
"""Life of the demo's share: long enough to look around, short enough to see on the page."""
DESTINATION_RADIUS_M: Final = 100.0
_SEED: Final = 7
_OVERRIDDEN: Final = {
    PREFIX + name for name in ("AUTH", "MQTT_URL", "MQTT_TOPICS", "ACCESS_KEYS", "SHARE_KEYS", "DATABASE_URL")
}
"""Settings that the demo makes itself."""


def run_demo(*, port: int | None, vehicles: int, rate: float) -> int:
    """Run until Ctrl-C. StartError when the port is in use; SettingsError or ValueError when an argument is wrong."""
    fleet, key = Fleet(vehicles, _SEED), generate_key()
    given = {} if port is None else {"port": port}
    settings = load_settings(
        **given,
        mqtt_url=EMBEDDED,
        mqtt_topics="fleet/#",
        access_keys=key,
        share_keys=generate_key(),
        database_url="sqlite://",
        auth="required",
    )
    ignored = sorted(given_variables() & _OVERRIDDEN)
    if ignored:
        print(f"ignored by demo: {', '.join(ignored)}", file=sys.stderr, flush=True)
    # A page that was opened from a file has the origin "null". Harmless here: it still needs the token.
    settings = settings.model_copy(update={"allowed_origins": (*settings.allowed_origins, "null")})
    return run(_demo(settings, key, fleet, rate), settings.event_loop)


async def _demo(settings: Settings, key: str, fleet: Fleet, rate: float) -> int:
    level = settings.log_level if PREFIX + "LOG_LEVEL" in given_variables() else "WARNING"
    logs = Logs(level, settings.log_format)
    logs.start()
    raise_file_limit(settings.max_connections)
    try:
        async with running(settings, logs) as server:
            simulator = Simulator(f"mqtt://{server.mqtt}", fleet, rate, MQTT_VERSION)
            simulator.start()
            try:
                print(_introduction(settings, server, key, len(fleet.vehicles), await _share(server)), flush=True)
                await until_signal()
                print("Stopping", flush=True)
            finally:
                simulator.stop()
    finally:
        logs.stop()
    return 0


async def _share(server: Server) -> str:
    """The path of the link of a share of the first vehicle, on its way to the middle of the town."""
    assert server.sharing is not None
    now = time.time()
    device_id = "truck-001"
    grant = Grant(
        ((device_id, "Van 1"),), now, trail=100, destination=Destination(*SANTIAGO, DESTINATION_RADIUS_M, "City centre")
    )
    _, code = await server.sharing.links.create("demo", Draft(now, now + SHARE_SECONDS, grant, "Your delivery"))
    return f"/s/{code}"


def _introduction(settings: Settings, server: Server, key: str, vehicles: int, link: str) -> str:
    token = mint(
        KeyRing([key]), subject="demo", devices=["*"], groups=[], scopes=["stream", "share"], ttl=TOKEN_SECONDS,
        now=time.time(),
    )  # fmt: skip
    address = place(settings.host, server.port)
    watch = f"{_command()} watch truck-001,truck-002"
    page = Path(__file__).resolve().parents[2] / "examples" / "websocket_client_example.html"
    lines = [
        "",
        f"  {vehicles} vehicles are driving: truck-001, truck-002 …  (MQTT broker on {server.mqtt}, loopback only)",
        "",
        "  Watch them in another terminal:",
        "",
        f"      TELEMETRY_BRIDGE_URL=http://{address} TELEMETRY_BRIDGE_TOKEN={token} {watch}",
        "",
        "  The stream, for any WebSocket client:",
        "",
        f"      ws://{address}/api/v1/stream?device_ids=truck-001",
        "      with the header  Authorization: Bearer TOKEN,  the TOKEN being the one above",
        "",
    ]
    if page.is_file():
        lines += [
            "  In a browser:",
            "",
            f"      {page.as_uri()}#url=ws://{address}&token={token}",
            "",
        ]
    lines += [
        "  A share link: truck-001 for anyone who has it, without an account, for two hours:",
        "",
        f"      {settings.public_url or f'http://{address}'}{link}",
        "",
        "  Keys, token and link are for this run only. Ctrl-C stops it.",
        "",
    ]
    return "\n".join(lines)


def _command() -> str:
    """How the person who started this can start another command."""
    program = Path(sys.argv[0])
    if program.name != "telemetry-bridge":
        return f"{sys.executable} -m bridge"
    return program.name if shutil.which(program.name) else str(program.absolute())
