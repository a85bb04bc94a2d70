"""The outbox against a model of it that is too simple to be wrong, and too slow to be used."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from bridge.core.telemetry import Kind
from bridge.fanout.outbox import Outbox, OutboxLimits, Outcome, Policy
from bridge.fanout.rendering import Entry

DEVICES = "ABCD"


@dataclass
class Model:
    """What an outbox holds and has lost, as one list and one count."""

    limits: OutboxLimits
    waiting: list[Entry] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)
    dropped: int = 0
    conflated: int = 0
    peak: int = 0

    @property
    def frame_bytes(self) -> int:
        return sum(len(one.frame) for one in self.waiting)

    def drop(self, device_id: str) -> Outcome:
        self.dropped += 1
        self.lost[device_id] += 1
        return Outcome.DROPPED

    def conflate(self, device_id: str) -> Outcome:
        self.conflated += 1
        self.lost[device_id] += 1
        return Outcome.CONFLATED

    def offer(self, entry: Entry) -> Outcome:
        """The outcome of one offer, and what has changed by it."""
        limits, room = self.limits, self.limits.frame_bytes - len(entry.frame)
        if room < 0:
            return self.drop(entry.device_id)
        own = [place for place, one in enumerate(self.waiting) if one.device_id == entry.device_id]
        fixes = [place for place in own if self.waiting[place].kind is Kind.POSITION]
        if limits.policy is Policy.LATEST and fixes and entry.kind is Kind.POSITION:
            before = self.waiting[fixes[-1]]
            if entry.taken_at < before.taken_at:
                return self.conflate(entry.device_id)
            if fixes[-1] == own[-1] and self.frame_bytes - len(before.frame) <= room:
                self.waiting[own[-1]] = entry
                return self.conflate(entry.device_id)
        outcome = Outcome.QUEUED
        while len(self.waiting) == limits.messages or self.frame_bytes > room:
            if limits.policy is Policy.DISCONNECT:
                return Outcome.OVERFLOWED
            if limits.policy is Policy.DROP_NEWEST:
                return self.drop(entry.device_id)
            place = self.place_of_the_one_that_has_to_go(entry)
            outcome = self.drop(self.waiting[place].device_id)
            del self.waiting[place]
        self.waiting.append(entry)
        self.peak = max(self.peak, len(self.waiting))
        return outcome

    def place_of_the_one_that_has_to_go(self, entry: Entry) -> int:
        """The oldest of the device that holds the most in the measure that is full, ``entry`` taken into account."""
        in_messages = len(self.waiting) == self.limits.messages
        held = Counter[str]()
        for one in [*self.waiting, entry]:
            held[one.device_id] += 1 if in_messages else len(one.frame)
        most = max(held[one.device_id] for one in self.waiting)
        return next(place for place, one in enumerate(self.waiting) if held[one.device_id] == most)

    def take(self, max_bytes: int) -> list[bytes]:
        """What is written next."""
        taken: list[bytes] = []
        while self.waiting and (not taken or sum(map(len, taken)) + len(self.waiting[0].frame) <= max_bytes):
            taken.append(self.waiting.pop(0).frame)
        return taken

    def retain(self, wanted: str) -> int:
        """Forget the other devices; returns how many messages went."""
        before = len(self.waiting)
        self.waiting = [one for one in self.waiting if one.device_id in wanted]
        self.lost = Counter({name: count for name, count in self.lost.items() if name in wanted})
        return before - len(self.waiting)


limits_of = st.builds(OutboxLimits, st.integers(1, 8), st.integers(8, 60), st.sampled_from(Policy))
offers = st.tuples(st.sampled_from(DEVICES), st.sampled_from(Kind), st.integers(4, 62), st.integers(0, 3))
takes = st.integers(0, 60)
retains = st.sets(st.sampled_from(DEVICES)).map(lambda names: "".join(sorted(names)))


@given(limits_of, st.lists(offers | offers | takes | retains, max_size=60))
def test_outbox_behaves_like_its_model(
    limits: OutboxLimits, steps: list[tuple[str, Kind, int, int] | int | str]
) -> None:
    """Same outcomes, same frames, same gap; the bound is never passed; each device in order; no loss uncounted."""
    box, model = Outbox(limits, 0.0), Model(limits)
    offered = refused = forgotten = 0
    taken: list[tuple[str, int]] = []
    for step in [*steps, 10**6]:
        if isinstance(step, int):
            frames = box.take(step)
            assert frames == model.take(step)
            taken += [(frame[:1].decode(), int(frame[1:4])) for frame in frames]
        elif isinstance(step, str):
            box.retain(step.__contains__)
            forgotten += model.retain(step)
        else:
            device_id, kind, size, taken_at = step
            entry = Entry(device_id, kind, f"{device_id}{offered:03}".encode().ljust(size), taken_at)
            offered += 1
            outcome = box.offer(entry)
            assert outcome is model.offer(entry)
            refused += outcome is Outcome.OVERFLOWED
        assert len(box) == len(model.waiting) <= limits.messages
        assert box.frame_bytes == model.frame_bytes <= limits.frame_bytes
        assert (box.gap.dropped, box.gap.conflated) == (model.dropped, model.conflated)
        assert box.gap.devices == model.lost
        assert box.peak == model.peak
        assert offered == len(taken) + box.gap.dropped + box.gap.conflated + refused + forgotten + len(box)
    for device_id in DEVICES:
        numbers = [number for name, number in taken if name == device_id]
        assert numbers == sorted(set(numbers))


@given(
    st.sampled_from([Policy.LATEST, Policy.DROP_OLDEST]),
    st.lists(st.tuples(st.sampled_from("QRS"), st.integers(0, 200), st.sampled_from(Kind)), min_size=1, max_size=3),
    st.integers(4, 30),
    st.integers(1, 5),
)
def test_device_that_speaks_once_is_heard_beside_one_that_never_stops(
    policy: Policy, quiet: list[tuple[str, int, Kind]], messages: int, size: int
) -> None:
    """Wherever its one message stands among two hundred of another device, it is there at the end."""
    once = {name: (at, kind) for name, at, kind in quiet}
    box = Outbox(OutboxLimits(messages, 10**6, policy), 0.0)
    for number in range(201):
        for name, (at, kind) in once.items():
            if at == number:
                box.offer(Entry(name, kind, name.encode()))
        box.offer(Entry("chatty", Kind.EVENT, b"c" * size))
    assert {frame.decode() for frame in box.take(10**6)} == {*once, "c" * size}
