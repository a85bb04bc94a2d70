"""The MQTT broker goes away and comes back under more sockets than ``select()`` can count."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.mosquitto import MosquittoServer
from tests.serving import StartServing, make_token
from tests.sockets import Crowd, LeanSocket, many_files, names, tcp_descriptors
from tests.waiting import wait_until

SOCKETS = 1_200
LATE_SOCKETS = 20
"""Opened while the MQTT broker is away: they take the low descriptors that its connection gave back."""
SELECT_LIMIT = 1_024
STREAM = "/api/v1/stream?device_ids=A"
EVENT_SECONDS = 60.0


@pytest.fixture
def files() -> Iterator[None]:
    """Room for the sockets, here and in the processes that the test starts."""
    with many_files(4_096):
        yield


@pytest.mark.usefixtures("files")
def test_a_killed_mqtt_broker_comes_back_under_1200_open_sockets(
    mosquitto: MosquittoServer, start_serving: StartServing
) -> None:
    """No socket is closed; each hears ``down`` and ``up`` and then gets the next message (paho.mqtt.python#819)."""
    serving = start_serving(
        mqtt_url=mosquitto.url(),
        max_connections_per_ip=0,
        max_connections_per_principal=0,
        handshakes_per_second=0,
        heartbeat_seconds=300,
    )
    serving.wait_ready()
    token = make_token("A")
    with Crowd() as crowd:
        for _ in range(SOCKETS):
            crowd.add(LeanSocket(serving.port, STREAM, token))
        crowd.wait_all(lambda member: member.has("subscribed"), EVENT_SECONDS, "subscribed")
        mosquitto.publish("fleet/A", '{"data":{"DEVICE_ID":"A","N":1}}')
        crowd.wait_all(lambda member: len(member.messages()) == 1, EVENT_SECONDS, "first message")

        mosquitto.kill()
        crowd.wait_all(lambda member: member.has("upstream", state="down"), EVENT_SECONDS, "upstream down")
        status, answer = serving.get("/readyz")
        assert status == 503
        assert "MQTT" in answer["problems"][0]
        assert serving.get("/healthz")[0] == 200
        for _ in range(LATE_SOCKETS):
            crowd.add(LeanSocket(serving.port, STREAM, token))
        crowd.wait_all(lambda member: member.has("upstream", state="down"), EVENT_SECONDS, "late ones are told")

        mosquitto.start()
        crowd.wait_all(lambda member: member.has("upstream", state="up"), 2 * EVENT_SECONDS, "upstream up")
        serving.wait_ready()
        (mqtt,) = wait_until(lambda: tcp_descriptors(serving.files(), mosquitto.port))
        assert mqtt > SELECT_LIMIT, "the new connection is one that select() could watch: the test proves nothing"
        mosquitto.publish("fleet/A", '{"data":{"DEVICE_ID":"A","N":2}}')
        crowd.wait_all(
            lambda member: {"data": {"DEVICE_ID": "A", "N": 2}} in member.messages(), EVENT_SECONDS, "second message"
        )
        assert not any(member.ended for member in crowd.members), names(crowd.members)
        assert serving.stats()["streams"]["open"] == SOCKETS + LATE_SOCKETS
    wait_until(lambda: serving.stats()["streams"]["open"] == 0)
    assert "Traceback" not in serving.log()
