"""The configuration in ``mosquitto/``, run as it is shipped, keeps what its comments say."""

from __future__ import annotations

import socket
import stat
import subprocess
from pathlib import Path

import pytest

from tests.mosquitto import SHIPPED, Credentials, MosquittoServer, make_credentials
from tests.real.conftest import StartMosquitto

REFUSED = 5
"""Exit status of mosquitto_pub and mosquitto_sub for a refused CONNECT: the code of MQTT 3.1.1 section 3.2.2.3."""
NOTHING_CAME = 27
"""Exit status of mosquitto_sub whose time is up (MOSQ_ERR_TIMEOUT)."""
CONNECTION_LOST = 7
"""Exit status of a client whose connection the server ended (MOSQ_ERR_CONN_LOST)."""
"""Exit status of a client that does not trust the server (MOSQ_ERR_TLS)."""
RETAIN = ("-r", "-q", "1", "-m")
WAIT_SECONDS = "50"
"""Below the time after which a client is given up."""


@pytest.fixture
def shipped(start_mosquitto: StartMosquitto, credentials: Credentials) -> MosquittoServer:
    """The shipped configuration, running."""
    return start_mosquitto(credentials=credentials, shipped=True)


def retained(server: MosquittoServer, user: str, *, count: int, topics: tuple[str, ...] = ("#",)) -> list[str]:
    """The topics of the first ``count`` messages that ``user`` gets on subscribing."""
    filters = [argument for topic in topics for argument in ("-t", topic)]
    done = server.client("mosquitto_sub", *filters, "-C", str(count), "-W", WAIT_SECONDS, "-F", "%t", user=user)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().split()


# --- an MQTT 3.1.1 client that reads only when told to: packets by hand, section 3 of the standard ---

CONNECT, PUBLISH_RETAIN, SUBSCRIBE, PINGREQ = 0x10, 0x31, 0x82, 0xC0
CONNACK_ACCEPTED, PINGRESP = b"\x20\x02\x00\x00", b"\xd0\x00"
USER_PASSWORD_CLEAN, KEEP_ALIVE = b"\xc2", b"\x00\x3c"


def text(value: bytes) -> bytes:
    """A string with its length before it (section 1.5.3)."""
    return len(value).to_bytes(2, "big") + value


def packet(head: int, body: bytes) -> bytes:
    """A packet with its length as a variable-byte integer (section 2.2.3)."""
    length, rest = bytearray(), len(body)
    while rest > 0x7F:
        length.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([head, *length, rest]) + body


def connect(server: MosquittoServer, user: str, *, receive_bytes: int = 0) -> socket.socket:
    """A connected client, its kernel buffer as small as ``receive_bytes`` when given."""
    assert server.credentials is not None
    client = socket.socket()
    client.settimeout(float(WAIT_SECONDS))
    if receive_bytes:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    client.connect(("127.0.0.1", server.port))
    login = text(user.encode()) + text(server.credentials.passwords[user].encode())
    client.sendall(packet(CONNECT, text(b"MQTT") + b"\x04" + USER_PASSWORD_CLEAN + KEEP_ALIVE + text(b"") + login))
    assert client.recv(4) == CONNACK_ACCEPTED
    return client


def ping(client: socket.socket) -> None:
    """Return when the server has worked on everything that ``client`` sent."""
    client.sendall(packet(PINGREQ, b""))
    assert client.recv(2) == PINGRESP


def received(server: MosquittoServer, user: str) -> bytes:
    """All packets that ``user`` gets for subscribing to everything; the answer to a ping comes after them."""
    with connect(server, user) as client:
        client.sendall(packet(SUBSCRIBE, b"\x00\x01" + text(b"#") + b"\x00" + text(b"$SYS/#") + b"\x00"))
        client.sendall(packet(PINGREQ, b""))
        told = b""
        while not told.endswith(PINGRESP):
            told += client.recv(4096)
        return told


def test_starts_without_a_warning(shipped: MosquittoServer) -> None:
    """Nothing in the shipped files is unknown to Mosquitto or out of date."""
    as_root = "Warning: Mosquitto should not be run as root/administrator."  # the folders of tests are root's in CI
    complaints = [line for line in shipped.log().splitlines() if "Warning" in line or "Error" in line]
    assert [line for line in complaints if not line.endswith(as_root)] == []


def test_anonymous_client_is_refused(shipped: MosquittoServer) -> None:
    """Without a name nobody connects."""
    done = shipped.client("mosquitto_pub", "-V", "311", "-t", "fleet/truck-1/position", "-m", "{}")
    assert done.returncode == REFUSED


def test_wrong_password_is_refused(shipped: MosquittoServer) -> None:
    """A known name alone does not connect."""
    done = shipped.client(
        "mosquitto_pub", "-V", "311", "-u", "truck-1", "-P", "guess", "-t", "fleet/truck-1/position", "-m", "{}"
    )
    assert done.returncode == REFUSED


def test_device_writes_only_below_its_own_name(shipped: MosquittoServer) -> None:
    """What a device says in another's name reaches nobody."""
    for topic in ("fleet/truck-2/position", "fleet", "other/truck-1", "fleet/truck-1x/position", "$SYS/broker/version"):
        shipped.client("mosquitto_pub", "-t", topic, *RETAIN, "forged", user="truck-1")
    shipped.publish("fleet/truck-1/position", '{"lat":1}', user="truck-1", qos=1, retain=True)
    assert retained(shipped, "bridge", count=1) == ["fleet/truck-1/position"]
    told = received(shipped, "bridge")
    assert told.count(b"fleet/truck-1/position") == 1
    assert b"forged" not in told


def test_device_is_told_that_its_publish_was_refused(shipped: MosquittoServer) -> None:
    """An MQTT 5 device learns of a wrong topic at QoS 1."""
    done = shipped.client("mosquitto_pub", "-t", "fleet/truck-2/position", "-q", "1", "-m", "{}", user="truck-1")
    assert b"Not authorized" in done.stderr


def test_device_reads_nothing(shipped: MosquittoServer) -> None:
    """No device sees where another is, nor its own."""
    shipped.publish("fleet/truck-2/position", "{}", user="truck-2", qos=1, retain=True)
    shipped.publish("fleet/truck-1/position", "{}", user="truck-1", qos=1, retain=True)
    done = shipped.client("mosquitto_sub", "-t", "#", "-t", "$SYS/#", "-C", "1", "-W", "1", user="truck-1")
    assert (done.returncode, done.stdout) == (NOTHING_CAME, b"")


def test_bridge_reads_all_telemetry_and_not_sys(shipped: MosquittoServer) -> None:
    """The MQTT broker's own topics come before ours in the subscription, and are left out."""
    shipped.publish("fleet/truck-1/position", "{}", user="truck-1", qos=1, retain=True)
    shipped.publish("fleet/truck-2/status/deep/er", "{}", user="truck-2", qos=1, retain=True)
    topics = retained(shipped, "bridge", count=2, topics=("$SYS/#", "#"))
    assert sorted(topics) == ["fleet/truck-1/position", "fleet/truck-2/status/deep/er"]


def test_bridge_writes_nothing(shipped: MosquittoServer) -> None:
    """The pattern for devices does not make the bridge one."""
    for topic in ("fleet/bridge/position", "fleet/truck-1/position", "anything"):
        done = shipped.client("mosquitto_pub", "-t", topic, *RETAIN, "forged", user="bridge")
        assert b"Not authorized" in done.stderr
    shipped.publish("fleet/truck-2/position", "{}", user="truck-2", qos=1, retain=True)
    assert retained(shipped, "bridge", count=1) == ["fleet/truck-2/position"]


def test_packet_above_the_limit_is_refused(shipped: MosquittoServer) -> None:
    """The largest payload that the bridge takes passes, and a packet above ``max_packet_size`` does not."""
    shipped.publish("fleet/truck-1/big", b"x" * 131_072, user="truck-1", qos=1, retain=True)
    # MQTT 3.1.1: mosquitto_pub does not know the limit, so it is the server that refuses.
    bigger = ("-V", "311", "-t", "fleet/truck-1/bigger", "-q", "1", "-r", "-s")
    done = shipped.client("mosquitto_pub", *bigger, user="truck-1", data=b"x" * 139_265)
    assert done.returncode == CONNECTION_LOST
    assert retained(shipped, "bridge", count=1) == ["fleet/truck-1/big"]


def test_every_retained_message_reaches_a_busy_bridge(shipped: MosquittoServer) -> None:
    """A subscriber that does not read at once loses none of 3000 retained messages; with the default it loses half."""
    count, payload = 3000, b"x" * 4000
    with connect(shipped, "truck-1") as device, connect(shipped, "bridge", receive_bytes=4096) as bridge:
        topics = [b"fleet/truck-1/%04d" % number for number in range(count)]
        device.sendall(b"".join(packet(PUBLISH_RETAIN, text(topic) + payload) for topic in topics))
        ping(device)
        bridge.sendall(packet(SUBSCRIBE, b"\x00\x01" + text(b"#") + b"\x00"))
        ping(device)  # Mosquitto is one thread: when it answers, it has filled the bridge's queue
        suback_bytes = 5
        expected = suback_bytes + count * len(packet(PUBLISH_RETAIN, text(topics[0]) + payload))
        received = 0
        while received < expected and (data := bridge.recv(1 << 20)):
            received += len(data)
    assert received == expected


def test_retained_messages_outlive_a_restart(shipped: MosquittoServer) -> None:
    """A bridge that starts after the MQTT broker was restarted still has last-known positions."""
    shipped.publish("fleet/truck-1/position", "{}", user="truck-1", qos=1, retain=True)
    shipped.restart()
    assert retained(shipped, "bridge", count=1) == ["fleet/truck-1/position"]


def test_tls_listener_is_trusted_by_the_made_authority(shipped: MosquittoServer, credentials: Credentials) -> None:
    """A device with ``ca.crt`` connects over TLS, and its telemetry arrives."""
    message = ("-t", "fleet/truck-1/position", "-m", "{}", "-q", "1", "-r")
    done = shipped.client("mosquitto_pub", "--cafile", str(credentials.ca_file), *message, user="truck-1", tls=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert retained(shipped, "bridge", count=1) == ["fleet/truck-1/position"]


def test_tls_listener_is_refused_by_a_stranger(shipped: MosquittoServer, tmp_path: Path) -> None:
    """A client that trusts another authority does not talk to this server."""
    other = make_credentials(tmp_path / "other", "truck-1")
    message = ("-t", "fleet/truck-1/position", "-m", "{}", "-q", "1")
    done = shipped.client("mosquitto_pub", "--cafile", str(other.ca_file), *message, user="truck-1", tls=True)
    assert done.returncode != 0


def test_plain_listener_is_for_this_machine_only() -> None:
    """Passwords cross no network in the clear; every other listener has a certificate."""
    lines = (SHIPPED / "mosquitto.conf").read_text().splitlines()
    listeners = [line for line in lines if line.startswith("listener")]
    assert listeners == ["listener 1883 127.0.0.1", "listener 8883"]
    after = lines[lines.index("listener 8883") + 1 :]
    assert [line.split()[0] for line in after[:2]] == ["certfile", "keyfile"]


def test_secrets_are_readable_by_their_owner_only(credentials: Credentials) -> None:
    """Nobody else reads keys and password hashes, and no password stands in a file."""
    for name in ("ca.key", "server.key", "passwd"):
        assert stat.S_IMODE((credentials.folder / name).stat().st_mode) & 0o037 == 0, name
    text = (credentials.folder / "passwd").read_text()
    assert not any(password in text for password in credentials.passwords.values())


def test_adding_a_user_keeps_the_rest(tmp_path: Path, credentials: Credentials) -> None:
    """A second run adds or changes the users it names, and no certificate."""
    made = make_credentials(tmp_path / "site", "bridge", "truck-1", hosts=["mqtt.example.com", "192.0.2.7"])
    before = {path.name: path.read_text() for path in made.folder.iterdir()}
    make_credentials(made.folder, "truck-1", "truck-2")
    after = {path.name: path.read_text() for path in made.folder.iterdir()}
    lines = dict(line.split(":") for line in before.pop("passwd").splitlines())
    changed = dict(line.split(":") for line in after.pop("passwd").splitlines())
    assert before == after
    assert changed.keys() == {"bridge", "truck-1", "truck-2"}
    assert changed["bridge"] == lines["bridge"]
    assert changed["truck-1"] != lines["truck-1"]


@pytest.mark.parametrize("name", ["a/b", "a+", "#", "a:b", "-c", "", "a b", "a\nb"])
def test_name_that_the_rules_cannot_carry_is_refused(tmp_path: Path, credentials: Credentials, name: str) -> None:
    """A user name that would mean something in a topic filter or in the password file is never made."""
    with pytest.raises(subprocess.CalledProcessError) as refusal:
        make_credentials(tmp_path / "site", name)
    assert "cannot be a user name" in refusal.value.stderr
    assert not (tmp_path / "site").exists()
