"""The page of a share while it lives: what moves, what is said, what is drawn. In Chromium."""

from __future__ import annotations

from typing import Any

import pytest

from tests.real.share_page.browser import SharePage
from tests.real.share_page.fake_share import CODE, TOKEN, FakeShare, moment
from tests.real.share_page.fixtures import chromium, page, phone
from tests.waiting import wait_until

__all__ = ["chromium", "page", "phone"]
HOSTILE = ["<img src=x onerror=pwned=1>", "__proto__", "a\u202eb<script>pwned=1</script>", "${1}'\"`&lt;"]
WEST: dict[str, Any] = {"speed_kmh": 48.2, "heading_deg": 270, "accuracy_m": 12}
SPEED = "48\u00a0km/h"
AWAY: dict[str, Any] = {"speed_kmh": 60, "heading_deg": 270}
REST: dict[str, Any] = {"speed_kmh": 0}
UNKNOWN: dict[str, Any] = {}
BAD: list[object] = [{"lat": 91, "lon": 0}, {"lat": "1", "lon": 2}, {"lat": None, "lon": 3}, [], "text", None]


def test_a_moving_device_moves_on_the_page(page: SharePage) -> None:
    """The words and the marker follow each position, the trail grows, and the title has the label."""
    with FakeShare() as share:
        page.open(share.link, "waiting")
        assert "Waiting for the first position" in page.words
        share.position(52.5, 13.4, **WEST)
        page.wait_state("live")
        page.wait_text("#motion", f"Moving west at {SPEED}")
        assert page.text("#title") == "Delivery 4711"
        assert page.run("return document.title") == "Delivery 4711 · Live location"
        assert page.text("#coordinates") == "52.50000, 13.40000"
        assert page.text("#accuracy") == "Accurate to about 12\u00a0m"
        assert page.text("#until").startswith("Until ")
        assert page.text("#until").endswith("42\u00a0mins left")
        marker = page.markers()[""]
        assert (marker["sign"], marker["turn"], marker["stale"]) == ("arrow", "rotate(270deg)", False)
        page.run("document.querySelector('#map').dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowLeft'}))")
        before = page.markers()[""]["x"]
        share.position(52.5, 13.399, **WEST)
        wait_until(lambda: page.markers()[""]["x"] < before - 20)
        assert page.trail().count("L") == 1
        share.position(52.5, 13.399, speed_kmh=0)
        page.wait_text("#motion", "Stopped")
        assert page.markers()[""]["sign"] == "dot"


def test_the_map_follows_until_it_is_dragged(page: SharePage) -> None:
    """The marker stays in the middle of what can be seen; after a drag it runs away, until "follow again"."""
    with FakeShare() as share:
        page.open(share.link, "waiting")
        share.position(52.5, 13.4)
        page.wait_state("live")
        wait_until(lambda: page.markers() and page.off_middle() < 6)
        share.position(52.52, 13.44)
        page.wait_text("#coordinates", "52.52000, 13.44000")
        wait_until(lambda: page.off_middle() < 6, what=page.off_middle)
        assert page.text("#follow") == ""
        page.run("document.querySelector('#map').focus()")
        page.press("\ue012")  # the left arrow
        page.wait_text("#follow", "Follow again")
        wait_until(lambda: page.off_middle() > 20)
        page.click("#follow")
        wait_until(lambda: page.off_middle() < 6, what=page.off_middle)
        assert page.text("#follow") == ""


def test_the_journey_is_told_honestly(phone: SharePage) -> None:
    """Distance and time are as the crow flies and say so; no time is shown for one who goes away, and none at rest."""
    with FakeShare() as share:
        share.share["destination"] = {"lat": 52.5, "lon": 13.5, "radius_m": 100, "name": "Depot"}
        phone.open(share.link, "waiting")
        share.position(52.5, 13.4, speed_kmh=60, heading_deg=90)
        phone.wait_text("#distance", "6.8\u00a0km as the crow flies")
        told = "About 7\u00a0mins at the current speed, as the crow flies – not a route"
        assert phone.text("#eta") == told
        assert phone.text("#destination-name") == "Depot"
        for going in (AWAY, REST, UNKNOWN):
            share.position(52.5, 13.4, speed_kmh=60, heading_deg=90)
            phone.wait_text("#eta", told)
            share.position(52.5, 13.4, **going)
            phone.wait_text("#eta", "")
        share.position(52.5, 13.4995)
        phone.wait_text("#distance", "At the destination")


def test_precision_and_delay_are_told(phone: SharePage) -> None:
    """A grid's position is not shown finer than it is, and a delay is said."""
    with FakeShare() as share:
        share.share.update(precision_m=500, delay_s=300)
        share.share["devices"] = [{"alias": "Van 1", "position": {"lat": 52.512345, "lon": 13.4, "time": moment(-310)}}]
        phone.open(share.link, "live")
        assert phone.text("#coordinates") == "52.512, 13.400"
        assert phone.text("#precision") == "The position is shown to about 500\u00a0m"
        assert phone.text("#delay") == "Shown 5\u00a0mins later"
        assert phone.text("#age") == "5 minutes ago"


@pytest.mark.parametrize("limit", [{"precision_m": 1000}, {"delay_s": 300}], ids=str)
def test_what_was_rounded_or_is_old_promises_nothing(phone: SharePage, limit: dict[str, float]) -> None:
    """No time of arrival; on a grid neither an arrival nor a stop, since 0 km/h is all that was rounded to it."""
    with FakeShare() as share:
        share.share.update(limit, destination={"lat": 52.5, "lon": 13.5, "radius_m": 100, "name": "Depot"})
        phone.open(share.link, "waiting")
        share.position(52.5, 13.4, speed_kmh=60, heading_deg=90)
        wait_until(lambda: phone.text("#motion").startswith("Moving east"))
        far = "7\u00a0km" if "precision_m" in limit else "6.8\u00a0km"
        assert phone.text("#distance") == f"{far} as the crow flies"
        assert phone.text("#eta") == ""
        share.position(52.5, 13.5, speed_kmh=0, heading_deg=90)
        grid = ("Slow or stopped", "Less than 2\u00a0km as the crow flies")
        told = grid if "precision_m" in limit else ("Stopped", "At the destination")
        wait_until(lambda: (phone.text("#motion"), phone.text("#distance")) == told, what=lambda: phone.words)


def test_a_share_without_times_is_not_called_silent(phone: SharePage) -> None:
    """A replay that has no time says nothing of when the device was heard; silence counts from the hello then."""
    with FakeShare(silent_seconds=30) as share:
        share.share["devices"] = [{"alias": "Van 1", "position": {"lat": 52.5, "lon": 13.4}}]
        phone.open(share.link, "live")
        phone.stand()
        share.send("message", {"lat": 52.5, "lon": 13.4}, id="r1", alias="Van 1", replay=True)
        phone.skip(20)
        share.send("ping", {"type": "keep-alive"})
        assert phone.state == "live"
        phone.skip(11)
        phone.wait_state("silent")
        assert phone.text("#state") == "No signal"
        share.position(52.6, 13.4, time=None)
        phone.wait_state("live")
        phone.skip(31)
        phone.wait_state("silent")
        assert phone.text("#state").startswith("No signal since ")


def test_devices_that_change_names_keep_their_trails(phone: SharePage) -> None:
    """Swapped or shifted names go with the devices: no position moves, and no line joins two of them."""
    names = ["A", "B", "C"]
    with FakeShare() as share:
        share.share["devices"] = [{"alias": alias} for alias in names]
        phone.open(share.link, "waiting")
        for step in (0, 0.001):
            for number, alias in enumerate(names):
                share.position(52.5 + step, 13.4 + number / 100, alias)
        wait_until(lambda: phone.trails() == [1, 1, 1], what=phone.trails)
        phone.run("document.querySelector('#devices li:nth-child(3) button').click()")
        phone.wait_text("#device-name", "C")
        for renamed in (["B", "A", "C"], ["A", "C", "D"]):
            share.send("share", {**share.share, "devices": [{"alias": alias} for alias in renamed]})
            wait_until(lambda: list(phone.markers()) == renamed, what=phone.markers)  # noqa: B023
            assert phone.text("#coordinates") == "52.50100, 13.42000"
            assert phone.text("#device-name") == renamed[2]
        phone.click("#fit")
        share.position(52.502, 13.4, "A")
        wait_until(lambda: phone.trails() == [2, 1, 1], what=phone.trails)


def test_what_does_not_change_is_not_drawn_again(phone: SharePage) -> None:
    """Else a selection, and what a screen reader reads, would be lost each second."""
    with FakeShare() as share:
        share.share["destination"] = {"lat": 52.5, "lon": 13.5, "radius_m": 100, "name": "Depot"}
        phone.open(share.link, "waiting")
        share.position(52.5, 13.4)
        wait_until(lambda: phone.text("#distance").endswith(" as the crow flies"))
        phone.run(
            "window.changed = [];"
            "new MutationObserver((all) => changed.push(...all.map(({target}) => target.id || target.nodeName)))"
            ".observe(document.querySelector('#journey'), {childList: true, characterData: true, subtree: true})"
        )
        age = phone.text("#age")
        phone.skip(5)
        assert phone.text("#age") != age
        assert phone.run("return changed") == []


def test_a_wrong_clock_of_the_visitor_does_not_matter(phone: SharePage) -> None:
    """Ages count by the clock in the Date of init's answer."""
    with FakeShare() as share:
        share.clock_ahead = 3600
        phone.open(share.link, "waiting")
        share.position(52.5, 13.4, time=moment(3600 - 120))
        wait_until(lambda: phone.text("#age") == "2 minutes ago", what=lambda: phone.text("#age"))


def test_several_devices_are_listed(page: SharePage) -> None:
    """Each has a row and a marker; a tap on a row shows that one, and all are in view before."""
    with FakeShare() as share:
        share.share["devices"] = [{"alias": "Van 1"}, {"alias": "Van 2"}]
        page.open(share.link, "waiting")
        share.position(52.5, 13.4, "Van 1", speed_kmh=0)
        share.position(52.6, 13.6, "Van 2", **WEST)
        share.position(52.6, 13.6, "Stranger", **WEST)
        wait_until(lambda: set(page.markers()) == {"Van 1", "Van 2"})
        wait_until(lambda: page.text("#devices li:nth-child(2)").split("\n") == ["Van 2", f"Moving west at {SPEED}"])
        assert page.text("#device-name") == "Van 1"
        page.run("document.querySelector('#devices li:nth-child(2) button').click()")
        page.wait_text("#device-name", "Van 2")
        assert page.run("return document.querySelector('#devices [aria-pressed=true] bdi').textContent") == "Van 2"
        assert page.text("#coordinates") == "52.60000, 13.60000"


def test_a_replay_never_replaces_what_is_newer(phone: SharePage) -> None:
    """Older positions join the trail where they belong; one with the id of another is not taken twice."""
    with FakeShare() as share:
        phone.open(share.link, "waiting")
        share.position(52.5, 13.4)
        for seconds in (-30, -20, -20):
            data = {"lat": 52.4, "lon": 13.3 + seconds / 1000, "time": moment(seconds)}
            share.send("message", data, id=f"old{seconds}", alias="Van 1", replay=True)
        share.send("message", {"lat": 1, "lon": 1}, id="untimed", alias="Van 1", replay=True)
        share.send("surprise", {"lat": 2, "lon": 2}, id="x", alias="Van 1")
        for bad in BAD:
            share.send("message", bad, id=f"bad{bad}", alias="Van 1")
        share.send("share", {**share.share, "label": "Seen"})
        phone.wait_text("#title", "Seen")
        assert phone.text("#coordinates") == "52.50000, 13.40000"
        wait_until(lambda: phone.trail().count("L") == 2)


def test_what_a_share_is_called_stays_text(phone: SharePage) -> None:
    """Label, aliases and destination full of markup are shown as they are, and nothing of them runs."""
    with FakeShare() as share:
        share.share["label"] = HOSTILE[0]
        share.share["destination"] = {"lat": 52.5, "lon": 13.5, "radius_m": 100, "name": HOSTILE[0]}
        share.share["devices"] = [{"alias": alias, "position": None} for alias in HOSTILE]
        phone.open(share.link, "waiting")
        for number, alias in enumerate(HOSTILE):
            share.position(52.5, 13.4 + number / 100, alias, speed_kmh=9)
        wait_until(lambda: len(phone.markers()) == len(HOSTILE))
        assert phone.text("#title") == HOSTILE[0]
        names = phone.run("return [...document.querySelectorAll('#devices bdi')].map(e => e.textContent)")
        assert names == list(phone.markers()) == [alias.replace("\u202e", "") for alias in HOSTILE]
        assert phone.run("return typeof pwned") == "undefined"
        assert phone.run("return document.querySelectorAll('#card img, #card script, .device img').length") == 0


@pytest.mark.parametrize("tiles", ["broken", ""])
def test_without_tiles_positions_are_still_drawn(phone: SharePage, tiles: str) -> None:
    """A plain grid, marker and trail; one quiet note when there should have been a map, none when not."""
    with FakeShare(tiles=tiles) as share:
        phone.open(share.link, "waiting")
        for number in range(3):
            share.position(52.5, 13.4 + number / 1000, **WEST)
        wait_until(lambda: phone.trail().count("L") == 2)
        assert set(phone.markers()) == {""}
        assert phone.run("return document.querySelectorAll('.grid-tile').length") > 0
        if tiles:
            wait_until(lambda: phone.text("#map-note").startswith("The map picture cannot be loaded."))
            assert all("/tiles/" in line for line in phone.complaints())
        else:
            assert phone.text("#map-note") == ""


def test_a_hidden_page_draws_when_it_is_seen_again(phone: SharePage) -> None:
    """Nobody looks, so nothing is drawn; the connection stays, and the first look shows the newest."""
    with FakeShare() as share:
        phone.open(share.link, "waiting")
        share.position(52.5, 13.4)
        phone.wait_text("#coordinates", "52.50000, 13.40000")
        phone.hide(True)
        share.position(52.6, 13.4)
        share.send("revoked-not", {})
        assert share.streams == 1
        assert phone.text("#coordinates") == "52.50000, 13.40000"
        phone.hide(False)
        phone.wait_text("#coordinates", "52.60000, 13.40000")
        assert len(share.handshakes) == 1


def test_memory_is_bounded(phone: SharePage) -> None:
    """The trail of a device keeps its newest 500 points, however many come."""
    with FakeShare() as share:
        phone.open(share.link, "waiting")
        script = """
            const devices = new it.Devices();
            devices.name(['a']);
            for (let n = 0; n < 3000; n++) devices.take('a', {lat: 1, lon: n / 100}, {id: 'm' + n, now: n});
            const { trail } = devices.get('a');
            return [it.MAX_TRAIL, trail.length, trail[trail.length - 1].lon];
        """
        assert phone.module("devices.js", script) == [500, 500, 29.99]


def test_the_token_and_the_code_are_kept_out_of_sight(phone: SharePage) -> None:
    """The token goes in a subprotocol, never in a URL, a cookie or a store; the code stands in the path alone."""
    with FakeShare() as share:
        phone.open(f"{share.link}.", "waiting")
        assert share.inits == [{"code": CODE}]
        assert share.handshakes == [("", f"telemetry-bridge, bearer.{TOKEN}1")]
        stored = phone.stored()
        assert TOKEN not in stored
        assert stored == f'["{share.link}.","",{{}},{{}}]'
        assert TOKEN not in str(phone.run("return document.documentElement.outerHTML"))
        assert CODE not in str(phone.run("return document.documentElement.outerHTML"))
