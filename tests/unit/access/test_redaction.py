"""Credentials do not reach a log, however they are dressed."""

from __future__ import annotations

import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.access.paseto import generate_key
from bridge.access.redaction import redact
from tests.tokens import KEY, SECRET_KEY, TOKEN

JWT = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJkYXNoYm9hcmQifQ.c2lnbmF0dXJlLW9mLWEtand0"


@pytest.mark.parametrize("secret", [TOKEN, TOKEN.rpartition(".")[0], JWT, KEY, SECRET_KEY], ids=lambda _: "")
@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "GET /api/v1/stream?token={}&device_ids=A HTTP/1.1",
        "GET /api/v1/stream?device_ids=A&token={} HTTP/1.1",
        "/#token={}",
        "Authorization: Bearer {}",
        "authorization: bearer  {}",
        "Sec-WebSocket-Protocol: telemetry-bridge, bearer.{}, x",
        "Cookie: a=b; telemetry_bridge_token={}; c=d",
        '{{"action":"authenticate","data":{{"token":"{}"}}}}',
        '{{"token": "{}"}}',
        "{{'token': '{}'}}",
        'escaped {{\\"token\\": \\"{}\\"}} again',
        "a{}",
        "_{}",
        "({})",
        "<{}>",
        "first {0} second {0}",
        "line\n{}\nline",
    ],
)
def test_credential_is_not_in_the_log(text: str, secret: str) -> None:
    """No eight characters of a token or a key are left, and what stands around it is."""
    for dressed in (secret, quote(secret, safe=""), secret.replace(".", "%2E"), secret[:-20]):
        redacted = redact(text.format(dressed))
        body = dressed[9:]
        assert "***" in redacted
        assert not any(body[i : i + 8] in redacted for i in range(len(body) - 7))
        assert redact(redacted) == redacted


@pytest.mark.parametrize(
    "text, expected",
    [
        ("GET /?token=hunter2&device_ids=A HTTP/1.1", "GET /?token=***&device_ids=A HTTP/1.1"),
        ("GET /?TOKEN=hunter2", "GET /?TOKEN=***"),
        ("GET /?access_token=hunter2", "GET /?access_token=***"),
        ("/login?next=%2Fstream%3Ftoken%3Dhunter2%26a%3Db", "/login?next=%2Fstream%3Ftoken%3D***"),
        ("Bearer hunter2", "Bearer ***"),
        ("bearer%20hunter2", "bearer%20***"),
        ("bearer.hunter2, telemetry-bridge", "bearer.*** telemetry-bridge"),
        ('{"token":"hunter2","ref":1}', '{"token":"***","ref":1}'),
        ("token=", "token="),
        ("v4.local.x", "***"),
        ("V2.PUBLIC.x.y z", "*** z"),
        ("k4.secret-wrap.pie.x", "***"),
    ],
)
def test_what_stands_after_the_name_goes_even_if_it_is_no_token(text: str, expected: str) -> None:
    """A mistyped token is still somebody's secret; what is not secret stays readable."""
    assert redact(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "GET /api/v1/stream?device_ids=A,B&groups=north HTTP/1.1",
        "token_invalid: kid names no key that we have",
        "token required",
        "k4.lid.iVtYQDjr5gEijCSjJC3fQaJm7nCeQSeaty0Jixy8dbsk",
        "bridge 0.1.0, v4.local and v4.public",
        "grey Jaguar",
    ],
)
def test_innocent_text_stays(text: str) -> None:
    """Log lines without a credential are not touched."""
    assert redact(text) == text


@given(st.text(alphabet=" &\"'\t\n<>", max_size=5), st.text(max_size=30), st.text(max_size=30))
def test_fresh_key_is_redacted_in_any_surroundings(gap: str, before: str, after: str) -> None:
    """Whatever stands before and after, the key is gone."""
    key = generate_key()
    assert key[9:] not in redact(f"{before}{key}{gap}{after}")


@pytest.mark.parametrize(
    "text",
    ["eyJ" * 20_000, "bearer" + " " * 60_000 + "&", "bearer" * 10_000, 'token"' + " " * 60_000, "v4.local." * 7000],
)
def test_hostile_text_is_redacted_in_no_time(text: str) -> None:
    """60 kB of whatever suits the expression least: no more than linear time."""
    started = time.process_time()
    redact(text)
    assert time.process_time() - started < 0.25
