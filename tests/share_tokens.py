"""Share tokens of every kind: ones that open something, and a table of those that must not."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any, Final

import pyseto

from bridge.access.paseto import KeyRing, generate_key
from bridge.core.device_ids import is_device_id
from bridge.core.times import timestamp
from share.model.aliases import discloses
from share.model.grant import FIELDS
from share.model.limits import (
    MAX_DELAY_SECONDS,
    MAX_DEVICES,
    MAX_LABEL_CHARS,
    MAX_PRECISION_M,
    MAX_TRAIL,
    MIN_PRECISION_M,
)
from share.stream.tokens import AUDIENCE_SHARE, Ticket, verify

NOW: Final = 1_900_000_000.0
MAX_SECONDS: Final = 30 * 86_400.0
KEY, OTHER_KEY, ACCESS_KEY = generate_key(), generate_key(), generate_key()
RING: Final = KeyRing([KEY])
NEUTRAL: Final = re.compile(r"Device(?: ?[1-9][0-9]*)?")
"""What devices are called that nobody has named."""
INVALID, EXPIRED, EARLY = "token_invalid", "token_expired", "token_not_yet_valid"


def footer_of(key: str) -> str:
    """The footer that names ``key``."""
    return json.dumps({"kid": pyseto.Key.from_paserk(key).to_paserk_id()})


def seal(claims: object, key: str = KEY, footer: bytes | str = b"") -> str:
    """A token of another maker around claims, or around bytes that need not be JSON."""
    payload = claims if isinstance(claims, bytes) else json.dumps(claims, separators=(",", ":")).encode()
    return pyseto.encode(pyseto.Key.from_paserk(key), payload, footer).decode()


def claims_at(now: float, **changes: Any) -> dict[str, Any]:
    """Claims that open ``truck-7`` for ten minutes, with changes; None takes a claim out."""
    claims = {"exp": timestamp(now + 600), "device_id": "truck-7", **changes}
    return {name: value for name, value in claims.items() if value is not None}


def opens(token: str | None, ring: KeyRing = RING, now: float = NOW) -> Ticket:
    """What ``token`` opens, as a server with the default settings says."""
    return verify(ring, token, now=now, max_seconds=MAX_SECONDS)


def check_ticket(ticket: Ticket, now: float = NOW, max_seconds: float = MAX_SECONDS) -> None:
    """Everything that holds of a ticket, whatever token it came of."""
    assert now < ticket.expires_at
    hash(ticket.key)
    if ticket.share_id is not None:
        assert 0 < len(ticket.share_id) <= 256 and ticket.share_id.isprintable()
        assert ticket.grant is None and ticket.label == ""
        return
    grant = ticket.grant
    assert grant is not None
    aliases = [alias for _, alias in grant.aliases]
    assert 1 <= len(grant.device_ids) <= MAX_DEVICES
    assert len(set(grant.device_ids)) == len(set(aliases)) == len(grant.aliases)
    assert all(is_device_id(device_id) and "*" not in device_id for device_id in grant.device_ids)
    assert all(NEUTRAL.fullmatch(alias) for alias in aliases) and not any(
        discloses(a, grant.device_ids) for a in aliases
    )
    assert grant.fields <= set(FIELDS)
    assert grant.precision_m == 0 or MIN_PRECISION_M <= grant.precision_m <= MAX_PRECISION_M
    assert 0 <= grant.delay_s <= MAX_DELAY_SECONDS
    assert type(grant.trail) is int and 0 <= grant.trail <= MAX_TRAIL
    assert grant.starts_at is None or timestamp(grant.starts_at)
    assert grant.destination is None and not grant.end_on_arrival
    assert len(ticket.label) <= MAX_LABEL_CHARS and (ticket.label.isprintable())


def wrong_claims(now: float, max_seconds: float = MAX_SECONDS) -> dict[str, tuple[bytes, str]]:
    """Payloads that must not open anything at ``now``, each with the code that tells why."""
    good = claims_at(now)
    text = json.dumps(good)[:-1]
    table = {
        name: (json.dumps(claims_at(now, **changes)).encode(), code)
        for name, (code, changes) in _wrong_times(now, max_seconds).items()
    }
    for name, changes in _WRONG_NAMES.items():
        table[name] = json.dumps(claims_at(now, **changes)).encode(), INVALID
    for claim, values in {**_WRONG_VALUES, **dict.fromkeys(_TIMES, _WRONG_TIMES)}.items():
        others = {name: value for name, value in good.items() if name != claim}
        others.pop("device_id" if claim in _WHO else "", None)
        start = json.dumps(others)[:-1]
        for value in values:
            table[f"{claim} {value:.40}"] = f'{start},"{claim}":{value}}}'.encode(), INVALID
    for payload in (
        b"[]", b"4", b"1e400", b'"text"', b"null", b"true", b"{}", b" ", b"\x00", b"{", b"not JSON", b"\xff\xfe",
        b"[" * 1400, b'{"a":' * 280, f"[{text}}}]".encode(), b"\xef\xbb\xbf" + f"{text}}}".encode(),
        f"{text}}}".encode("utf-16"), text.encode(), f"{text}}}{text}}}".encode(), f"{text}}},".encode(),
        f"{text}}}".replace('"', "'").encode(), f'{text},"device_id":"b"}}'.encode(),
        f'{text},"exp":{json.dumps(timestamp(now + 500))}}}'.encode(), f'{text},"x":{{"a":1,"a":2}}}}'.encode(),
        f'{text},"x":NaN}}'.encode(), f'{text},"x":{"[" * 1200}'.encode(),
    ):  # fmt: skip
        table[f"payload {payload!r:.60} {len(payload)}"] = payload, INVALID
    return table


def _texts(*values: object) -> tuple[str, ...]:
    return tuple(map(json.dumps, values))


_WHO: Final = ("share_id", "device_id", "device_ids")
_TIMES: Final = ("exp", "nbf", "iat", "starts_at")
_MANY: Final = "1" + "0" * 400
_NO_NUMBERS: Final = (
    "true", "false", "null", '"10"', "[]", "{}", "NaN", "Infinity", "-Infinity", "1e400", _MANY, f"-{_MANY}",
)  # fmt: skip
_WRONG_TIMES: Final = (
    "null", "true", "[]", "{}", "NaN", "Infinity", "1900000600", "1900000600.0", "1e400", '""', '"2030"',
    '"2030-01-31"', '"2030-01-31T12:00:00"', '"2030-01-31 12:00:00Z"', '"2030-02-30T12:00:00Z"',
    '"2030-01-31T12:00:60Z"', '"2030-01-31T24:00:00Z"', '"2030-01-31T12:00:00+24:00"', '"10 minutes"',
    '"\\u0662030-01-31T12:00:00Z"', '" 2030-01-31T12:00:00Z"', '"2030-01-31T12:00:00Z\\n"',
)  # fmt: skip
_WRONG_IDS: Final = _texts(
    "", "*", "truck-*", "**", "a+b", "a#", "a/b", "a\\b", "a,b", "..", "../b", " a", "a ", "a\n", "\x00", "a\x7fb",
    unicodedata.normalize("NFD", "Zürich"), "\ud800", "a\u2028b", "a\u202eb", "x" * 65, 4, 4.5, True, None, {}, [],
    ["truck-7"],
)  # fmt: skip
_WRONG_VALUES: Final[dict[str, tuple[str, ...]]] = {
    "aud": _texts(
        "telemetry-bridge", "", AUDIENCE_SHARE.upper(), AUDIENCE_SHARE + "/", AUDIENCE_SHARE + " ", "x" * 257,
        [AUDIENCE_SHARE], ["telemetry-bridge", AUDIENCE_SHARE], {}, 4, True, None,
    ),
    "jti": ("null", "4", '""', '"a\\nb"', json.dumps("x" * 257)),
    "share_id": _texts("", 4, True, None, [], {}, "x" * 257, "a\nb", "\ud800", "\x1b[31m"),
    "device_id": _WRONG_IDS,
    "device_ids": (
        *(f'["truck-7",{value}]' for value in _WRONG_IDS), '"truck-7"', '"*"', "null", "{}", '{"truck-7":1}', "4",
        "true", "[]", "[[]]", '["*"]', json.dumps([f"d{number}" for number in range(MAX_DEVICES + 1)]),
    ),
    "fields": (
        '"time"', '{"time":true}', '["speed"]', '["lat"]', '["time",1]', '["time",null]', '["*"]', '[["time"]]', "1",
        "null", "true",
    ),
    "precision_m": ("-1", "-0.001", "0.001", "1", "9.999", "100000.01", "1e-300", *_NO_NUMBERS),
    "delay_s": ("-1", "-0.001", "3600.01", "86400", *_NO_NUMBERS),
    "trail": ("-1", "0.5", "499.9", "501", *_NO_NUMBERS),
    "label": _texts("", "x" * 81, "a\nb", "\x1b[31m", "a\u202eb", "\ud800", 4, True, None, [], {}),
}  # fmt: skip
"""JSON texts, for json.dumps does not write all of them."""
_SHARE: Final[dict[str, Any]] = {"device_id": None, "share_id": "0123456789ab"}
_WRONG_NAMES: Final[dict[str, dict[str, Any]]] = {
    "no device": {"device_id": None},
    "no end": {"exp": None},
    "share and device": {"share_id": "0123456789ab"},
    "share and devices": {**_SHARE, "device_ids": ["truck-7"]},
    "device and devices": {"device_ids": ["truck-7"]},
    "all three": {"share_id": "0123456789ab", "device_ids": ["truck-7"]},
    "share with fields": {**_SHARE, "fields": ["time"]},
    "share with precision_m": {**_SHARE, "precision_m": 1000},
    "share with delay_s": {**_SHARE, "delay_s": 60},
    "share with trail": {**_SHARE, "trail": 0},
    "share with starts_at": {**_SHARE, "starts_at": "2030-01-31T12:00:00Z"},
    "share with label": {**_SHARE, "label": "x"},
    "a start before the year 1 of UTC": {"starts_at": "0001-01-01T00:00:00+23:59"},
    "a start after the year 9999 of UTC": {"starts_at": "9999-12-31T23:59:59-23:59"},
    "a start that is rounded up to the year 10000": {"starts_at": "9999-12-31T23:59:59.9999999Z"},
}


def _wrong_times(now: float, max_seconds: float) -> dict[str, tuple[str, dict[str, str]]]:
    def at(seconds: float) -> str:
        return timestamp(now + seconds)

    return {
        "exp now": (EXPIRED, {"exp": at(0)}),
        "exp a second ago, within every leeway": (EXPIRED, {"exp": at(-1)}),
        "exp long ago": (EXPIRED, {"exp": "0001-01-01T00:00:00Z"}),
        "exp passed and nbf to come": (EXPIRED, {"exp": at(-1), "nbf": at(60)}),
        "nbf beyond the leeway": (EARLY, {"nbf": at(60)}),
        "iat beyond the leeway": (EARLY, {"iat": at(60)}),
        "a life too long, from iat": (INVALID, {"iat": at(-60), "exp": at(max_seconds - 59)}),
        "a life too long, without iat": (INVALID, {"exp": at(max_seconds + 60)}),
        "a life without end": (INVALID, {"exp": "9999-12-31T23:59:59-23:59"}),
        "iat long ago": (INVALID, {"iat": "0001-01-01T00:00:00+23:59"}),
    }
