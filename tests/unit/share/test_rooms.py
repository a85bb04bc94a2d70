"""Rooms: who is in them, when they are there, and how they end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import orjson
import pytest

from bridge.closing import CloseReason
from bridge.hub import Hub
from bridge.limits import CHUNK_BYTES
from bridge.outbox import OutboxLimits, Policy
from bridge.subscription import Subscription
from share.answers import share_answer, share_data
from share.grant import Destination, Grant
from share.record import EndReason, Share
from share.rooms import Room, Rooms
from tests.fakes import Owner, Transport, event, events_in
from tests.unit.share.channels import NOW, ONE, TWO, Case, fix, lasts, lats
from tests.unit.test_broker import maps


class Watcher:
    """A viewer as far as its room knows it: what it was told, and how it ended."""

    def __init__(self, house: House, room: Room, *, forgets: bool = True) -> None:
        self.house = house
        self.room = room
        self.forgets = forgets
        self.transport = Transport()
        self.told = 0
        self.ends: list[tuple[dict[str, Any], CloseReason]] = []
        self.subscription = Subscription(self.transport, OutboxLimits(9, 10**6, Policy.LATEST), Owner())
        room.viewers.add(self)
        house.broker.join(self.subscription, room.channel)
        room.channel.show(self.subscription)
        house.broker.pump(self.subscription)

    def tell_share(self) -> None:
        self.told += 1

    def expire(self, *frames: bytes, reason: CloseReason = CloseReason.EXPIRED) -> None:
        (data,) = events_in(b"".join(frames))
        self.ends.append((data, reason))
        if self.forgets:
            self.house.broker.forget(self.subscription)

    def leave(self) -> None:
        self.house.broker.forget(self.subscription)
        self.house.rooms.leave(self.room, self)


class House(Case):
    """All rooms of a hub."""

    def __init__(self) -> None:
        super().__init__()
        self.rooms = Rooms(cast(Hub, self), self.read)
        self.told: list[str] = []
        self.rooms.arrivals = self

    def arrived(self, share_id: str) -> None:
        self.told.append(share_id)

    def share(self, share_id: str = "s1", **terms: Any) -> tuple[Share, Room]:
        """An open share and its room."""
        grant = Grant(**{"aliases": ONE, "starts_at": NOW, **terms})
        share = Share(share_id, "hash", "ana", NOW, NOW, NOW + 3600, grant, "Tour")
        self.rooms.opened(share)
        room = self.rooms.get(share_id)
        assert room is not None
        return share, room


def test_room_of_a_share_is_there_from_its_opening_to_its_end() -> None:
    """Whether anyone watches or not; then nothing of it is left."""
    house = House()
    share, room = house.share()
    assert (house.rooms.get("s1"), len(house.rooms), house.rooms.viewers("s1")) == (room, 1, 0)
    first, second = Watcher(house, room), Watcher(house, room)
    assert house.rooms.viewers("s1") == 2
    first.leave()
    assert house.rooms.viewers("s1") == 1
    second.leave()
    assert house.rooms.get("s1") is room
    house.rooms.closed(share, None)
    house.rooms.closed(share, None)
    assert (house.rooms.get("s1"), len(house.rooms), house.rooms.viewers("s1")) == (None, 0, 0)
    assert maps(house.broker) == {}


def test_room_of_a_foreign_token_is_there_while_it_is_watched() -> None:
    """Equal grants meet in one room; the last who leaves takes it away."""
    house = House()
    first = Watcher(house, house.rooms.of_grant(Grant(ONE), "Tour"))
    second = Watcher(house, house.rooms.of_grant(Grant(ONE), "Tour"))
    assert first.room is second.room
    house.publish(fix("A", 1.0))
    first.leave()
    assert len(house.rooms) == 1
    second.leave()
    assert len(house.rooms) == 0
    assert maps(house.broker) == {}
    assert house.rooms.of_grant(Grant(ONE), "Tour") is not first.room


@pytest.mark.parametrize(
    "grant, label", [(Grant(ONE), "Other"), (Grant(ONE, delay_s=5.0), "Tour"), (Grant(TWO), "Tour")]
)
def test_foreign_tokens_that_differ_do_not_meet(grant: Grant, label: str) -> None:
    """Neither by what they permit nor by what they are called: viewers are told the label."""
    house = House()
    one, other = house.rooms.of_grant(Grant(ONE), "Tour"), house.rooms.of_grant(grant, label)
    assert one is not other
    assert (one.label, other.label) == ("Tour", label)


def test_viewers_are_shown_what_is_known_when_the_room_opens() -> None:
    """The last-known position, if its own time is after the start: when it was received is not remembered."""
    for time, expected in ((-1.0, None), (0.0, 1.0), (None, None), (20.0, None)):
        house = House()
        house.timers.advance(5.0)
        house.publish(fix("A", 1.0, time))
        house.timers.advance(5.0)
        _, room = house.share()
        assert lasts(room.channel) == [expected]
        assert lats(Watcher(house, room).transport) == ([] if expected is None else [expected])


def test_what_is_known_is_a_position_whatever_its_kind_and_waits_for_the_delay() -> None:
    """Counted from the opening, since the receipt is not remembered."""
    house = House()
    house.publish(event("A", '{"lat": 5, "lon": 6, "time": 1900000000}'), event("B", "{}"))
    _, room = house.share(delay_s=10.0)
    house.timers.advance(9.9)
    assert lasts(room.channel) == [None]
    house.timers.advance(0.2)
    assert lasts(room.channel) == [5.0]


def test_share_that_begins_later_is_not_shown_what_was_before() -> None:
    """Neither at its opening nor when it begins."""
    house = House()
    house.publish(fix("A", 1.0, 0))
    _, room = house.share(starts_at=NOW + 10)
    house.publish(fix("A", 2.0, 15))
    house.timers.advance(20.0)
    assert lasts(room.channel) == [None]
    assert lats(Watcher(house, room).transport) == []


def test_answer_of_init_has_aliases_and_positions_and_nothing_more() -> None:
    """The same as ``hello``, and the newest public position of each device."""
    house = House()
    share, room = house.share(aliases=TWO, destination=Destination(1.0, 2.0, 300.0, "Home"), fields=frozenset())
    house.publish(fix("A", 1.0, 0, driver="secret"))
    data = share_data(room, 0.0)
    assert data["ends_at"] == "2030-03-17T18:46:40.000Z"
    assert data["devices"] == [{"alias": "Van 1"}, {"alias": "Van 2"}]
    answer = orjson.loads(orjson.dumps(share_answer(room, share.ends_at)))
    assert answer.pop("devices") == [
        {"alias": "Van 1", "position": {"lat": 1.0, "lon": 10.0}},
        {"alias": "Van 2", "position": None},
    ]
    assert answer == {name: value for name, value in data.items() if name != "devices"}


def test_change_renames_and_is_told_to_every_viewer() -> None:
    """Label, end and aliases; the channel and its viewers stay."""
    house = House()
    share, room = house.share()
    watchers = [Watcher(house, room) for _ in range(3)]
    after = replace(share, label="Later", ends_at=NOW + 7200, grant=replace(share.grant, aliases=(("A", "Bus"),)))
    house.rooms.changed(share, after)
    assert [one.told for one in watchers] == [1, 1, 1]
    assert (room.label, room.share, room.grant) == ("Later", after, after.grant)
    house.publish(fix("A", 1.0, 0))
    assert watchers[0].transport.events()[0]["alias"] == "Bus"
    assert share_data(room, 0.0)["devices"] == [{"alias": "Bus"}]


@pytest.mark.parametrize(
    "reason, told, close_reason",
    [
        (None, {"event": "expired", "data": {"expires_at": "2030-03-17T18:46:40.000Z"}}, CloseReason.EXPIRED),
        (
            EndReason.ARRIVED,
            {"event": "expired", "data": {"expires_at": "2030-03-17T17:46:42.000Z", "reason": "arrived"}},
            CloseReason.EXPIRED,
        ),
        (EndReason.REVOKED, {"event": "revoked", "data": {}}, CloseReason.REVOKED),
    ],
)
def test_end_of_a_share_ends_every_stream(
    reason: EndReason | None, told: dict[str, Any], close_reason: CloseReason
) -> None:
    """With the event and the close reason of its kind, also those that are behind; nothing is shown after."""
    house = House()
    share, room = house.share(delay_s=5.0)
    watchers = [Watcher(house, room) for _ in range(3)]
    watchers[1].transport.buffered = CHUNK_BYTES
    house.publish(fix("A", 1.0, 0))
    over = share if reason is None else replace(share, ended_at=NOW + 2, end_reason=reason)
    house.rooms.closed(over, reason)
    assert [one.ends for one in watchers] == [[(told, close_reason)]] * 3
    house.publish(fix("A", 2.0))
    house.timers.advance(60.0)
    assert [one.transport.writes for one in watchers] == [0, 0, 0]
    for one in watchers:
        one.leave()
    assert maps(house.broker) == {}


def test_one_who_leaves_while_the_share_ends_is_no_trouble() -> None:
    """Nor is one who is cut already, and of whom the broker hears only when his socket is gone."""
    house = House()
    share, room = house.share()
    operator, _ = member_of_the_fleet(house)
    cut = Watcher(house, room, forgets=False)
    watchers = [Watcher(house, room) for _ in range(3)]

    def leave_all(*_frames: bytes, reason: CloseReason = CloseReason.EXPIRED) -> None:
        for each in watchers:
            each.leave()

    for one in watchers:
        one.expire = leave_all  # type: ignore[method-assign]
    house.rooms.closed(share, EndReason.REVOKED)
    house.publish(fix("A", 1.0))
    assert cut.transport.writes == 0
    cut.leave()
    house.publish(fix("A", 2.0))
    assert operator.sent == 2
    house.broker.forget(operator)
    assert (maps(house.broker), room.viewers) == ({}, set())


def member_of_the_fleet(house: House) -> tuple[Subscription, Transport]:
    """An operator who has selected the same device."""
    transport = Transport()
    subscription = Subscription(transport, OutboxLimits(9, 10**6, Policy.LATEST), Owner())
    house.broker.select(subscription, frozenset({"A"}))
    return subscription, transport


def test_socket_that_fails_at_the_end_does_not_keep_the_others_watching() -> None:
    """A revoked share is over for all; the error is raised when that is done."""
    house = House()
    share, room = house.share()
    watchers = [Watcher(house, room) for _ in range(5)]
    tried: list[CloseReason] = []

    def fail(*_frames: bytes, reason: CloseReason = CloseReason.EXPIRED) -> None:
        tried.append(reason)
        raise RuntimeError("the handle is closed")

    for one in watchers:
        one.expire = fail  # type: ignore[method-assign]
    with pytest.raises(RuntimeError):
        house.rooms.closed(share, EndReason.REVOKED)
    assert tried == [CloseReason.REVOKED] * 5
    house.publish(fix("A", 1.0))
    assert [one.transport.writes for one in watchers] == [0] * 5
    assert (len(house.rooms), maps(house.broker)) == (0, {})


@pytest.mark.parametrize("is_stored", [True, False])
def test_arrival_is_told_of_a_stored_share(is_stored: bool) -> None:
    """By its id, once; another service's token has nobody to tell."""
    house = House()
    goal = Destination(5.0, 10.0, 100.0)
    if is_stored:
        house.share(destination=goal, end_on_arrival=True)
    else:
        house.rooms.of_grant(Grant(ONE, destination=goal, end_on_arrival=True), "Tour")
    house.publish(fix("A", 5.0, 0))
    assert house.told == []
    house.timers.advance(0.0)
    house.publish(fix("A", 5.0))
    house.timers.advance(1.0)
    assert house.told == (["s1"] if is_stored else [])


def test_share_that_is_over_as_it_opens_leaves_nothing() -> None:
    """Its end may come in the very turn that shows what is known."""
    house = House()
    share = Share("s1", "hash", "ana", NOW, NOW, NOW, Grant(ONE, starts_at=NOW), "Tour")
    house.publish(fix("A", 1.0, 0))

    def enforce() -> None:
        house.before_turn = lambda: None
        house.rooms.closed(share, None)

    house.before_turn = enforce
    house.rooms.opened(share)
    assert (len(house.rooms), maps(house.broker), house.timers.due) == (0, {}, [])
