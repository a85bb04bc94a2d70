"""Rooms: who is in them, when they are there, and how they end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from bridge.fanout.rendering import PayloadRenderer, Selection
from bridge.fanout.subscription import Subscription
from bridge.protocol.closing import CloseReason
from share.model.grant import Destination, Grant
from share.model.share import EndReason, Share
from share.stream.public_json import share_answer, share_data
from tests.fakes import Transport, subscribe
from tests.unit.fanout.brokers import NOTHING
from tests.unit.share.stream.channels import NOW, ONE, TWO, fix, lats
from tests.unit.share.stream.houses import LINGER_SECONDS, House, Watcher


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
    assert house.things == NOTHING


def test_room_of_a_foreign_token_is_there_while_it_is_watched_and_a_while_after() -> None:
    """Equal grants meet in one room; who comes back within ``linger_seconds`` finds it, then it is gone."""
    house = House()
    first, second = (Watcher(house, house.elsewhere(Grant(ONE, trail=9))) for _ in range(2))
    assert first.room is second.room
    house.publish(fix("A", 1.0))
    first.leave()
    second.leave()
    house.timers.advance(LINGER_SECONDS - 1)
    third = Watcher(house, house.elsewhere(Grant(ONE, trail=9)))
    assert third.room is first.room and lats(third.transport) == [1.0]
    house.timers.advance(2 * LINGER_SECONDS)
    assert len(house.rooms) == 1
    third.leave()
    house.timers.advance(LINGER_SECONDS)
    assert len(house.rooms) == 0
    assert house.things == NOTHING
    assert house.elsewhere(Grant(ONE, trail=9)) is not first.room


@pytest.mark.parametrize("is_stored", [True, False])
def test_room_is_watched_from_the_first_viewer_to_the_last(is_stored: bool) -> None:
    """And again when one comes back: frames are made meanwhile, and only then."""
    house = House()
    room = house.share()[1] if is_stored else house.elsewhere(Grant(ONE))
    assert not room.channel.watched
    for _ in range(2):
        first, second = Watcher(house, room), Watcher(house, room)
        assert room.channel.watched
        first.leave()
        assert room.channel.watched
        second.leave()
        assert not room.channel.watched


def test_empty_room_of_a_delayed_foreign_token_stays_as_long_as_its_delay() -> None:
    """A lone viewer who reconnects finds the positions that waited, and not another whole delay."""
    house = House()
    grant = Grant(ONE, delay_s=300.0)
    viewer = Watcher(house, house.elsewhere(grant))
    house.publish(fix("A", 1.0))
    viewer.leave()
    house.timers.advance(299.0)
    back = Watcher(house, house.elsewhere(grant))
    house.timers.advance(1.5)
    assert lats(back.transport) == [1.0]


def test_rooms_of_foreign_tokens_are_bounded() -> None:
    """The empty one that was opened first makes place; when all are watched there is no room for another grant."""
    house = House(max_elsewhere=2)
    first, second = (Watcher(house, house.elsewhere(Grant(ONE, trail=trail))) for trail in (1, 2))
    assert house.rooms.of_grant(Grant(ONE, trail=3)) is None
    second.leave()
    assert house.elsewhere(Grant(ONE, trail=3)) is not None
    assert house.rooms.of_grant(Grant(ONE, trail=1)) is first.room
    assert len(house.rooms) == 2
    house.timers.advance(2 * LINGER_SECONDS)
    assert len(house.rooms) == 2


@pytest.mark.parametrize("grant", [Grant(ONE, delay_s=5.0), Grant(TWO)])
def test_foreign_tokens_that_differ_do_not_meet(grant: Grant) -> None:
    """In what they permit: what one may see is not shown to the other."""
    house = House()
    assert house.elsewhere(Grant(ONE)) is not house.elsewhere(grant)


def test_answer_of_init_has_aliases_and_positions_and_nothing_more() -> None:
    """The same as ``hello``, and the newest public position of each device."""
    house = House()
    share, room = house.share(aliases=TWO, destination=Destination(1.0, 2.0, 300.0, "Home"), fields=frozenset())
    house.publish(fix("A", 1.0, 0, driver="secret"))
    data = share_data(room, 0.0)
    assert data["ends_at"] == "2030-03-17T18:46:40.000Z"
    assert data["devices"] == [{"alias": "Van 1"}, {"alias": "Van 2"}]
    answer = orjson.loads(orjson.dumps(share_answer(room, share.ends_at, with_positions=True)))
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
    assert (room.share, room.grant) == (after, after.grant)
    assert share_data(room, 0.0)["label"] == "Later"
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
    watchers[1].transport.fill()
    house.publish(fix("A", 1.0, 0))
    over = share if reason is None else replace(share, ended_at=NOW + 2, end_reason=reason)
    house.rooms.closed(over, reason)
    assert [one.ends for one in watchers] == [[(told, close_reason)]] * 3
    house.publish(fix("A", 2.0))
    house.timers.advance(60.0)
    assert [one.transport.writes for one in watchers] == [0, 0, 0]
    for one in watchers:
        one.leave()
    assert house.things == NOTHING


def test_one_who_leaves_while_the_share_ends_is_no_trouble() -> None:
    """Nor is one that is cut already, and of which the broker hears only when its socket is gone."""
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
    assert (house.things, room.viewers) == (NOTHING, set())


def member_of_the_fleet(house: House) -> tuple[Subscription, Transport]:
    """An operator who has selected the same device."""
    subscription, transport = subscribe(house.broker)
    house.broker.select(subscription, Selection(frozenset({"A"}), PayloadRenderer("k")))
    return subscription, transport


def test_socket_that_fails_at_the_end_does_not_keep_the_others_watching(caplog: pytest.LogCaptureFixture) -> None:
    """A revoked share has ended for all, and whoever revoked it hears of no error; the log has each."""
    house = House()
    share, room = house.share()
    watchers = [Watcher(house, room) for _ in range(5)]
    tried: list[CloseReason] = []

    def fail(*_frames: bytes, reason: CloseReason = CloseReason.EXPIRED) -> None:
        tried.append(reason)
        raise RuntimeError("the handle is closed")

    for one in watchers:
        one.expire = fail  # type: ignore[method-assign]
    house.rooms.closed(share, EndReason.REVOKED)
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 5
    assert tried == [CloseReason.REVOKED] * 5
    house.publish(fix("A", 1.0))
    assert [one.transport.writes for one in watchers] == [0] * 5
    assert (len(house.rooms), house.things) == (0, NOTHING)


@pytest.mark.parametrize("is_stored", [True, False])
def test_arrival_is_told_of_a_stored_share(is_stored: bool) -> None:
    """By its id, once; another service's token has nobody to tell."""
    house = House()
    goal = Destination(5.0, 10.0, 100.0)
    if is_stored:
        house.share(destination=goal, end_on_arrival=True)
    else:
        house.elsewhere(Grant(ONE, destination=goal, end_on_arrival=True))
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
    assert (len(house.rooms), house.things, house.timers.due) == (0, NOTHING, [])
