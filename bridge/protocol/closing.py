"""Why a connection ends: one enum, one table, one close code each.

Codes are those of RFC 6455 section 7.4.1 and the IANA WebSocket Close Code Number Registry
(1013 "Try Again Later"). ``reconnect`` is advice to the client; docs and README repeat this table and
a test holds them to it.
"""

from __future__ import annotations

from enum import Enum


class CloseReason(Enum):
    """One reason a stream ends: ``(close code, text in the Close frame, may the client reconnect)``.

    The text is at most 123 bytes of UTF-8 (RFC 6455 section 5.5.1) and never says more than the client
    already knows.
    """

    GOODBYE = (1000, "goodbye", "if you like")
    EXPIRED = (1000, "token expired", "with a new token")
    DRAINING = (1001, "server draining", "yes, with jitter")
    PROTOCOL = (1002, "protocol error", "no")
    INVALID_DATA = (1007, "text frame is not UTF-8", "no")
    REVOKED = (1008, "credential revoked", "no")
    CREDENTIAL = (1008, "credential refused", "no")
    SELECTION = (1008, "selection refused", "no")
    POLICY = (1008, "policy", "no")
    TOO_BIG = (1009, "message too big", "no")
    BUG = (1011, "internal error", "yes, with back-off")
    SLOW = (1013, "slow consumer", "yes, later")
    OVERLOADED = (1013, "overloaded", "yes, later")
    LOST = (1006, "connection lost", "yes, with back-off")

    def __init__(self, code: int, text: str, reconnect: str) -> None:
        self.code = code
        self.text = text
        self.reconnect = reconnect
