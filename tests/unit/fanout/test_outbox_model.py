"""The outbox against a model of it that is too simple to be wrong, and too slow to be used."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge.core.telemetry import Kind
from bridge.fanout.outbox import Outbox, OutboxLimits, Outcome, Policy

Waiting = list[tuple[str, Kind, bytes]]


def offer_to_model(
    limits: OutboxLimits, waiting: Waiting, device_id: str, kind: Kind, frame: bytes
) -> tuple[Outcome, int]:
    """Change ``waiting`` as one offer should; returns the outcome and how many messages were dropped."""
    room = limits.frame_bytes - len(frame)
    if room < 0:
        return Outcome.DROPPED, 1
    own = [number for number, one in enumerate(waiting) if one[0] == device_id]
    total = sum(len(one[2]) for one in waiting)
    replaceable = limits.policy is Policy.LATEST and own and kind is waiting[own[-1]][1] is Kind.POSITION
    if replaceable and total - len(waiting[own[-1]][2]) <= room:
        waiting[own[-1]] = (device_id, kind, frame)
        return Outcome.CONFLATED, 0
    full = len(waiting) == limits.messages or total > room
    if full and limits.policy is Policy.DISCONNECT:
        return Outcome.OVERFLOWED, 0
    if full and limits.policy is Policy.DROP_NEWEST:
        return Outcome.DROPPED, 1
    dropped = 0
    while len(waiting) == limits.messages or sum(len(one[2]) for one in waiting) > room:
        del waiting[0]
        dropped += 1
    waiting.append((device_id, kind, frame))
    return Outcome.DROPPED if dropped else Outcome.QUEUED, dropped


limits_of = st.builds(OutboxLimits, st.integers(1, 5), st.integers(8, 40), st.sampled_from(Policy))
offers = st.tuples(st.sampled_from("ABC"), st.sampled_from(Kind), st.integers(4, 44))
takes = st.integers(0, 60)


@given(limits_of, st.lists(offers | takes, max_size=40))
def test_outbox_behaves_like_its_model(limits: OutboxLimits, steps: list[tuple[str, Kind, int] | int]) -> None:
    """Same outcomes, same frames; the bound is never passed; each device stays in order; no loss uncounted."""
    box, waiting = Outbox(limits, 0.0), Waiting()
    offered, refused, dropped, peak = 0, 0, 0, 0
    taken: list[tuple[str, int]] = []
    for step in [*steps, 10**6]:
        if isinstance(step, int):
            frames = box.take(step)
            assert frames == [frame for _, _, frame in waiting[: len(frames)]]
            size = sum(map(len, frames))
            assert size <= step or len(frames) == 1
            del waiting[: len(frames)]
            assert not waiting or (frames and size + len(waiting[0][2]) > step)
            taken += [(frame[:1].decode(), int(frame[1:4])) for frame in frames]
        else:
            device_id, kind, size = step
            frame = f"{device_id}{offered:03}".encode().ljust(size)
            offered += 1
            expected, lost = offer_to_model(limits, waiting, device_id, kind, frame)
            assert box.offer(device_id, kind, frame) is expected
            refused += expected is Outcome.OVERFLOWED
            dropped += lost
        peak = max(peak, len(waiting))
        assert len(box) == len(waiting) <= limits.messages
        assert box.frame_bytes == sum(len(frame) for _, _, frame in waiting) <= limits.frame_bytes
    assert box.gap.dropped == dropped
    assert offered == len(taken) + box.gap.dropped + box.gap.conflated + refused
    assert sum(box.gap.devices.values()) == box.gap.dropped + box.gap.conflated
    assert box.peak == peak
    assert not box._latest
    for device_id in "ABC":
        numbers = [number for name, number in taken if name == device_id]
        assert numbers == sorted(set(numbers))
