"""What a client whose credential is not accepted should do, by the code of the TokenError."""

from __future__ import annotations

from typing import Final

TOKEN_ADVICE: Final = {
    "token_required": "present an access token: Authorization header, subprotocol, cookie, ?token= or authenticate",
    "token_invalid": "not a token of this server; get a new one",
    "token_expired": "the token has expired; get a new one",
    "token_not_yet_valid": "the token is not valid yet; check the clocks",
    "scope_missing": "the token lacks the scope `stream`",
    "subject_changed": "a socket keeps its subject; open a new connection for another one",
    "too_many_connections": "too many streams of this subject; close some",
}
"""For access tokens on a stream. Whoever asks for another credential, or in another place, overrides what differs:
``TOKEN_ADVICE | {...}``."""
