"""How often one address may call. Pure but for its counters: time and addresses come in as arguments."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

from bridge.core.rates import TokenBucket

IPV6_PREFIX: Final = 64
"""What one subscriber gets of IPv6 (RFC 6177): one address stands for all of them."""
_MINUTE: Final = 60.0


class Limiter:
    """``per_minute`` calls for each key, all of them at once if it was quiet before. 0: no limit.

    At most ``max_keys`` are remembered; the one that was quiet longest is forgotten first.
    """

    def __init__(self, per_minute: float, max_keys: int) -> None:
        self._per_minute = per_minute
        self._max_keys = max_keys
        self._buckets: OrderedDict[Hashable, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        """How many keys are remembered."""
        return len(self._buckets)

    def take(self, key: Hashable, now: float) -> bool:
        """Count one call; False when it was one too many. ``now`` is monotonic seconds."""
        return not self._per_minute or self._bucket(key, now).take(now)

    def has(self, key: Hashable, now: float) -> bool:
        """Whether ``take`` would be true."""
        return not self._per_minute or key not in self._buckets or self._bucket(key, now).has(now)

    def _bucket(self, key: Hashable, now: float) -> TokenBucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = TokenBucket(self._per_minute / _MINUTE, self._per_minute, now)
            if len(self._buckets) > self._max_keys:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
        return bucket


def address_key(ip: str) -> str:
    """The key of the client at address ``ip``: the address itself, or its network for IPv6."""
    if ":" not in ip:
        return ip
    try:
        address = ipaddress.IPv6Address(ip.partition("%")[0])
    except ValueError:
        return ip
    if address.ipv4_mapped is not None:  # as a proxy may write it; otherwise all of IPv4 would be one network
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, IPV6_PREFIX), strict=False))
