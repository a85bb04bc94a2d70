"""Keys, tokens of ours and of other makers, and the one way in which a ring refuses."""

from __future__ import annotations

import base64
from typing import Any

import pyseto
import pytest

from bridge.access.paseto import KeyRing, generate_key
from bridge.core.errors import TokenError

KEY, OTHER_KEY = generate_key(), generate_key()
SECRET_KEY = (
    "k4.secret.tMv7Q99M4hByfZU-SnEzB_oZu32fhQQUONnhG5QqN3Qeudu7vAR8A_1wYE4AcfCYfhayi3VyJcEfAEFdDiCxog"  # PASERK's own
)
PUBLIC_KEY = "k4.public.Hrnbu7wEfAP9cGBOAHHwmH4Wsot1ciXBHwBBXQ4gsaI"
PAYLOAD = b'{"sub":"dashboard","exp":"2030-01-01T00:00:00Z"}'
RING = KeyRing([KEY, OTHER_KEY])
TOKEN = RING.seal(PAYLOAD)


def b64(data: bytes) -> str:
    """Base64url without padding, as tokens and keys have it."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def made_elsewhere(footer: bytes | str = b"", key: str = KEY, payload: bytes = PAYLOAD) -> str:
    """A token by another maker, who uses pyseto as it comes."""
    return pyseto.encode(pyseto.Key.from_paserk(key), payload, footer).decode()


def refusal(token: Any, ring: KeyRing = RING, implicit_assertion: bytes = b"") -> str:
    """The detail with which ``token`` is refused; the code is always token_invalid."""
    with pytest.raises(TokenError) as caught:
        ring.open(token, implicit_assertion)
    assert caught.value.code == "token_invalid"
    assert caught.value.__cause__ is None
    return caught.value.detail


def last_character_variants(text: str) -> list[str]:
    """Texts that differ in the last character only and that a lenient decoder reads as the same bytes."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    padding = "=" * (-len(text) % 4)
    same = base64.urlsafe_b64decode(text + padding)
    variants = (text[:-1] + last for last in alphabet if last != text[-1])
    return [variant for variant in variants if base64.urlsafe_b64decode(variant + padding) == same]
