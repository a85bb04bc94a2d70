"""Who may open one more stream: caps in all, per client address and per principal, and a rate.

Pure but for its counters: time and addresses come in as arguments.
"""

from __future__ import annotations

import ipaddress
import math
from collections import Counter
from collections.abc import Sequence
from enum import Enum
from typing import Final

EPISODE_SECONDS: Final = 60.0
"""Between two lines in the log about refusals of one kind."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class TokenBucket:
    """``rate`` tokens per second, at most ``burst`` saved up. ``rate`` 0 means no limit."""

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = now

    def take(self, now: float) -> bool:
        """Take one token; False when there is none. ``now`` is monotonic seconds."""
        if not self._rate:
            return True
        if not self.has(now):
            return False
        self._tokens -= 1
        return True

    def has(self, now: float) -> bool:
        """Whether ``take`` would be true."""
        if not self._rate:
            return True
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        return self._tokens >= 1


class Episodes:
    """Which of many refusals get a line in the log: the first of each cause, and after EPISODE_SECONDS the next."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[float, int]] = {}

    def due(self, cause: str, count: int, now: float) -> int:
        """How many of ``cause`` there were since its last line, now that one is due; 0 while none is.

        ``count`` are all until now, ``now`` is monotonic seconds.
        """
        at, told = self._told.get(cause, (-math.inf, 0))
        if now - at < EPISODE_SECONDS:
            return 0
        self._told[cause] = (now, count)
        return count - told


class Refusal(Enum):
    """Why a stream may not be opened: HTTP status, error code, and what to do."""

    FULL = (503, "too_many_connections", "this server holds as many streams as it may; try again later")
    RATE = (503, "too_many_handshakes", "too many new streams at this moment; try again in a few seconds")
    ADDRESS = (429, "too_many_connections", "too many streams from your address; close some")
    DRAINING = (503, "draining", "this server is shutting down; connect again with jitter")

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status = status
        self.code = code
        self.message = message


class Admission:
    """The doorman. Every admitted stream must be released once; empty counters leave nothing behind."""

    def __init__(
        self, *, max_connections: int, max_per_ip: int, max_per_principal: int, handshakes_per_second: int, now: float
    ) -> None:
        self._max_connections = max_connections
        self._max_per_ip = max_per_ip
        self._max_per_principal = max_per_principal
        self._bucket = TokenBucket(handshakes_per_second, 2 * handshakes_per_second, now)
        self._by_ip: Counter[str] = Counter()
        self._by_principal: Counter[str] = Counter()
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
        self._by_ip[ip] += 1
        return None

    def _refusal(self, ip: str, now: float) -> Refusal | None:
        if self.draining:
            return Refusal.DRAINING
        if self._max_connections and self.connections >= self._max_connections:
            return Refusal.FULL
        if self._max_per_ip and self._by_ip.get(ip, 0) >= self._max_per_ip:
            return Refusal.ADDRESS
        return None if self._bucket.take(now) else Refusal.RATE

    def refuse(self, cause: str) -> None:
        """Count a refusal that was decided on elsewhere."""
        self.refused[cause] += 1

    def release(self, ip: str) -> None:
        self.connections -= 1
        _decrease(self._by_ip, ip)

    def admit_principal(self, subject: str) -> bool:
        """Count one more stream of ``subject``; False when it has as many as it may."""
        if self._max_per_principal and self._by_principal.get(subject, 0) >= self._max_per_principal:
            self.refused["principal"] += 1
            return False
        self._by_principal[subject] += 1
        return True

    def release_principal(self, subject: str) -> None:
        _decrease(self._by_principal, subject)


def _decrease(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]


def parse_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Networks in CIDR notation that ``checks.check_network`` has passed."""
    return tuple(ipaddress.ip_network(text) for text in texts)


def client_ip(peer: str, forwarded_for: str, trusted: Sequence[Network]) -> str:
    """The client's address: ``peer``, or what the proxies that we trust say of it.

    ``X-Forwarded-For`` is read from the right: each proxy appends whom it saw, so the first address
    that is not a trusted proxy is the client. Anything to the left of it anyone may have written.
    """
    address = peer
    if not trusted or not forwarded_for:
        return address
    for hop in reversed(forwarded_for.split(",")):
        if not _is_in(address, trusted):
            break
        address = hop.strip()
        try:
            ipaddress.ip_address(address)
        except ValueError:
            return peer
    return address


def _is_in(address: str, networks: Sequence[Network]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)
