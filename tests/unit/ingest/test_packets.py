"""The stream from the MQTT broker, cut into packets however it arrives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.limits import MAX_CONTROL_PACKET_BYTES
from bridge.ingest.mqtt.packets import MalformedPacketError, Publish, PublishLifter

MAX_PAYLOAD = 100
MAX_PACKET = MAX_PAYLOAD + 64 * 1024 + 16
PINGRESP = b"\xd0\x00"
CONNACK = b"\x20\x03\x00\x00\x00"


def length_of(size: int) -> bytes:
    """A variable byte integer, written out from the example in MQTT 5.0 section 1.5.5."""
    out = b""
    while True:
        size, digit = divmod(size, 128)
        out += bytes([digit | (0x80 if size else 0)])
        if not size:
            return out


def packet(
    topic: bytes, payload: bytes, *, qos: int = 0, packet_id: int = 7, retain: bool = False, properties: bytes | None
) -> bytes:
    """A PUBLISH; ``properties`` None is MQTT 3.1.1."""
    body = len(topic).to_bytes(2, "big") + topic
    if qos:
        body += packet_id.to_bytes(2, "big")
    if properties is not None:
        body += length_of(len(properties)) + properties
    body += payload
    return bytes([0x30 | qos << 1 | retain]) + length_of(len(body)) + body


def lift(pieces: list[bytes], *, v5: bool) -> tuple[list[Publish], list[bytes], list[int]]:
    """All that comes out of a lifter that is fed the pieces."""
    lifter = PublishLifter(properties=v5, max_payload_bytes=MAX_PAYLOAD)
    publishes: list[Publish] = []
    others: list[bytes] = []
    for piece in pieces:
        more_publishes, more_others = lifter.feed(piece)
        publishes += more_publishes
        others += more_others
    return publishes, others, lifter.take_oversize()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """``data`` in pieces, cut at ``places`` (taken modulo its length)."""
    at = sorted({place % (len(data) + 1) for place in places})
    return [data[start:end] for start, end in zip([0, *at], [*at, len(data)], strict=True)]


# --- one packet --------------------------------------------------------------------------------------


def test_message_of_mqtt_3_is_lifted_without_its_head() -> None:
    """Topic, payload and the retain flag; QoS 0 has no packet id."""
    assert lift([packet(b"fleet/a", b"{}", retain=True, properties=None)], v5=False) == (
        [Publish(b"fleet/a", b"{}", True, 0)], [], [],
    )  # fmt: skip


@pytest.mark.parametrize("size", [0, 1, 127, 128, 300], ids=lambda size: f"{size}B")
def test_properties_of_mqtt_5_are_passed_over(size: int) -> None:
    """Properties of any length, also those whose length takes two bytes, are no part of the payload."""
    assert lift([packet(b"t", b"payload", properties=b"p" * size)], v5=True)[0] == [Publish(b"t", b"payload", False, 0)]


@pytest.mark.parametrize("v5", [False, True], ids=["3.1.1", "5"])
def test_packet_id_of_qos_1_is_told(v5: bool) -> None:
    """The id is needed for the PUBACK; DUP (a message sent again) changes nothing."""
    data = packet(b"t", b"x", qos=1, packet_id=65_535, properties=b"" if v5 else None)
    again = bytes([data[0] | 0x08]) + data[1:]
    assert lift([data, again], v5=v5)[0] == [Publish(b"t", b"x", False, 65_535)] * 2


@pytest.mark.parametrize("v5", [False, True], ids=["3.1.1", "5"])
def test_empty_payload_and_empty_topic_are_messages(v5: bool) -> None:
    """An empty payload clears a retained message; what an empty topic is worth the decoder says."""
    properties = b"" if v5 else None
    data = packet(b"t", b"", properties=properties) + packet(b"", b"", qos=1, properties=properties)
    assert lift([data], v5=v5)[0] == [Publish(b"t", b"", False, 0), Publish(b"", b"", False, 7)]


def test_other_packets_are_passed_on_whole_and_in_order() -> None:
    """CONNACK, SUBACK, PINGRESP and the like reach paho byte for byte, wherever the messages stand between them."""
    suback = b"\x90\x83\x01" + b"s" * 131
    data = CONNACK + packet(b"t", b"1", properties=None) + suback + packet(b"t", b"2", properties=None) + PINGRESP
    publishes, others, _ = lift([data], v5=False)
    assert [publish.payload for publish in publishes] == [b"1", b"2"]
    assert others == [CONNACK, suback, PINGRESP]


# --- the stream --------------------------------------------------------------------------------------


def publish_packets(v5: bool) -> st.SearchStrategy[bytes]:
    """PUBLISH packets of one version of MQTT."""
    return st.builds(
        packet,
        st.binary(max_size=20),
        st.binary(max_size=200),
        qos=st.sampled_from([0, 1]),
        packet_id=st.integers(1, 65_535),
        retain=st.booleans(),
        properties=st.binary(max_size=140) if v5 else st.none(),
    )


@st.composite
def streams(draw: st.DrawFn) -> tuple[bool, list[bytes], list[bytes]]:
    """A version, the packets of a stream, and the same stream in other pieces."""
    v5 = draw(st.booleans())
    huge = st.builds(
        lambda qos, extra: packet(b"huge", b"h" * (MAX_PACKET + extra), qos=qos, properties=b"" if v5 else None),
        st.sampled_from([0, 1]), st.integers(1, 5),
    )  # fmt: skip
    packets = draw(st.lists(publish_packets(v5) | st.sampled_from([PINGRESP, CONNACK]) | huge, max_size=6))
    data = b"".join(packets)
    edges = st.integers(0, len(data)) | st.integers(0, min(len(data), 80)) | st.integers(-80, 0)
    return v5, packets, cut(data, draw(st.lists(edges, max_size=12)))


@given(streams())
def test_any_split_of_the_stream_gives_the_same_messages(case: tuple[bool, list[bytes], list[bytes]]) -> None:
    """What a read happens to end with changes nothing: messages, other packets and what was too large."""
    v5, packets, pieces = case
    assert lift(pieces, v5=v5) == lift(packets, v5=v5)


@pytest.mark.parametrize("v5", [False, True], ids=["3.1.1", "5"])
def test_stream_may_come_byte_by_byte(v5: bool) -> None:
    """The worst split of all, with lengths of two bytes in it."""
    data = packet(b"t", b"x" * 200, qos=1, properties=b"p" * 130 if v5 else None) + PINGRESP
    pieces = [data[i : i + 1] for i in range(len(data))]
    assert lift(pieces, v5=v5) == ([Publish(b"t", b"x" * 200, False, 7)], [PINGRESP], [])


# --- too large -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1000, 65_536, 10_000_000])
@pytest.mark.parametrize("qos", [0, 1])
def test_too_large_message_is_passed_over_and_told(qos: int, step: int) -> None:
    """Its packet id comes out, so that it can be acknowledged; the next message is read as ever."""
    data = packet(b"t", b"x" * 400_000, qos=qos, properties=b"") + packet(b"t", b"next", properties=b"")
    pieces = [data[i : i + step] for i in range(0, len(data), step)]
    assert lift(pieces, v5=True) == ([Publish(b"t", b"next", False, 0)], [], [7 if qos else 0])


def test_too_large_message_takes_no_memory() -> None:
    """A message of 256 MB, the most that MQTT has a length for, is thrown away as it arrives."""
    lifter = PublishLifter(properties=True, max_payload_bytes=MAX_PAYLOAD)
    size = 268_435_455
    lifter.feed(b"\x32" + length_of(size) + b"\x00\x01t\x00\x09\x00")
    left, chunk = size - 6, bytes(1024 * 1024)
    while left:
        assert lifter.feed(chunk[:left]) == ([], [])
        assert lifter.kept_bytes == 0
        left -= min(left, len(chunk))
    assert lifter.feed(PINGRESP) == ([], [PINGRESP])
    assert lifter.take_oversize() == [9]


def test_what_waits_for_its_rest_is_bounded() -> None:
    """The largest message that is still taken is the most that is ever kept."""
    lifter = PublishLifter(properties=False, max_payload_bytes=MAX_PAYLOAD)
    payload = MAX_PACKET - 3
    data = packet(b"t", b"x" * payload, properties=None)
    for at in range(0, len(data) - 1, 100):
        assert lifter.feed(data[at : min(at + 100, len(data) - 1)]) == ([], [])
        assert lifter.kept_bytes <= MAX_PACKET + 5
    assert lifter.feed(data[-1:])[0] == [Publish(b"t", b"x" * payload, False, 0)]
    assert lifter.take_oversize() == []


def test_list_of_too_large_messages_is_given_away_once() -> None:
    """A second look finds nothing: no message is acknowledged twice."""
    lifter = PublishLifter(properties=False, max_payload_bytes=MAX_PAYLOAD)
    lifter.feed(packet(b"t", b"x" * 400_000, properties=None))
    assert lifter.take_oversize() == [0]
    assert lifter.take_oversize() == []


# --- no MQTT -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"\x30\x00",  # no topic length
        b"\x30\x01\x00",
        b"\x30\x03\x00\x02a",  # a topic longer than the packet
        b"\x30\x04\xff\xffab",
        b"\x32\x04\x00\x01a\x00",  # half a packet id
        b"\x32\x03\x00\x01a",
        b"\x34\x05\x00\x01a\x00\x01",  # QoS 2, which was never asked for
        b"\x36\x05\x00\x01a\x00\x01",  # QoS 3, which does not exist
        b"\x30\xff\xff\xff\xff\x01",  # a length of five bytes
        b"\xd0\x80\x80\x80\x80\x00",
    ],
    ids=repr,
)
@pytest.mark.parametrize("v5", [False, True], ids=["3.1.1", "5"])
def test_what_is_no_mqtt_ends_the_connection(data: bytes, v5: bool) -> None:
    """Nothing but MalformedPacketError, however the bytes arrive, and whatever follows them."""
    for pieces in ([data + packet(b"t", b"x" * 50, properties=b"")], [data[i : i + 1] for i in range(len(data))]):
        with pytest.raises(MalformedPacketError):
            lift(pieces, v5=v5)


@pytest.mark.parametrize(
    "data",
    [
        b"\x30\x03\x00\x01a",  # no properties at all
        b"\x30\x04\x00\x01a\x01",  # properties longer than the packet
        b"\x30\x04\x00\x01a\x80",  # a length that does not end
        b"\x30\x08\x00\x01a\xff\xff\xff\xff\x01",  # a length of five bytes
        b"\x32\x05\x00\x01a\x00\x09",
    ],
    ids=repr,
)
def test_properties_that_do_not_fit_end_the_connection(data: bytes) -> None:
    """The length of the properties is never read from, nor does it reach into, the next packet."""
    for tail in (b"", bytes(100), PINGRESP):
        with pytest.raises(MalformedPacketError):
            lift([data + tail], v5=True)


def test_control_packet_has_a_limit_of_its_own() -> None:
    """A packet that would be collected for paho is refused by its length alone, before and after it came."""
    largest = b"\x90" + length_of(MAX_CONTROL_PACKET_BYTES) + bytes(MAX_CONTROL_PACKET_BYTES)
    assert lift([largest[:9], largest[9:]], v5=True)[1] == [largest]
    head = b"\x90" + length_of(MAX_CONTROL_PACKET_BYTES + 1)
    for pieces in ([head], [head + bytes(MAX_CONTROL_PACKET_BYTES + 1)]):
        with pytest.raises(MalformedPacketError, match="type 9"):
            lift(pieces, v5=True)


@given(st.binary(max_size=200), st.booleans(), st.lists(st.integers(0, 200), max_size=5))
def test_noise_is_messages_or_malformed_and_nothing_else(data: bytes, v5: bool, places: list[int]) -> None:
    """Random bytes raise no other exception, and what is lifted lies inside what came."""
    try:
        publishes, others, _ = lift(cut(data, places), v5=v5)
    except MalformedPacketError:
        return
    assert sum(len(p.topic) + len(p.payload) + 2 for p in publishes) + sum(map(len, others)) <= len(data)
