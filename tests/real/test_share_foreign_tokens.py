"""Share tokens of another PASETO implementation, paseto-ts in Node.js, against the server as it is run."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from bridge.access.authenticator import mint
from bridge.access.paseto import KeyRing, generate_key
from bridge.core.times import timestamp
from share.stream.tokens import AUDIENCE_SHARE
from share.stream.tokens import mint as mint_share
from tests.environment import environment, installer_environment
from tests.mosquitto import MosquittoServer
from tests.parts import lacking
from tests.real.conftest import need
from tests.serving import KEY, Serving, StartServing
from tests.share_tokens import footer_of

MAKER: Final = Path(__file__).parent / "paseto_ts"
INSTALL_SECONDS: Final = 120.0
"""For twelve packages of 300 KB in all, from a registry at its slowest; with npm's cache it is two seconds."""
NODE_SECONDS: Final = 120.0
WAIT_SECONDS: Final = 60.0
SHARE_KEY: Final = generate_key()
STREAM: Final = "/api/v1/public/share-location/stream"

Maker = Callable[..., dict[str, Any]]
"""Runs ``make.mjs``: what is wanted, by name, in; the same with the tokens in it out."""


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    """paseto-ts, installed once in a copy of its folder."""
    need("node", "npm")
    folder = tmp_path_factory.mktemp("node") / MAKER.name
    shutil.copytree(MAKER, folder, ignore=shutil.ignore_patterns("node_modules"))
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
    try:
        subprocess.run(
            command, cwd=folder, env=installer_environment(), check=True, capture_output=True, timeout=INSTALL_SECONDS
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        lacking(f"paseto-ts cannot be had: npm ci, {type(error).__name__}")  # its output may name hosts and credentials

    def run(**wanted: Any) -> dict[str, Any]:
        done = subprocess.run(
            ["node", "make.mjs"], cwd=folder, env=environment(), input=json.dumps(wanted), check=False,
            capture_output=True, text=True, timeout=NODE_SECONDS,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    return run


@pytest.fixture
def serving(start_serving: StartServing, mosquitto: MosquittoServer) -> Serving:
    """The server, with share links and connected to an MQTT broker."""
    serving = start_serving(
        mqtt_url=mosquitto.url(), mqtt_topics="fleet/#", share_keys=SHARE_KEY, database_url="sqlite:///shares.sqlite3"
    )
    serving.wait_ready()
    return serving


def view(serving: Serving, token: str) -> ClientConnection:
    """A viewer's socket."""
    return connect(f"ws://127.0.0.1:{serving.port}{STREAM}?token={token}", open_timeout=WAIT_SECONDS)


def next_of(socket: ClientConnection, kind: str) -> Any:
    """The next event of this kind; others are passed over."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        event = json.loads(socket.recv(deadline - time.monotonic()))
        if event["event"] == kind:
            return event


def test_vectors_are_what_paseto_ts_makes(maker: Maker) -> None:
    """The committed tokens, for those who have no Node.js, letter for letter."""
    committed = json.loads((MAKER / "vectors.json").read_text())
    wanted = [{name: value for name, value in one.items() if name != "token"} for one in committed["tokens"]]
    assert maker(key=committed["key"], now=committed["now"], tokens=wanted) == committed


def kinds() -> dict[str, dict[str, Any]]:
    """What another service would ask paseto-ts for, with its own defaults for exp and iat where nothing is said."""
    now = time.time()
    own = {"addIat": False, "addExp": False}
    return {
        "nothing but a device": {"claims": {"device_id": "truck-7"}},
        "a relative end": {"claims": {"device_id": "truck-7", "exp": "10 minutes"}},
        "an end of its own, no iat": {
            "claims": {"device_id": "truck-7", "exp": timestamp(now + 600)}, "options": own,
        },
        "nbf and iat": {
            "claims": {"device_id": "truck-7", "iat": timestamp(now - 60), "nbf": timestamp(now - 60)},
        },
        "aud": {"claims": {"device_id": "truck-7", "aud": AUDIENCE_SHARE}},
        "our kid": {"claims": {"device_id": "truck-7"}, "footer": json.loads(footer_of(SHARE_KEY))},
        "a footer of text": {"claims": {"device_id": "truck-7"}, "footer": "made by the shop"},
        "devices": {"claims": {"device_ids": ["truck-7", "truck-8"]}},
        "narrowed": {
            "claims": {
                "device_id": "truck-7", "fields": ["speed_kmh"], "precision_m": 1000, "delay_s": 0, "trail": 10,
                "starts_at": timestamp(now - 60), "label": "Order 4711",
            },
        },
    }  # fmt: skip


def test_tokens_of_paseto_ts_open_the_stream(maker: Maker, serving: Serving, mosquitto: MosquittoServer) -> None:
    """Whatever another service puts in: its viewers see the device, by alias, as narrowed as it said."""
    wanted = kinds()
    made = [one["token"] for one in maker(key=SHARE_KEY, tokens=list(wanted.values()))["tokens"]]
    sockets = {name: view(serving, token) for name, token in zip(wanted, made, strict=True)}
    try:
        hellos = {name: next_of(socket, "hello")["data"] for name, socket in sockets.items()}
        mosquitto.publish("fleet/truck-7", '{"data":{"DEVICE_ID":"truck-7","LAT":1.234567,"LON":-70.25,"SPEED":45}}')
        events = {name: next_of(socket, "message") for name, socket in sockets.items()}
    finally:
        for socket in sockets.values():
            socket.close()
    for name, event in events.items():
        assert event["alias"] == ("Device 1" if name == "devices" else "Device")
        assert (event["data"]["lat"] == 1.234567) == (name != "narrowed")
        assert "truck" not in json.dumps(hellos[name]) + json.dumps(event)
    assert events["narrowed"]["data"].keys() == {"lat", "lon", "speed_kmh"}
    assert hellos["narrowed"]["share"]["label"] == "Order 4711"
    assert not any(token[9:40] in serving.log() for token in made)


def test_tokens_of_paseto_ts_that_are_not_right_are_refused(maker: Maker, serving: Serving) -> None:
    """Another key, another audience, another kid, a life too long, no device: told why and closed with 1008."""
    claims = {"device_id": "truck-7"}
    raw = {"validatePayload": False, "addIat": False, "addExp": False}
    past = timestamp(time.time() - 60)
    ahead = {"exp": timestamp(time.time() + 600), "nbf": timestamp(time.time() + 300)}
    wanted = {
        "aud": ({"claims": {**claims, "aud": "telemetry-bridge"}}, "token_invalid"),
        "kid": ({"claims": claims, "footer": {"kid": "shop-1"}}, "token_invalid"),
        "life": ({"claims": {**claims, "exp": "31 days"}}, "token_invalid"),
        "no end": ({"claims": claims, "options": raw}, "token_invalid"),
        "no device": ({"claims": {}}, "token_invalid"),
        "a pattern": ({"claims": {"device_id": "truck-*"}}, "token_invalid"),
        "assertion": ({"claims": claims, "options": {"assertion": "share"}}, "token_invalid"),
        "expired": ({"claims": {**claims, "exp": past}, "options": raw}, "token_expired"),
        "early": ({"claims": {**claims, **ahead}, "options": raw}, "token_not_yet_valid"),
    }
    made = maker(key=SHARE_KEY, tokens=[one for one, _ in wanted.values()])["tokens"]
    tokens = {name: (one["token"], wanted[name][1]) for name, one in zip(wanted, made, strict=True)}
    tokens["access key"] = (maker(key=KEY, tokens=[{"claims": claims}])["tokens"][0]["token"], "token_invalid")
    for name, (token, code) in tokens.items():
        with view(serving, token) as socket:
            event = json.loads(socket.recv(WAIT_SECONDS))
            assert (event["event"], event["data"]["code"]) == ("error", code), name
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(WAIT_SECONDS)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1008, name
        assert token[9:40] not in serving.log()


def test_paseto_ts_opens_what_we_make(maker: Maker, serving: Serving) -> None:
    """A token as ``init`` gives it, by its key's id or not, is ordinary PASETO: the exchange works both ways."""
    operator = mint(
        KeyRing([KEY]), subject="ana", devices=["truck-7"], groups=(), scopes=["share"], ttl=600, now=time.time()
    )
    share = post(serving, "/api/v1/shares", {"device_ids": ["truck-7"], "expires_in": 600}, operator)
    answer = post(serving, "/api/v1/public/share-location/init", {"code": share["url"].rpartition("/")[2]})
    ours = mint_share(KeyRing([SHARE_KEY]), share["id"], expires_at=time.time() + 60, now=time.time() - 1)
    for claims in maker(key=SHARE_KEY, tokens=[], open=[answer["token"], ours])["opened"]:
        assert claims.keys() == {"aud", "jti", "iat", "exp", "share_id"}
        assert (claims["aud"], claims["share_id"]) == (AUDIENCE_SHARE, share["id"])


def post(serving: Serving, path: str, body: object, token: str = "") -> Any:
    """The answer to a POST."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(
        f"http://127.0.0.1:{serving.port}{path}", json.dumps(body).encode(), headers, method="POST"
    )
    with urllib.request.urlopen(request, timeout=WAIT_SECONDS) as answer:
        return json.load(answer)
