"""From a request's credential to a Principal, and back to a token."""

from __future__ import annotations

import json
from typing import Any

import pyseto
import pytest
from multidict import CIMultiDict

from bridge.access.authenticator import Authenticator, mint
from bridge.access.claims import AUDIENCE_ACCESS, MAX_TOKEN_SECONDS
from bridge.access.credentials import find_credential
from bridge.access.paseto import KeyRing, generate_key
from bridge.access.principal import Principal
from bridge.core.errors import TokenError
from bridge.core.times import timestamp
from tests.tokens import KEY, OTHER_KEY, RING, SECRET_KEY

NOW = 1_900_000_000.0
GROUPS = {"north": frozenset({"N1", "truck-*"}), "south": frozenset({"S1"})}
AUTHENTICATOR = Authenticator(RING, GROUPS, AUDIENCE_ACCESS)


def minted(**changes: Any) -> str:
    """A token of ours, good for an hour."""
    options: dict[str, Any] = {
        "subject": "dashboard",
        "devices": ["A", "B*"],
        "groups": ["north"],
        "scopes": ["stream"],
        "ttl": 3600,
        "now": NOW,
    }
    ring = changes.pop("ring", RING)
    return mint(ring, **(options | changes))


def foreign(key: str = KEY, **changes: Any) -> str:
    """A token by another maker: no kid, no aud, whatever claims."""
    claims = {"sub": "them", "exp": timestamp(NOW + 60)} | changes
    return pyseto.encode(pyseto.Key.from_paserk(key), json.dumps(claims).encode()).decode()


def code(token: Any, now: float = NOW, authenticator: Authenticator = AUTHENTICATOR) -> str:
    """The code with which a token is refused."""
    with pytest.raises(TokenError) as caught:
        authenticator.verify(token, now)
    return caught.value.code


# --- verify and mint ---------------------------------------------------------------------------------


def test_minted_token_makes_a_principal() -> None:
    """What is minted is what the holder may see: their devices and those of their groups."""
    principal = AUTHENTICATOR.verify(minted(scopes=["share", "stream"]), NOW)
    assert principal == Principal(
        subject="dashboard",
        expires_at=NOW + 3600,
        allowed=principal.allowed,
        devices=("A", "B*"),
        groups=frozenset({"north"}),
        scopes=frozenset({"share", "stream"}),
        token_id=principal.token_id,
    )
    assert principal.allowed.selectors() == {"A", "B*", "N1", "truck-*"}
    assert all(device in principal.allowed for device in ("A", "B", "B7", "N1", "truck-9"))
    assert not any(device in principal.allowed for device in ("a", "AB", "S1", "N11", "truck"))


def test_unknown_group_has_no_devices() -> None:
    """A group that was removed from the file, or never was there, gives nothing and is no error."""
    principal = AUTHENTICATOR.verify(minted(devices=[], groups=["west", "south"]), NOW)
    assert principal.allowed.selectors() == {"S1"}
    assert principal.groups == {"west", "south"}


def test_token_without_devices_and_groups_sees_nothing() -> None:
    """Nothing named is nothing allowed, not everything."""
    principal = AUTHENTICATOR.verify(foreign(), NOW)
    assert principal.allowed.selectors() == frozenset()
    assert principal.scopes == {"stream"}
    assert principal.token_id == ""


def test_every_minted_token_has_its_own_id() -> None:
    """Two tokens with the same claims can be told apart, e.g. to revoke one."""
    ids = {AUTHENTICATOR.verify(minted(), NOW).token_id for _ in range(20)}
    assert len(ids) == 20
    assert all(len(token_id) == 16 for token_id in ids)


@pytest.mark.parametrize("token", ["", None], ids=["empty", "none"])
def test_no_token_is_told_that_one_is_required(token: str | None) -> None:
    """The absence of a credential has its code."""
    assert code(token) == "token_required"


@pytest.mark.parametrize("keys", [[KEY], [KEY, OTHER_KEY], [OTHER_KEY, KEY]], ids=["one key", "first", "second"])
@pytest.mark.parametrize("with_kid", [True, False], ids=["kid", "no kid"])
def test_expired_is_told_apart_from_invalid_also_during_rotation(keys: list[str], with_kid: bool) -> None:
    """With two keys, whichever has made the token, at and after exp it is expired and not invalid."""
    authenticator = Authenticator(KeyRing(keys), {})
    token = minted(ring=KeyRing([KEY]), ttl=60) if with_kid else foreign()
    assert authenticator.verify(token, NOW + 59.999).expires_at == NOW + 60
    assert code(token, NOW + 60, authenticator) == "token_expired"
    assert code(token, NOW + 1e6, authenticator) == "token_expired"
    assert code(f"{token}=", NOW + 60, authenticator) == "token_invalid"
    assert code(token, NOW, Authenticator(KeyRing([generate_key()]), {})) == "token_invalid"


def test_token_of_tomorrow_is_not_yet_valid() -> None:
    """An nbf or iat in the future has its own code; five seconds are forgiven."""
    later = timestamp(NOW + 6)
    assert code(foreign(nbf=later)) == "token_not_yet_valid"
    assert code(foreign(iat=later)) == "token_not_yet_valid"
    assert AUTHENTICATOR.verify(foreign(nbf=later, iat=later), NOW + 1).subject == "them"


@pytest.mark.parametrize(
    "changes",
    [{"aud": "telemetry-bridge-share"}, {"aud": ["telemetry-bridge"]}, {"exp": 1_900_000_060}, {"exp": "2030"},
     {"exp": "2030-03-17T18:46:40"}, {"sub": ""}, {"devices": "A"}],
    ids=repr,
)  # fmt: skip
def test_genuine_token_with_a_wrong_claim_is_invalid(changes: dict[str, Any]) -> None:
    """The key alone does not make a token good."""
    assert code(foreign(**changes)) == "token_invalid"


def test_payload_that_is_no_object_is_invalid() -> None:
    """A list under our key is refused, not a crash."""
    for payload in (b"[]", b"1", b"\xff", b"null"):
        assert code(RING.seal(payload)) == "token_invalid"


def test_our_tokens_are_bound_to_their_audience() -> None:
    """An access token is none for a verifier of another audience, even under the same key."""
    assert code(minted(), NOW, Authenticator(RING, {}, "telemetry-bridge-share")) == "token_invalid"


def test_long_lived_token_is_refused_when_a_bound_is_set() -> None:
    """By default the life of another maker's token is that maker's affair; with a bound it is ours."""
    token = foreign(exp=timestamp(NOW + 3601))
    assert AUTHENTICATOR.verify(token, NOW).subject == "them"
    bounded = Authenticator(RING, {}, max_token_seconds=3600)
    assert code(token, NOW, bounded) == "token_invalid"
    assert bounded.verify(minted(ttl=3600), NOW).subject == "dashboard"


def test_ring_of_a_secret_key_mints_public_tokens() -> None:
    """v4.public in, v4.public out."""
    ring = KeyRing([SECRET_KEY])
    token = minted(ring=ring)
    assert token.startswith("v4.public.")
    assert Authenticator(ring, {}).verify(token, NOW).subject == "dashboard"


@pytest.mark.parametrize("ttl", [0, -1, MAX_TOKEN_SECONDS + 1, float("inf"), float("nan")])
def test_ttl_out_of_range_is_refused_with_the_range(ttl: float) -> None:
    """A token lives for a day at most, and the refusal says so."""
    with pytest.raises(ValueError, match="at most 86400 seconds"):
        minted(ttl=ttl)


def test_ttl_of_a_day_is_taken() -> None:
    """The corner of the limit."""
    assert AUTHENTICATOR.verify(minted(ttl=MAX_TOKEN_SECONDS), NOW).expires_at == NOW + MAX_TOKEN_SECONDS


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"subject": ""}, "sub is not"),
        ({"subject": "a\nb"}, "sub is not"),
        ({"subject": "\ud800"}, "UTF-8"),
        ({"devices": ["A", "A", "a/b"]}, r"devices entry 3 is neither .* without \+ # \* / .* and no \.\."),
        ({"groups": [""]}, "groups is not"),
        ({"scopes": ["teleport"]}, "unknown scope; the scopes are: admin ingest publish share stream"),
        ({"devices": [f"device-{n:04}" for n in range(200)]}, "the limit is 2048; name a group, or a pattern"),
        ({"devices": [f"device-{n:04}" for n in range(9000)]}, "the limit is 2048; name a group, or a pattern"),
    ],
)
def test_token_that_would_be_refused_is_not_minted(changes: dict[str, Any], reason: str) -> None:
    """The person at the shell learns it, not the client later."""
    with pytest.raises(ValueError, match=reason):
        minted(**changes)


def test_no_scope_asked_for_is_no_scope_given() -> None:
    """Our tokens always say their scopes, so the default for other makers does not apply."""
    assert AUTHENTICATOR.verify(minted(scopes=[]), NOW).scopes == frozenset()


def test_token_of_many_devices_still_fits() -> None:
    """The limit of a token holds more than eighty IMEIs."""
    devices = [f"86{n:013}" for n in range(64)]
    assert AUTHENTICATOR.verify(minted(devices=devices), NOW).devices == tuple(devices)


# --- where the credential is -------------------------------------------------------------------------

T, U = "v4.local.T", "v4.local.U"


@pytest.mark.parametrize(
    "headers, cookies, query, expected",
    [
        ({}, {}, {}, None),
        ({"Authorization": f"Bearer {T}"}, {}, {}, T),
        ({"authorization": f"bearer {T}"}, {}, {}, T),
        ({"AUTHORIZATION": f"  BEARER   {T} "}, {}, {}, T),
        ({"Authorization": "Basic dXNlcjpwYXNz"}, {}, {}, None),
        ({"Authorization": f"Basic {T}"}, {}, {"token": U}, U),
        ({"Authorization": "Bearer"}, {}, {}, None),
        ({"Authorization": "Bearer "}, {}, {"token": T}, T),
        ({"Authorization": T}, {}, {}, None),
        ({"Authorization": f"Bearer {T} {U}"}, {}, {}, f"{T} {U}"),
        ({"Sec-WebSocket-Protocol": f"telemetry-bridge, bearer.{T}"}, {}, {}, T),
        ({"sec-websocket-protocol": f"bearer.{T},telemetry-bridge"}, {}, {}, T),
        ({"Sec-WebSocket-Protocol": "telemetry-bridge"}, {}, {}, None),
        ({"Sec-WebSocket-Protocol": "bearer., bearer"}, {}, {}, None),
        ({}, {"telemetry_bridge_token": T}, {}, T),
        ({}, {"telemetry_bridge_token": ""}, {}, None),
        ({}, {"token": T, "Telemetry_Bridge_Token": T}, {}, None),
        ({}, {}, {"token": T}, T),
        ({}, {}, {"token": ""}, None),
        ({}, {}, {"Token": T, "access_token": T}, None),
        ({"Authorization": f"Bearer {T}"}, {"telemetry_bridge_token": T}, {"token": T}, T),
        ({"Authorization": f"Bearer {T}"}, {"telemetry_bridge_token": ""}, {"token": ""}, T),
    ],
)
def test_credential_is_found_wherever_it_may_stand(
    headers: dict[str, str], cookies: dict[str, str], query: dict[str, str], expected: str | None
) -> None:
    """Header, subprotocol, cookie, query; an empty one counts as none, the same one twice as one."""
    assert find_credential(CIMultiDict(headers), cookies, query) == expected


@pytest.mark.parametrize(
    "headers, cookies, query",
    [
        ({"Authorization": f"Bearer {T}"}, {"telemetry_bridge_token": U}, {}),
        ({"Authorization": f"Bearer {T}"}, {}, {"token": U}),
        ({"Authorization": f"Bearer {T}", "Sec-WebSocket-Protocol": f"bearer.{U}"}, {}, {}),
        ({"Sec-WebSocket-Protocol": f"bearer.{T}, bearer.{U}"}, {}, {}),
        ({}, {"telemetry_bridge_token": T}, {"token": U}),
        ({"Authorization": f"Bearer {T}", "authorization": f"Bearer {U}"}, {}, {}),
    ],
)
def test_two_different_credentials_are_refused(
    headers: dict[str, str], cookies: dict[str, str], query: dict[str, str]
) -> None:
    """Nobody has to guess which of two tokens counts; neither is repeated in the error."""
    with pytest.raises(TokenError) as caught:
        find_credential(CIMultiDict(headers), cookies, query)
    assert caught.value.code == "token_invalid"
    assert "v4" not in str(caught.value)
