"""Who may open one more stream: caps in all, per client address and per principal, and a rate.

Pure but for its counters: time and addresses come in as arguments.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum

from bridge.core.rates import Episodes, TokenBucket


class Refusal(Enum):
    """Why a stream may not be opened: HTTP status, error code, what the client should do, and what the operator can."""

    FULL = (
        503, "too_many_connections", "this server has reached its connection limit; try again later",
        "see BRIDGE_MAX_CONNECTIONS",
    )  # fmt: skip
    RATE = (
        503, "too_many_handshakes", "too many new streams at this moment; try again in a few seconds",
        "see BRIDGE_HANDSHAKES_PER_SECOND",
    )  # fmt: skip
    ADDRESS = (
        429, "too_many_connections", "too many streams from your address; close some",
        "see BRIDGE_MAX_CONNECTIONS_PER_IP, and BRIDGE_TRUSTED_PROXIES if that is a proxy",
    )  # fmt: skip
    DRAINING = (
        503, "draining", "this server is shutting down; connect again with jitter",
        "this process is shutting down",
    )  # fmt: skip

    def __init__(self, status: int, code: str, message: str, hint: str) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.hint = hint


class Admission:
    """Counts streams and refuses those above a limit; 0 means no limit.

    Every admitted stream must be released once; empty counters leave nothing behind.
    """

    def __init__(
        self, *, max_connections: int, max_per_ip: int, max_per_principal: int, handshakes_per_second: int, now: float
    ) -> None:
        self.max_connections = max_connections
        self._max_per_ip = max_per_ip
        self._max_per_principal = max_per_principal
        self._bucket = TokenBucket(handshakes_per_second, 2 * handshakes_per_second, now)
        self.by_ip: Counter[str] = Counter()
        self.by_principal: Counter[str] = Counter()
        self.connections = 0
        self.peak = 0
        self.refused: Counter[str] = Counter()
        self.episodes = Episodes()
        self.draining = False

    def admit(self, ip: str, now: float) -> Refusal | None:
        """Count one more stream from ``ip``, or say why not."""
        refusal = self._refusal(ip, now)
        if refusal is not None:
            self.refused[refusal.name.lower()] += 1
            return refusal
        self.connections += 1
        self.peak = max(self.peak, self.connections)
        self.by_ip[ip] += 1
        return None

    def _refusal(self, ip: str, now: float) -> Refusal | None:
        if self.draining:
            return Refusal.DRAINING
        if self.max_connections and self.connections >= self.max_connections:
            return Refusal.FULL
        if self._max_per_ip and self.by_ip.get(ip, 0) >= self._max_per_ip:
            return Refusal.ADDRESS
        return None if self._bucket.take(now) else Refusal.RATE

    def held(self) -> int:
        """Streams that are counted, in all, by address and by principal: 0 when every one was released."""
        return self.connections + self.by_ip.total() + self.by_principal.total()

    def refuse(self, cause: str) -> None:
        """Count a refusal that another part has decided on."""
        self.refused[cause] += 1

    def release(self, ip: str) -> None:
        """Give back the place of a stream from ``ip``."""
        self.connections -= 1
        _decrease(self.by_ip, ip)

    def admit_principal(self, subject: str) -> bool:
        """Count one more stream of ``subject``; False when it has reached its limit."""
        if self._max_per_principal and self.by_principal.get(subject, 0) >= self._max_per_principal:
            self.refused["principal"] += 1
            return False
        self.by_principal[subject] += 1
        return True

    def release_principal(self, subject: str) -> None:
        """Give back the place of a stream of ``subject``."""
        _decrease(self.by_principal, subject)


def _decrease(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
