"""Which device holds the most of an outbox."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from typing import Final, Generic, TypeVar

_STALE_CLAIMS: Final = 2
"""Claims for each device in the heap before it is made anew: those that a later one replaced are only passed over."""
Claim = tuple[int, int, str]
"""How much a device holds, negative, and the number of its oldest message: the first in order holds the most."""
S = TypeVar("S")


class Ranking(Generic[S]):
    """Devices by how much they hold in one measure; of several the one whose oldest message is the oldest first.

    A heap of claims, of which the last of each device counts. No device holds more than it claims: to hold more is
    to claim anew, ``grown``. One that holds less by now is found out when its turn comes. So each change costs the
    logarithm of the number of devices at most, and what is taken from a device costs nothing here.
    """

    __slots__ = ("_claim", "_claims", "_heap", "_shares")

    def __init__(self, shares: Mapping[str, S], claim: Callable[[str, S, int], Claim]) -> None:
        """``shares`` is what each device holds, kept by the caller; ``claim`` what one may claim, with so much more."""
        self._shares = shares
        self._claim = claim
        self._begin()

    def _begin(self) -> None:
        self._claims = {device_id: self._claim(device_id, share, 0) for device_id, share in self._shares.items()}
        self._heap = list(self._claims.values())
        heapq.heapify(self._heap)

    def grown(self, device_id: str) -> None:
        """A device has come to hold more, or may have."""
        claim = self._claim(device_id, self._shares[device_id], 0)
        before = self._claims.get(device_id)
        if before is None or claim < before:
            self._claims[device_id] = claim
            heapq.heappush(self._heap, claim)
            if len(self._heap) > _STALE_CLAIMS * len(self._shares):
                self._begin()

    def first(self, device_id: str, more: int) -> str:
        """The device that holds the most, where ``device_id`` has come with so much ``more``; one must hold something.

        It takes part only if it holds something already.
        """
        first = self._first()
        share = self._shares.get(device_id)
        return first[2] if share is None else min(first, self._claim(device_id, share, more))[2]

    def _first(self) -> Claim:
        heap, claims = self._heap, self._claims
        while True:
            claim = heap[0]
            device_id = claim[2]
            share = self._shares.get(device_id)
            if claims.get(device_id) is not claim:
                heapq.heappop(heap)
            elif share is None:
                heapq.heappop(heap)
                del claims[device_id]
            elif claim != (now := self._claim(device_id, share, 0)):
                claims[device_id] = now
                heapq.heapreplace(heap, now)
            else:
                return claim
