"""Share links from the operator's shell to a stranger's WebSocket, and to their end. Everything is real."""

from __future__ import annotations

import itertools
import json
import re
import signal
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import WebSocketException

from tests.mosquitto import MosquittoServer
from tests.parts import lacking
from tests.postgresql import PostgreSQLServer, find_postgresql
from tests.real.conftest import StartSharing
from tests.sharing import SHARES, Sharing, Viewer, check_promise, check_quick, clock_text, is_cut, moment, seed
from tests.sockets import LeanSocket
from tests.waiting import wait_until

REVOCATION_SECONDS = 1.0
"""From the call to the end of every stream; promised in docs/sharing.md."""
EXPIRY_SECONDS = 0.25
QUICK_SECONDS = 15.0
"""In any case, however busy the machine: streams that nobody ends last until the next heartbeat at least, 25 s."""
LIVES_SECONDS = (3.0, 6.0, 12.0, 24.0, 48.0)
"""Of a share that is to end: the first in which a machine has two sockets open and one of them full."""
PASSWORD = "p4ss-of-Delivery"
ALIASES = {"truck-1": "Alias-Seed", "tracker-2": "Alias-Traccar", "phone": "Alias-Anna", "352093081234567": "Alias-Fle"}
LABEL = "Label-Of-Twelve"


def formats(at: float) -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Device id → topic, payload, and what a viewer sees but for the time."""
    when = clock_text(at)
    traccar = {
        "position": {
            "fixTime": when, "valid": True, "latitude": 52.52, "longitude": 13.4, "altitude": 34.0, "speed": 10.0,
            "course": 90.0, "accuracy": 5.0, "attributes": {"secret": "payload"},
        },
        "device": {"uniqueId": "tracker-2", "name": "Payload-Name"},
    }  # fmt: skip
    phone = {"_type": "location", "lat": 48.85, "lon": 2.35, "vel": 7, "cog": 181, "tst": int(at) + 1, "tid": "xx"}
    flespi = {"ident": "352093081234567", "timestamp": at, "position.latitude": 11.66, "position.longitude": 78.15,
              "position.speed": 48, "position.valid": True}  # fmt: skip
    truck = seed("truck-1", -33.4567, -70.6789, ahead=at - time.time(), SPEED=45, NOTE="payload")
    return {
        "truck-1": ("fleet/truck-1", truck, {"lat": -33.4567, "lon": -70.6789, "speed_kmh": 45}),
        "tracker-2": (
            "traccar/x", json.dumps(traccar),
            {"lat": 52.52, "lon": 13.4, "speed_kmh": 18.5, "heading_deg": 90, "accuracy_m": 5},
        ),
        "phone": (
            "owntracks/anna/phone", json.dumps(phone),
            {"lat": 48.85, "lon": 2.35, "speed_kmh": 7, "heading_deg": 181},
        ),
        "352093081234567": ("flespi/x", json.dumps(flespi), {"lat": 11.66, "lon": 78.15, "speed_kmh": 48}),
    }  # fmt: skip


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """The setting, if one is needed."""
    if request.param == "sqlite":
        yield {}
        return
    if find_postgresql("initdb") is None:
        lacking("not installed: PostgreSQL (make parts)")
    with PostgreSQLServer() as server:
        yield {"database_url": server.url()}


def test_the_whole_life_of_a_link(
    mosquitto: MosquittoServer, start_sharing: StartSharing, tmp_path: Path, database: dict[str, str]
) -> None:
    """Made in a shell, opened with a password, watched, looked at, relabelled, extended, and taken back."""
    sharing = start_sharing(mosquitto, device_id_topic="owntracks/anna/{device_id}", **database)
    sharing.keep_secret(PASSWORD, LABEL, *ALIASES.values(), database.get("database_url"))
    (tmp_path / "password").write_text(PASSWORD + "\n")
    names = [part for device_id, alias in ALIASES.items() for part in ("--alias", f"{device_id}={alias}")]
    made = sharing.command(
        "create", "--devices", ",".join(ALIASES), *names, "--label", LABEL, "--ttl", "1h", "--max-viewers", "1",
        "--password-file", str(tmp_path / "password"),
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    link = re.fullmatch(rf"http://127\.0\.0\.1:{sharing.port}/s/([A-Za-z0-9_-]{{22}})\n", made.stdout)
    assert link is not None, made.stdout
    code, share_id = link[1], made.stderr.split(" revoke ")[1].strip()

    with urllib.request.urlopen(made.stdout.strip(), timeout=5) as page:
        assert (page.status, page.headers["Cache-Control"]) == (200, "no-store")
        assert LABEL.encode() not in page.read()
    assert sharing.init(code)[1]["code"] == "password_required"
    assert sharing.init(code, "wrong-One")[1]["code"] == "password_wrong"
    assert sharing.init(code[:-1] + "_")[0] == 404
    status, answer = sharing.init(code, PASSWORD)
    assert (status, answer["share"]["label"]) == (200, LABEL)
    viewer = sharing.view(code, PASSWORD)
    for device_id, (topic, payload, expected) in formats(time.time() + 1).items():
        mosquitto.publish(topic, payload)
        event = viewer.message()
        assert moment(event["data"].pop("time")) <= time.time() + 1
        assert (event["alias"], event["data"]) == (ALIASES[device_id], expected)
    assert all(device_id not in json.dumps(viewer.events) for device_id in ("truck-1", "tracker-2", "352093081234567"))
    assert "payload" not in json.dumps(viewer.events).lower()

    shown = sharing.command("show", share_id).stdout
    assert "1 now, 1 in all, 1 at most" in shown
    assert f"label:       {LABEL}\n" in shown
    assert PASSWORD not in shown and code not in shown
    changed = sharing.command("relabel", share_id, "--label", "Label-New", "--alias", "truck-1=Alias-New")
    assert "Alias-New" in changed.stdout and "Alias-Traccar" in changed.stdout
    sharing.keep_secret("Label-New", "Alias-New")
    told = viewer.until("share")["data"]
    assert (told["label"], [each["alias"] for each in told["devices"]]) == (
        "Label-New", ["Alias-New", *list(ALIASES.values())[1:]],
    )  # fmt: skip
    assert sharing.operate("PATCH", f"/{share_id}", {"expires_in": 7200})[0] == 200
    assert moment(viewer.until("share")["data"]["ends_at"]) == pytest.approx(time.time() + 7200, abs=60)
    mosquitto.publish("fleet/truck-1", seed("truck-1", 1, 2, ahead=3))
    assert viewer.message()["alias"] == "Alias-New"

    assert sharing.command("revoke", share_id).stdout == "revoked, 1 viewer disconnected\n"
    assert viewer.end(QUICK_SECONDS) == 1008
    assert viewer.events[-1] == {"event": "revoked", "data": {}}
    status, gone = sharing.init(code, PASSWORD)
    assert (status, gone["code"]) == (410, "share_revoked")
    assert sharing.end() == 0


def test_what_the_command_relies_on_holds(mosquitto: MosquittoServer, start_sharing: StartSharing) -> None:
    """All pages of a list, no fields at all, aliases that stay, a life from the start of what is to come."""
    sharing = start_sharing(mosquitto)
    bare = json.loads(
        sharing.command("create", "--devices", "truck-1", "--ttl", "1h", "--fields", "none", "--json").stdout
    )
    sharing.keep_secret(bare["url"])
    assert bare["fields"] == []
    start = time.time() + 3600
    later = sharing.create(
        "truck-1", "truck-2", starts_at=clock_text(start), aliases={"truck-1": "Alias-A", "truck-2": "Alias-B"}
    )
    assert later["status"] == "upcoming"
    assert moment(later["expires_at"]) == pytest.approx(start + 3600, abs=1)
    assert sharing.init(later["code"])[1]["code"] == "share_not_started"
    assert sharing.command("extend", later["id"], "--ttl", "30m").stdout.startswith("until ")
    assert sharing.command("relabel", later["id"], "--alias", "truck-1=Alias-C").returncode == 0
    shown = sharing.operate("GET", f"/{later['id']}")[1]
    assert moment(shown["expires_at"]) == pytest.approx(start + 1800, abs=1)
    assert shown["aliases"] == {"truck-1": "Alias-C", "truck-2": "Alias-B"}
    for _ in range(100):
        sharing.create(expires_in=60)
    listed = json.loads(sharing.command("list", "--json").stdout)["shares"]
    (row,) = sharing.command("list", "--status", "upcoming").stdout.splitlines()[1:]
    assert row.startswith(f"{later['id']}  upcoming  ")
    assert len({share["id"] for share in listed}) == 102
    assert [share["id"] for share in listed[-2:]] == [later["id"], bare["id"]]
    share = sharing.create()
    viewer = sharing.view(share["code"])
    status, revoked = sharing.operate("DELETE", f"/{share['id']}")
    assert (status, revoked["status"], revoked["viewers"]) == (200, "revoked", {"now": 0, "total": 1})
    assert viewer.end(QUICK_SECONDS) == 1008


def test_a_revocation_ends_every_stream_at_once(mosquitto: MosquittoServer, start_sharing: StartSharing) -> None:
    """The reading one hears why, one that takes nothing is cut, within a second of the call; others go on."""
    sharing = start_sharing(mosquitto)
    latitudes = itertools.count(5)

    def revoke() -> float:
        share = sharing.create()
        stalled = sharing.stare(share["code"])
        sharing.fill(mosquitto, "truck-1")
        viewer, other = sharing.view(share["code"]), sharing.view(sharing.create()["code"])
        began = time.monotonic()
        assert sharing.operate("DELETE", f"/{share['id']}")[0] == 200
        assert viewer.end(QUICK_SECONDS) == 1008
        wait_until(lambda: is_cut(stalled), QUICK_SECONDS)
        took = time.monotonic() - began
        assert viewer.events[-1]["event"] == "revoked"
        lat = next(latitudes)
        mosquitto.publish("fleet/truck-1", seed("truck-1", lat, 6, ahead=60))
        while other.message()["data"]["lat"] != lat:
            pass
        other.socket.close()
        return took

    check_promise("revoked", REVOCATION_SECONDS, revoke)


def test_the_end_comes_to_the_moment(mosquitto: MosquittoServer, start_sharing: StartSharing) -> None:
    """``expired`` and 1000 within 250 ms of ``exp``, not before it, and a socket that takes nothing is cut."""
    sharing = start_sharing(mosquitto)

    def expire() -> float:
        lives = (watched(sharing, mosquitto, seconds) for seconds in LIVES_SECONDS)
        one = next(filter(None, lives), None)
        assert one is not None, "no share lives long enough for this machine"
        share, viewer, stalled = one
        ends_at = moment(share["expires_at"])
        viewer.until("expired")
        told = time.time() - ends_at
        assert viewer.end() == 1000
        wait_until(lambda: is_cut(stalled), QUICK_SECONDS)
        check_quick("expired, stalled", time.time() - ends_at, QUICK_SECONDS)
        assert sum(event["event"] == "expired" for event in viewer.events) == 1
        assert sharing.init(share["code"])[1]["code"] == "share_ended"
        assert sharing.operate("GET", f"/{share['id']}")[1]["status"] == "ended"
        return told

    check_promise("expired", EXPIRY_SECONDS, expire)


def watched(
    sharing: Sharing, mosquitto: MosquittoServer, seconds: float
) -> tuple[dict[str, Any], Viewer, LeanSocket] | None:
    """A share that lives so long, its viewer, and one whose socket is full; None when it ended before that."""
    share = sharing.create(expires_at=clock_text(time.time() + seconds))
    ends_at = moment(share["expires_at"])
    try:
        status, answer = sharing.init(share["code"])
        assert (status, moment(answer["expires_at"])) == (200, ends_at)
        stalled = sharing.stare(share["code"])
        sharing.fill(mosquitto, "truck-1", seconds=seconds)
        viewer = sharing.view(share["code"])
    except (AssertionError, OSError, WebSocketException):
        if time.time() < ends_at:
            raise
        wait_until(lambda: sharing.stats()["broker"]["behind"] == 0)
        return None
    return share, viewer, stalled


def test_links_survive_a_restart(mosquitto: MosquittoServer, start_sharing: StartSharing) -> None:
    """Viewers are asked to come back; what was open is open, what was revoked is not, totals and passwords are kept."""
    sharing = start_sharing(mosquitto)
    kept = sharing.create(aliases={"truck-1": "Alias-Kept"}, password=PASSWORD)
    revoked = sharing.create()
    assert sharing.operate("DELETE", f"/{revoked['id']}")[0] == 200
    viewers = [sharing.view(kept["code"], PASSWORD) for _ in range(3)]
    assert sharing.end() == 0
    assert [viewer.end() for viewer in viewers] == [1001] * 3
    sharing.restart()
    sharing.wait_ready()
    assert sharing.operate("GET", f"/{kept['id']}")[1]["viewers"] == {"now": 0, "total": 3}
    viewer = sharing.view(kept["code"], PASSWORD)
    mosquitto.publish("fleet/truck-1", seed("truck-1", 1, 2))
    assert viewer.message()["alias"] == "Alias-Kept"
    assert sharing.init(revoked["code"])[1]["code"] == "share_revoked"
    assert sharing.operate("GET", f"/{revoked['id']}")[1]["status"] == "revoked"
    assert sharing.operate("PATCH", f"/{revoked['id']}", {"expires_in": 60})[0] == 409
    assert sharing.end(signal.SIGINT) == 0
    assert viewer.end() == 1001


def test_every_route_of_a_share_is_off_without_a_key(sharing_off: Sharing) -> None:
    """404 ``sharing_off``, and no database is made."""
    for method, path in (
        ("POST", SHARES), ("GET", SHARES), ("GET", f"{SHARES}/0123456789ab"), ("PATCH", f"{SHARES}/0123456789ab"),
        ("DELETE", f"{SHARES}/0123456789ab"), ("POST", "/api/v1/public/share-location/init"),
        ("GET", "/api/v1/public/share-location/stream"), ("GET", "/s/0123456789012345678901"),
    ):  # fmt: skip
        status, answer = sharing_off.ask(method, path, {} if method in ("POST", "PATCH") else None)
        assert (status, answer["code"]) == (404, "sharing_off"), (method, path)
    assert not list(sharing_off.folder.glob("*.sqlite3*"))
    done = sharing_off.command("create", "--devices", "A", "--ttl", "1h")
    assert (done.returncode, done.stdout) == (1, "")
    assert "BRIDGE_SHARE_KEYS" in done.stderr


@pytest.fixture
def sharing_off(mosquitto: MosquittoServer, start_sharing: StartSharing) -> Sharing:
    """A server whose operator did not ask for share links."""
    return start_sharing(mosquitto, share_keys="")
