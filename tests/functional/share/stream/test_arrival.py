"""Shares that end at their destination, and what a restart keeps."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from share.model.draft import Changes
from share.model.grant import Destination
from share.model.limits import ShareLimits
from share.model.share import EndReason
from tests.functional.share.stream.conftest import StartSharing
from tests.functional.share.stream.served import FILE, QUICK, SharingBridge, broken_database, seed
from tests.functional.stream.served import Clock, eventually

GOAL: Final = Destination(48.0, 11.0, 100.0, "Home")


class Restarted(SharingBridge):
    """A server that stops with its shares open."""

    def __init__(self, clock: Clock | None = None, limits: ShareLimits = QUICK) -> None:
        super().__init__(database_url=FILE, limits=limits)
        self.clock = clock or self.clock

    async def wait_empty(self) -> None:
        """Shares and their channels may be left; what belongs to streams may not."""
        await eventually(lambda: not self.remains(), self.remains)

    def remains(self) -> dict[str, object]:
        held = super().remains()
        rooms = held.get("rooms")
        of_shares = {name: held.pop(name, None) for name in ("open", "rooms", "cohorts", "deadlines")}
        held.pop("selectors", None)
        return held if set(of_shares.values()) == {rooms} else {**held, **of_shares}


async def test_viewers_see_the_arrival_and_then_the_end(bridge: SharingBridge) -> None:
    """The position at the destination comes first, then ``expired`` with its reason, 1000; init says the same."""
    share, code = await bridge.share("A", "B", destination=GOAL, end_on_arrival=True)
    viewer = await bridge.view(await bridge.token_of(code))
    hello = await viewer.expect("hello")
    assert hello["share"]["destination"] == {"lat": 48.0, "lon": 11.0, "radius_m": 100.0, "name": "Home"}
    assert hello["share"]["end_on_arrival"] is True
    bridge.publish(seed("A", lat=48.0005, lon=11.0))
    await viewer.expect("message")
    bridge.publish(seed("B", lat=48.01, lon=11.0))
    await viewer.expect("message")
    assert await viewer.quiet() == []  # one of two
    bridge.publish(seed("B", lat=48.0, lon=11.0))
    end, events = await viewer.end()
    assert end == 1000
    assert [event["event"] for event in events] == ["message", "expired"]
    assert events[0]["data"]["lat"] == 48.0
    assert events[1]["data"]["reason"] == "arrived"
    status, answer = await bridge.init(code)
    assert (status, answer["code"], answer["end_reason"]) == (410, "share_ended", "arrived")
    over = await bridge.sharing.links.find(share.id)
    assert over is not None and over.end_reason is EndReason.ARRIVED
    assert (await bridge.sharing.links.revoke(over)).end_reason is EndReason.ARRIVED


async def test_arrival_without_end_on_arrival(bridge: SharingBridge) -> None:
    """The destination is shown, and the share goes on."""
    viewer, _ = await bridge.viewer("A", destination=GOAL)
    bridge.publish(seed("A", lat=48.0, lon=11.0))
    bridge.publish(seed("A", lat=48.0, lon=11.0))
    assert [event["event"] for event in await viewer.quiet()] == ["message", "message"]


async def test_arrival_counts_at_once_while_the_database_fails(start: StartSharing) -> None:
    """The viewers are told and init says so from memory; the database learns of it when it answers again."""
    bridge = await start(database_url=FILE)
    share, code = await bridge.share("A", destination=GOAL, end_on_arrival=True)
    viewer = await bridge.view(await bridge.token_of(code))
    await viewer.expect("hello")
    with broken_database():
        bridge.publish(seed("A", lat=48.0, lon=11.0))
        assert (await viewer.end())[0] == 1000
        assert bridge.sharing.links.find_open(share.id) is None
        assert (await bridge.init(code))[0] in {410, 503}
    assert (await bridge.init(code))[1]["code"] == "share_ended"


async def test_restart_keeps_what_is_open_and_what_is_not() -> None:
    """Open shares are open again with code and token, the others stay over with their reasons; totals are kept."""
    patient = replace(QUICK, close_seconds=30.0)  # a slow disk may lose what is not stored by then
    async with Restarted(limits=patient) as first:
        opened, open_code = await first.share("A", label="Ann", trail=3, precision_m=100.0)
        secret, secret_code = await first.share("A", password="correct horse")
        revoked, revoked_code = await first.share("A")
        arriving, arrived_code = await first.share("B", destination=GOAL, end_on_arrival=True)
        ending, ended_code = await first.share("A", ttl=60)
        upcoming, upcoming_code = await first.share("A", since=3000)
        token, of_revoked = await first.token_of(open_code), await first.token_of(revoked_code)
        viewers = [await first.view(token) for _ in range(3)]
        told = [(await viewer.expect("hello"))["share"] for viewer in viewers]
        await first.leave_all()
        await first.sharing.links.revoke(revoked)
        first.publish(seed("B", lat=48.0, lon=11.0))
        await first.sharing.links.change(upcoming, Changes(label="later"))
        clock = first.clock
    clock.advance(61)
    async with Restarted(clock) as second:
        links = second.sharing.links
        assert len(links) == 3
        assert all(links.find_open(share.id) for share in (opened, secret, upcoming))
        for code, expected in (
            (open_code, (200, None)),
            (secret_code, (401, "password_required")),
            (revoked_code, (410, "share_revoked")),
            (arrived_code, (410, "share_ended")),
            (ended_code, (410, "share_ended")),
            (upcoming_code, (403, "share_not_started")),
        ):
            status, answer = await second.init(code)
            assert (status, answer.get("code")) == expected
        assert (await second.init(arrived_code))[1]["end_reason"] == "arrived"
        assert "end_reason" not in (await second.init(ended_code))[1]
        again = await second.view(token)
        assert (await again.expect("hello"))["share"] == told[0]
        second.publish(seed("A"))
        await again.expect("message")
        end, events = await (await second.view(of_revoked)).end()
        assert (end, events[0]["data"]["code"]) == (1008, "share_closed")
        found = await links.find(opened.id)
        assert found is not None
        assert found.viewers_total + links.pending_viewers(opened.id) == 4
        assert links.viewers(opened.id) == 1
        assert links.find_open(ending.id) is None and links.find_open(arriving.id) is None
