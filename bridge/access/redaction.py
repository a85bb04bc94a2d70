"""Text from outside without its credentials, fit for a log."""

from __future__ import annotations

import re

_SECRETS = re.compile(
    r"""
      [kv][1-9](?:\.|%2e)(?:local|public|secret|seal)[a-z-]{0,12}(?:\.|%2e)[\w.%=+/-]+    # PASETO, PASERK
    | eyJ[\w.%=-]{16,}                                                                    # JWT: '{"' in base64
    | (?P<label>token(?:=|%3d|\\?["']\s*:\s*\\?["'])|bearer(?:[\s.+:=]|%20)+)[^\s&"'<>]+  # by what stands before
    """,
    re.VERBOSE | re.IGNORECASE,
)


def redact(text: str) -> str:
    """``text`` with ``***`` for all that looks like a credential, for a log.

    PASETO tokens, PASERK keys, JWTs, and whatever stands after ``token=``, ``"token":`` or ``bearer``,
    also percent-encoded. Rather too much than too little: an innocent word after "bearer" goes as well.
    """
    return _SECRETS.sub(lambda match: f"{match['label'] or ''}***", text)
