"""Whatever devices send and whatever is granted: viewers see what the grant says of them, when it says so.

Everything that is written to a viewer, and every answer of ``init``, is held against what the devices truly
sent: each shown position must be what the grant makes of one that was received, allowed to be shown, and
received long enough ago. What the grant makes of it is worked out here once more, without ``share.stream.projection``.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from dataclasses import replace
from random import Random
from typing import Any

import orjson

from bridge.core.errors import PayloadError
from bridge.fanout.outbox import Policy
from bridge.protocol.closing import CloseReason
from bridge.protocol.frames import event_frame
from share.model.grant import FIELDS, Destination, Grant
from share.model.share import EndReason, Share
from share.stream.public_json import share_answer, share_data
from share.stream.rooms import Room, Rooms
from tests.fakes import Transport, events_in, subscribe
from tests.telemetry import decoded
from tests.unit.share.stream.channels import NOW, Case
from tests.unit.share.stream.oracle import Sent, shows
from tests.unit.share.stream.payloads import MARK, MARK_NUMBER, no_position, payload, truth

EXAMPLES = 2000
SECRET = "tracker-sekret"
"""Stands in every device id."""
MESSAGE_ID = re.compile(r"[0-9a-f]{6}-[1-9][0-9]*")


class Watcher(Transport):
    """A viewer's stream, which notes when what was written."""

    def __init__(self, play: Play, room: Room) -> None:
        super().__init__()
        self.play = play
        self.room = room
        self.ended = False
        self.written: list[tuple[float, bytes]] = []
        broker = play.case.broker
        messages, policy = play.rng.choice([2, 100]), play.rng.choice(list(Policy))
        self.has_room = policy is Policy.LATEST and messages == 100
        self.subscription, _ = subscribe(broker, policy, messages, transport=self)
        play.rooms.enter(room, self)
        self.write(event_frame("hello", {"share": share_data(room, NOW)}))
        broker.select(self.subscription, room.channel.selection)
        self.subscription.show(room.channel.known())
        if play.rng.random() < 0.4:
            self.fill()
        broker.pump(self.subscription)

    def write(self, data: bytes) -> None:
        assert not self.ended, "written after the end"
        super().write(data)
        self.written.append((self.play.case.timers.now, data))

    def tell_share(self) -> None:
        self.write(event_frame("share", share_data(self.room, NOW)))

    def expire(self, *frames: bytes, reason: CloseReason = CloseReason.EXPIRED) -> None:
        self.play.case.broker.forget(self.subscription)
        for frame in frames:
            self.write(frame)
        self.ended = True


class Play:
    """One example: shares of up to three devices among others, and what happens to them."""

    def __init__(self, seed: int) -> None:
        rng = self.rng = Random(seed)
        self.case = Case()
        case = self.case
        self.rooms = Rooms(
            case.broker, case.history, clock=case.clock, monotonic=case.monotonic, call_later=case.timers,
            max_elsewhere=2, linger_seconds=60.0,
        )  # fmt: skip
        case_of = rng.choice([str.upper, str.lower, str.title])
        self.device_ids = [case_of(f"{SECRET}-{rng.getrandbits(48):012x}-{n}é") for n in range(4)]
        self.names: dict[str, str] = {}
        """alias → device_id, of all aliases that ever were: no alias ever stands for two devices."""
        self.sent: list[Sent] = []
        self.watchers: list[Watcher] = []
        self.open: list[Room] = []
        self.seen: Counter[str] = Counter()
        self.fixes: dict[tuple[str, str], int] = {}
        """By channel and device: the number of the first message that can only be a fix."""
        self.guesses: dict[tuple[str, str], int] = {}
        """The same for the last message that can only be where a network takes the device to be."""

    def alias(self, device_id: str) -> str:
        alias = f"Van {len(self.names)}" + self.rng.choice(["", ' "</x>\\', "🚚é", "%d{}"])
        self.names[alias] = device_id
        return alias

    def grant(self) -> Grant:
        rng = self.rng
        chosen = rng.sample(self.device_ids, rng.randint(1, 3))
        return Grant(
            aliases=tuple((device_id, self.alias(device_id)) for device_id in chosen),
            starts_at=rng.choice([None, NOW - 60, NOW, NOW + 5.001]),
            fields=frozenset(name for name in FIELDS if rng.random() < 0.6),
            precision_m=rng.choice([0.0, 10.0, 33.3, 500.0, 20_000.0]),
            delay_s=rng.choice([0.0, 0.0, 0.5, 30.0, 3600.0]),
            trail=rng.choice([0, 1, 5, 100]),
            destination=rng.choice([None, Destination(51.5, -0.1, 5000.0, "The market")]),
            end_on_arrival=rng.random() < 0.3,
        )

    # --- what happens ---------------------------------------------------------------------------------------

    def run(self) -> None:
        for _ in range(self.rng.randrange(3)):  # before there is any share
            self.messages()
            self.case.timers.advance(self.rng.choice([0.0, 1.0, 7.5]))
            self.case.skew += self.rng.choice([0.0, 0.0, -3600.0, 3600.0])
        # The clock says when that was, as it is set when the shares are made.
        self.sent = [replace(sent, received_at=NOW + self.case.skew + sent.monotonic) for sent in self.sent]
        for number in range(self.rng.randint(1, 2)):
            self.begin(number)
        steps = [self.messages] * 6 + [self.wait] * 3 + [self.join] * 2
        steps += [self.rename, self.lose, self.stall, self.read_on]
        for _ in range(self.rng.randint(6, 14)):
            self.rng.choice(steps)()
            if self.rng.random() < 0.3:
                self.init()
        self.read_on()
        self.case.timers.advance(4000)
        self.read_on()
        self.init()
        self.check_newest()
        for room in self.open:
            if room.share is not None:
                self.rooms.closed(room.share, self.rng.choice([None, *EndReason]))
        for watcher in self.watchers:
            for at, data in watcher.written:
                self.check(watcher.room.grant, at, data)
        for place in self.fixes.keys() & self.guesses.keys():
            self.seen["fix after a network's guess"] += 1
            assert self.guesses[place] < self.fixes[place], "a network's guess after a fix"

    def begin(self, number: int) -> None:
        grant = self.grant()
        if self.rng.random() < 0.3:
            elsewhere = self.rooms.of_grant(grant)
            assert elsewhere is not None
            self.open.append(elsewhere)
        else:
            share = Share(
                f"s{number}", "hash", "ana", NOW, grant.starts_at or NOW, NOW + 10_000, grant, "Friday's tour"
            )
            self.rooms.opened(share)
            room = self.rooms.get(share.id)
            assert room is not None
            self.open.append(room)
        self.join()

    def messages(self) -> None:
        """One turn."""
        rng, case = self.rng, self.case
        batch = []
        for _ in range(rng.randint(1, 4)):
            device_id, retained = rng.choice(self.device_ids), rng.random() < 0.15
            if rng.random() < 0.2:
                data = no_position(rng, device_id)
            else:
                age = rng.choice([0.0, 0.001, 3.25, 50.0, 5000.0, -2.0, -299.0, -301.0])
                time = rng.choice([None, round(case.clock() - age, 3)])
                data, told = payload(rng, device_id, truth(rng, time))
                self.sent.append(Sent(device_id, told, case.clock(), case.timers.now, retained))
            with contextlib.suppress(PayloadError):  # what is no JSON is refused
                batch.append(decoded(data, device_id, retained=retained))
        case.broker.publish(batch)

    def wait(self) -> None:
        delay = self.rng.choice(self.open).grant.delay_s
        seconds = self.rng.choice([0.001, 1.0, 7.5, delay / 2, delay - 0.001 if delay else 0.0, delay])
        if seconds > 2.0:  # nobody is behind for long: a stream that takes nothing is cut
            self.read_on()
        self.case.timers.advance(seconds)
        if self.rng.random() < 0.1:
            self.case.skew += self.rng.choice([-30.0, 30.0])

    def join(self) -> None:
        self.watchers.append(Watcher(self, self.rng.choice(self.open)))

    def rename(self) -> None:
        room = self.rng.choice(self.open)
        if room.share is not None:
            aliases = tuple((device_id, self.alias(device_id)) for device_id in room.grant.device_ids)
            after = replace(room.share, grant=replace(room.grant, aliases=aliases), label="Saturday's tour")
            self.rooms.changed(room.share, after)

    def lose(self) -> None:
        self.case.broker.lost({self.rng.choice(self.device_ids): 3}, self.rng.randrange(2))

    def stall(self) -> None:
        """Every peer stops reading."""
        for watcher in self.watchers:
            watcher.fill()

    def read_on(self) -> None:
        """Every peer has read what was written."""
        for watcher in self.watchers:
            watcher.drain()
        self.case.loop.run()

    def init(self) -> None:
        for room in self.open:
            answer = orjson.dumps(share_answer(room, NOW, with_positions=True)).decode()
            self.check_text(answer)
            for device in json.loads(answer)["devices"]:
                if device["position"] is not None:
                    self.seen["init"] += 1
                    self.check_position(room.grant, self.case.timers.now, device["alias"], device["position"])

    # --- what must be true ----------------------------------------------------------------------------------

    def check_text(self, text: str) -> None:
        """No device id in any spelling, nothing that stood beside a position."""
        folded = text.casefold()
        assert SECRET not in folded
        assert MARK.casefold() not in folded
        assert str(MARK_NUMBER) not in folded

    def check(self, grant: Grant, at: float, data: bytes) -> None:
        text = data.decode("utf-8", "replace")
        assert "\\u" not in text  # or an escape might hide something
        self.check_text(text)
        for event in events_in(data):
            name = event.pop("event")
            self.seen[name] += 1
            if name == "message":
                replay = event.pop("replay", None)
                assert replay in {None, True}
                self.seen[f"replay {replay}, delay {grant.delay_s > 0}"] += 1
                assert event.keys() == {"id", "alias", "data"}
                assert MESSAGE_ID.fullmatch(event["id"])
                sources = self.check_position(grant, at, event["alias"], event["data"])
                epoch, number = event["id"].split("-")[0], int(event["id"].split("-")[1])
                place = (epoch, self.names[event["alias"]])
                if all(sources):
                    self.guesses[place] = max(number, self.guesses.get(place, number))
                elif not any(sources):
                    self.fixes[place] = min(number, self.fixes.get(place, number))
            elif name == "gap":
                assert event["data"]["devices"].keys() <= self.names.keys()
            else:
                assert name in {"hello", "share", "expired", "revoked"}

    def check_newest(self) -> None:
        """Every viewer with room enough has in the end what ``init`` shows, of each device."""
        for watcher in self.watchers:
            events = [one for _, data in watcher.written for one in events_in(data) if one["event"] == "message"]
            last = {self.names[one["alias"]]: one["data"] for one in events}
            known = {self.names[alias]: body for alias, body in watcher.room.channel.last() if body is not None}
            if watcher.has_room:
                self.seen["newest"] += len(known)
                assert last == {device_id: json.loads(body) for device_id, body in known.items()}

    def check_position(self, grant: Grant, at: float, alias: str, shown: dict[str, Any]) -> list[bool]:
        """It is what the grant makes of something that was received, may be shown, and may be by now.

        Returns, for each message that it may stand for, whether that was a network's.
        """
        assert shown.keys() <= {"lat", "lon", *grant.fields}
        device_id = self.names[alias]
        assert device_id in grant.device_ids
        sources = [
            sent.truth.by_network
            for sent in self.sent
            if sent.device_id == device_id and sent.monotonic + grant.delay_s <= at + 1e-9 and shows(grant, sent, shown)
        ]
        assert sources
        return sources


def test_viewers_see_what_the_grant_says_and_nothing_else() -> None:
    """Two thousand plays of random devices, payloads, grants and times; and that they show something is seen to."""
    seen: Counter[str] = Counter()
    for seed in range(EXAMPLES):
        play = Play(seed)
        try:
            play.run()
        except AssertionError as error:
            error.add_note(f"Play({seed}).run() shows it")
            raise
        seen.update(play.seen)
    assert min(seen["replay None, delay False"], seen["replay True, delay False"], seen["init"]) > EXAMPLES / 2
    assert min(seen["replay None, delay True"], seen["gap"], seen["share"], seen["expired"]) > EXAMPLES / 4
    assert seen["newest"] > EXAMPLES / 4
    assert seen["fix after a network's guess"] > EXAMPLES / 40
    assert min(seen["replay True, delay True"], seen["revoked"]) > EXAMPLES / 20
