"""Any JSON in, Telemetry out; everything else refused by cause."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.errors import PayloadCause, PayloadError
from bridge.core.telemetry import Fix, Kind, Telemetry
from bridge.ingest.decoding.json_decoder import JsonDecoder
from bridge.settings import Settings

MAX_PAYLOAD = 4096 * 64
FIELDS = Settings.model_fields


def decoder(topic_pattern: str = "", max_payload_bytes: int = MAX_PAYLOAD) -> JsonDecoder:
    """A decoder with the default pointers."""
    return JsonDecoder(
        id_pointers=FIELDS["device_id_pointers"].default,
        position_pointers=FIELDS["position_pointers"].default,
        topic_pattern=topic_pattern,
        max_payload_bytes=max_payload_bytes,
    )


def cause(payload: bytes, topic: bytes = b"t", topic_pattern: str = "") -> PayloadCause:
    """Why a message is refused."""
    with pytest.raises(PayloadError) as caught:
        decoder(topic_pattern).decode(topic, payload, False)
    return caught.value.cause


ENVELOPE = (
    b'{"timestamp":"2024-12-11T10:30:00Z","data":{"DEVICE_ID":"0848086072","LAT":-33.4567,"LON":-70.6789,"SPEED":45}}'
)
TRACCAR = (
    b'{"position":{"id":1,"deviceId":7,"protocol":"osmand","fixTime":"2023-11-13T13:30:15.000+00:00","valid":true,'
    b'"latitude":1.5,"longitude":2,"speed":0.16},"device":{"id":7,"name":"x","uniqueId":"356307042441013"}}'
)
TTN = (
    b'{"end_device_ids":{"device_id":"dev1","dev_eui":"0004A30B001C0530"},"received_at":"2024-01-01T00:00:00Z",'
    b'"uplink_message":{"f_port":1,"decoded_payload":{}}}'
)
CHIRPSTACK = (
    b'{"deviceInfo":{"devEui":"0101010101010101"},"location":{"latitude":37.344214,"longitude":-8.839375,"altitude":2}}'
)
FLESPI = (
    b'{"ident":"352093081234567","timestamp":1790580000,"position.latitude":11.66,"position.longitude":78.15,'
    b'"engine.ignition.status":true}'
)
DIGITRAFFIC = b'{"time":1700000000,"lat":60.1,"lon":24.9,"sog":102.2,"cog":360,"heading":511,"navStat":5}'


@pytest.mark.parametrize(
    "payload, device_id, kind",
    [
        pytest.param(ENVELOPE, "0848086072", Kind.POSITION, id="envelope"),
        pytest.param(TRACCAR, "356307042441013", Kind.POSITION, id="traccar"),
        pytest.param(TTN, "dev1", Kind.EVENT, id="ttn"),
        pytest.param(CHIRPSTACK, "0101010101010101", Kind.EVENT, id="chirpstack"),
        pytest.param(FLESPI, "352093081234567", Kind.POSITION, id="flespi"),
    ],
)
def test_known_format_names_its_device(payload: bytes, device_id: str, kind: Kind) -> None:
    """With the default settings, whatever the topic; the payload is passed on as the object that came."""
    message = decoder().decode(b"any/topic", payload, False)
    assert (message.device_id, message.kind, message.retained) == (device_id, kind, False)
    assert message.payload is payload


def test_format_without_an_id_takes_it_from_the_topic() -> None:
    """Digitraffic marine: the MMSI stands in the topic only; a vessel's metadata is an event."""
    reader = decoder("vessels-v2/{device_id}/+")
    message = reader.decode(b"vessels-v2/230123456/location", DIGITRAFFIC, True)
    assert message == Telemetry("230123456", DIGITRAFFIC, True, Fix(60.1, 24.9, 1700000000.0))
    assert reader.decode(b"vessels-v2/230123456/metadata", b'{"name":"ARUNA"}', False).kind is Kind.EVENT


@pytest.mark.parametrize("payload", [b"1", b'"text"', b"null", b"true", b"[]", b"[[1]]", b"{}", b' {"a":1} \r\n'])
def test_any_json_is_taken_when_the_topic_names_the_device(payload: bytes) -> None:
    """Scalars, lists and blanks around: RFC 8259 allows all of them, and they stay as they are."""
    assert decoder("{device_id}").decode(b"A", payload, False) == Telemetry("A", payload)


# --- no JSON -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "payload",
    [
        b"", b" ", b"{", b"text", b"{'a':1}", b'{"a":1,}', b'{"a":1}x', b'{"a":1}{"a":1}', b'{"a":01}', b"\x00",
        b"NaN", b'{"a":NaN}', b'{"a":Infinity}', b'{"a":-Infinity}', b'{"a":1e400}', b'{"a":-1e400}', b"9" * 100_000,
        b'{"a":"\xff"}', b'{"a":"\xc0\xaf"}', b'{"a":"\xed\xa0\x80"}', b'{"a":"\\ud800"}', b'{"a":"\\udc00\\ud800"}',
        b'{"\\ud800":1}', b"\xef\xbb\xbf{}", '{"a":1}'.encode("utf-16"), '{"a":1}'.encode("utf-32-le"),
        b'{"a":"\n"}', b'{"a":"\x00"}', b"\x1f\x8b\x08\x00", b"// x\n{}", b'{"a":/**/1}',
        b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
    ],
    ids=lambda payload: repr(payload[:24]),
)  # fmt: skip
def test_what_is_no_json_is_counted_as_that(payload: bytes) -> None:
    """NaN, infinities, surrogates, byte order marks, other encodings, depth: nothing that a browser could choke on."""
    assert cause(payload) is PayloadCause.INVALID_JSON


def test_payload_of_the_greatest_length_is_taken_and_one_byte_more_is_not() -> None:
    """The limit holds before the JSON is looked at."""
    payload = b'{"ident":"A","x":"%b"}' % (b"x" * (100 - 20))
    assert len(payload) == 100
    assert decoder(max_payload_bytes=100).decode(b"t", payload, False).payload == payload
    with pytest.raises(PayloadError) as caught:
        decoder(max_payload_bytes=99).decode(b"t", payload, False)
    assert caught.value.cause is PayloadCause.OVERSIZE
    assert cause(b"{" * (MAX_PAYLOAD + 1)) is PayloadCause.OVERSIZE


def test_duplicate_key_means_the_last_one() -> None:
    """As in every browser: the device that is checked is the one that a client will read."""
    assert decoder().decode(b"t", b'{"ident":"A","ident":"B"}', False).device_id == "B"
    assert decoder().decode(b"t", b'{"data":{"DEVICE_ID":"A"},"data":{"DEVICE_ID":"B"}}', False).device_id == "B"
    assert cause(b'{"data":{"DEVICE_ID":"A"},"data":{}}') is PayloadCause.NO_DEVICE_ID


# --- ids -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, device_id",
    [('"A"', "A"), ("7", "7"), ("-7", "-7"), ("0", "0"), ("18446744073709551615", "18446744073709551615"),
     ('"\\u0041"', "A"), ('"A B"', "A B"), ('"地図"', "地図"), (f'"{"x" * 64}"', "x" * 64)],
)  # fmt: skip
def test_id_may_be_text_or_a_whole_number(text: str, device_id: str) -> None:
    """A number is its decimal digits; what a 64-bit number holds stays exact."""
    assert decoder().decode(b"t", f'{{"ident":{text}}}'.encode(), False).device_id == device_id


@pytest.mark.parametrize(
    "text",
    ["true", "false", "1.0", "1.5", "1e3", "18446744073709551616", "[]", '["A"]', "{}", '""', '" "', '" A"', '"A "',
     '"a/b"', '"a,b"', '"+"', '"#"', '"*"', '"a*"', '"a\\\\b"', '"../a"', '"a\\u0000"', '"a\\nb"', '"a\\u2028b"',
     '"e\\u0301"', '"\\u202e"', '"\\u200b"', f'"{"x" * 65}"'],
)  # fmt: skip
def test_id_that_cannot_name_a_device_refuses_the_message(text: str) -> None:
    """Other types and forbidden characters; the topic does not help out for a wrong id."""
    payload = f'{{"ident":{text}}}'.encode()
    assert cause(payload) is PayloadCause.BAD_DEVICE_ID
    assert cause(payload, b"A", "{device_id}") in (PayloadCause.BAD_DEVICE_ID, PayloadCause.DEVICE_ID_MISMATCH)


def test_null_is_no_id() -> None:
    """The next pointer is asked, then the topic; then there is none."""
    assert decoder().decode(b"t", b'{"data":{"DEVICE_ID":null},"ident":"A"}', False).device_id == "A"
    assert decoder("{device_id}").decode(b"B", b'{"ident":null}', False).device_id == "B"
    assert cause(b'{"ident":null}') is PayloadCause.NO_DEVICE_ID


def test_first_pointer_that_finds_something_counts() -> None:
    """In the order of the setting, not of the payload."""
    assert decoder().decode(b"t", b'{"ident":"B","data":{"DEVICE_ID":"A"}}', False).device_id == "A"


def test_device_cannot_speak_as_another() -> None:
    """Where topic and payload both name a device they must agree; a number agrees with its digits."""
    assert cause(b'{"ident":"A"}', b"f/B", "f/{device_id}") is PayloadCause.DEVICE_ID_MISMATCH
    assert cause(b'{"ident":"a"}', b"f/A", "f/{device_id}") is PayloadCause.DEVICE_ID_MISMATCH
    assert decoder("f/{device_id}").decode(b"f/7", b'{"ident":7}', False).device_id == "7"
    assert decoder("f/{device_id}").decode(b"other/B", b'{"ident":"A"}', False).device_id == "A"


def test_id_in_the_topic_is_held_to_the_same_rules() -> None:
    """Too long, padded or not normalised: refused, although MQTT allows such topics."""
    for topic in ("x" * 65, " A", "e\u0301", "a*"):
        assert cause(b"{}", topic.encode(), "{device_id}") is PayloadCause.BAD_DEVICE_ID


def test_bad_topic_refuses_whatever_the_payload_says() -> None:
    """A topic that MQTT forbids comes from a broken MQTT broker."""
    assert cause(ENVELOPE, b"\xff") is PayloadCause.BAD_TOPIC


def test_long_ids_are_not_remembered() -> None:
    """The memory of ids is counted in ids, so a stranger's quarter-megabyte ids must not get into it."""
    reader = decoder()
    tracemalloc.start()
    try:
        for number in range(40):
            with pytest.raises(PayloadError):
                reader.decode(b"t", b'{"ident":"%d%b"}' % (number, b"x" * 200_000), False)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1_000_000


# --- kinds -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["1", "-0.0", "1.5", "90", "1e1", '"46.5315"', '"-1"', '" 1 "'])
def test_message_with_a_latitude_and_a_longitude_is_a_position(text: str) -> None:
    """Also numbers that were written as text, as some OwnTracks devices do."""
    message = decoder("{device_id}").decode(b"A", f'{{"lat":{text},"lon":2}}'.encode(), False)
    assert (message.kind, message.fix) == (Kind.POSITION, Fix(float(text.strip('" ')), 2.0))


@pytest.mark.parametrize(
    "text",
    ["null", "true", "[1]", "{}", '""', '"north"', '"nan"', '"inf"', '"-Infinity"', '"1e400"', "91", "-90.1", "1e3"],
)
def test_message_without_a_latitude_is_an_event(text: str) -> None:
    """So that it neither replaces a position nor is replaced by one."""
    message = decoder("{device_id}").decode(b"A", f'{{"lat":{text},"lon":2}}'.encode(), False)
    assert (message.kind, message.fix) == (Kind.EVENT, None)


def test_latitude_alone_is_no_position() -> None:
    """Where the device is takes two numbers."""
    assert decoder("{device_id}").decode(b"A", b'{"lat":1}', False).kind is Kind.EVENT


# --- everything at once ------------------------------------------------------------------------------------------


@given(
    st.binary(max_size=40)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["data", "DEVICE_ID", "ident", "lat"]), inner),
    ).map(lambda document: json.dumps(document).encode()),
    st.binary(max_size=20) | st.text(max_size=20).map(lambda text: text.encode(errors="replace")),
)
def test_no_input_raises_anything_but_a_cause(payload: bytes, topic: bytes) -> None:
    """What is let through has a valid id and a payload that a strict parser takes."""
    try:
        message = decoder("{device_id}").decode(topic, payload, False)
    except PayloadError:
        return
    assert 0 < len(message.device_id) <= 64
    assert message.device_id.isprintable()
    json.loads(message.payload.decode(), parse_constant=pytest.fail)
