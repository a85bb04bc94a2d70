"""The page of a share when parts of it, the way to it or the server are not as they should be. In Chromium."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from tests.real.share_page.browser import SharePage
from tests.real.share_page.fake_share import CODE, FakeShare, moment
from tests.real.share_page.fixtures import EXPECTED, chromium, phone
from tests.waiting import wait_until

__all__ = ["chromium", "phone"]
STYLED = "return document.getAnimations().some(({ animationName }) => animationName === 'reveal')"
STUCK = """
    const [line] = document.getAnimations().filter(({ animationName }) => animationName === 'reveal');
    const before = getComputedStyle(document.querySelector('#stuck')).visibility;
    const { delay } = line.effect.getTiming();
    line.finish();
    return [before, delay];
"""
ANSWERS = "return performance.getEntriesByType('resource').filter(({ name }) => name.endsWith('/init')).length"
TREE: dict[str, Any] = {"toString": 1, "valueOf": 1}
PLACE = {"lat": 52.5, "lon": 13.4}


@pytest.mark.parametrize("asset", ["leaflet.js", "map.js"])
def test_without_the_map_the_card_says_it_all(phone: SharePage, asset: str) -> None:
    """What cannot be fetched for the map costs only the map: the words go on, and a note says so."""
    with FakeShare(missing=[asset]) as share:
        share.share["devices"] = [{"alias": "Van 1"}, {"alias": "Van 2"}]
        phone.open(share.link, "waiting")
        share.position(52.5, 13.4, speed_kmh=0)
        share.position(52.6, 13.4, "Van 2", speed_kmh=0)
        phone.wait_text("#map-note", "The map cannot be loaded. Reload this page to try again.")
        phone.wait_text("#motion", "Stopped")
        phone.run("document.querySelector('#devices li:nth-child(2) button').click()")
        phone.wait_text("#coordinates", "52.60000, 13.40000")
        assert phone.text("#tools") == phone.text("#zoom-in") == ""
        share.send("revoked", {})
        phone.wait_state("revoked")
        assert all(asset in line or "map.js" in line for line in phone.complaints())


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
@pytest.mark.parametrize("asset", ["session.js", "page.js"])
def test_a_page_whose_scripts_never_start_says_what_to_do(phone: SharePage, asset: str, motion: str) -> None:
    """After 15 seconds, by the style sheet alone; the page that starts takes the line away."""
    phone.media(prefers_reduced_motion=motion)
    with FakeShare(missing=[asset]) as share:
        phone.open(share.link)
        wait_until(lambda: phone.run(STYLED))
        assert phone.run(STUCK) == ["hidden", 15000]
        assert phone.text("#stuck") == "Nothing happens? Reload this page."
        assert all(asset in line for line in phone.complaints())
    with FakeShare() as share:
        phone.open(share.link, "waiting")
        assert phone.run("return document.querySelector('#stuck')") is None


def test_a_stream_that_cannot_be_opened_is_not_the_visitors_fault(phone: SharePage) -> None:
    """Init answered, so their internet works: the page names the live connection, and goes on trying."""
    with FakeShare() as share:
        share.upgrading = False
        phone.open(share.link, "stream")
        assert phone.text("#cover-title") == "No live connection yet"
        assert "internet" not in phone.words
        phone.chance(0.0)  # it tries twice a second
        wait_until(lambda: len(share.handshakes) >= 2)
        share.upgrading = True
        phone.wait_state("waiting")


@pytest.mark.parametrize("also", [{"stream_url": "http://["}, {"stream_url": None}, {"stream_url": 7}], ids=str)
def test_an_answer_that_cannot_be_used_is_asked_for_again(phone: SharePage, also: dict[str, Any]) -> None:
    """A server that is newer, or wrong, leaves the page trying and not silent for ever."""
    with FakeShare() as share:
        share.also = also
        phone.open(share.link, "stream")
        share.also = {}
        phone.skip(31)
        phone.wait_state("waiting")
        known = ("TypeError", "SyntaxError", *EXPECTED)
        assert [line for line in phone.complaints() if not any(part in line for part in known)] == []


def test_what_the_server_says_wrongly_is_left_out(phone: SharePage) -> None:
    """Nothing of another type than it should be stops the page, in init, in hello or in a frame."""
    with FakeShare() as share:
        share.share.update(
            label=TREE, ends_at="soon", precision_m="x", delay_s=-1,
            destination={**PLACE, "lat": 1e300, "name": TREE, "radius_m": "far"},
            devices=[None, 7, {"alias": TREE}, {"alias": "Van 1", "position": [1, 2]}],
        )  # fmt: skip
        phone.open(share.link, "waiting")
        for alias in (None, TREE, 7):
            share.send("message", PLACE, id="x", alias=alias)
        share.send("share", None)
        share.send("share", {**share.share, "destination": {**PLACE, "name": TREE, "radius_m": -5}})
        share.position(52.5, 13.4, heading_deg=1e300, speed_kmh=1e300, accuracy_m=-1)
        phone.wait_state("live")
        phone.skip(1)
        phone.wait_text("#coordinates", "52.50000, 13.40000")
        assert phone.text("#until") == ""
        assert phone.text("#title") == "Van 1"
        assert phone.text("#distance") == "At the destination"


def test_a_link_with_a_slash_at_its_end_opens(phone: SharePage) -> None:
    """Some programs add one to what they take for a folder."""
    with FakeShare() as share:
        phone.open(f"{share.link}/", "waiting")
        assert share.inits == [{"code": CODE}]


def test_a_page_that_comes_back_connects_again(phone: SharePage) -> None:
    """The browser may keep a page for its "back" button: without a socket there, and with a new one after it."""
    with FakeShare() as share:
        phone.open(share.link, "waiting")
        phone.stand()
        phone.run("dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true}))")
        wait_until(lambda: share.streams == 0)
        assert phone.state == "lost"
        phone.skip(2)
        phone.run("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
        wait_until(lambda: len(share.handshakes) == 2)
        phone.wait_state("waiting")
        assert len(share.inits) == 1


@pytest.mark.parametrize(
    "status, code, state",
    [(401, "password_required", "password"), (403, "password_wrong", "password"), (404, "share_not_found", "unknown"),
     (410, "share_ended", "ended")],
)  # fmt: skip
def test_a_refused_renewal_is_judged_once(phone: SharePage, status: int, code: str, state: str) -> None:
    """The stream lasts as long as its token, without another try: each would count as a wrong password."""
    with FakeShare() as share:
        phone.open(share.link, "waiting")
        share.refusal = (status, {"code": code})
        for seconds in (30, 20):
            share.send("expiring", {"expires_at": moment(seconds)})
            wait_until(lambda: phone.run(ANSWERS) == 2)
            phone.skip(6)
        share.send("upstream", {"state": "down"})
        phone.wait_state("upstream")
        share.send("expired", {"expires_at": moment()})
        share.close(1000)
        phone.wait_state(state)
        assert len(share.inits) == 2
        if state == "password":
            assert phone.text("#password-error") == ""
            share.refusal = None
            phone.enter_password("new")
            phone.wait_state("waiting")
            assert share.inits[2] == {"code": CODE, "password": "new"}


@pytest.mark.parametrize("why", ["offline", "429"])
def test_what_is_over_by_the_clock_is_not_shown(phone: SharePage, why: str) -> None:
    """When the share's time is up and init cannot say so, the page says it; an end that was moved opens it again."""
    with FakeShare() as share:
        share.clock_ahead = 7200
        share.share["ends_at"] = moment(7200 + 60)
        phone.open(share.link, "waiting")
        share.position(52.5, 13.4, time=moment(7200))
        phone.wait_state("live")
        phone.chance(0.0)  # it tries twice a second, or when the server says
        if why == "429":
            share.refusal = (429, {"code": "rate_limited"})
            share.close(1008)
        else:
            share.stop()
        phone.wait_state("lost", "busy")
        assert phone.text("#coordinates") == "52.50000, 13.40000"
        share.clock_ahead += 61
        phone.skip(61)
        phone.wait_state("ended")
        assert phone.markers() == {}
        assert "Delivery" not in phone.run("return document.title")
        share.refusal = None
        share.share["ends_at"] = moment(7200 + 600)
        if why == "offline":
            share.start()
        phone.wait_state("waiting")


@pytest.mark.parametrize("how", ["restarted", "cut", "silent"])
def test_a_lost_connection_comes_back_by_itself(phone: SharePage, how: str) -> None:
    """A restart, a cut line, a server that says nothing any more: told, the position kept, and then live again."""
    with FakeShare() as share:
        phone.open(share.link, "waiting")
        share.position(52.5, 13.4)
        phone.wait_state("live", "lost")
        if how == "restarted":
            share.stop()
            phone.wait_state("lost")
            assert phone.text("#state") == "Connection lost, trying again"
            assert phone.text("#coordinates") == "52.50000, 13.40000"
            assert phone.markers()[""]["stale"] is True
            phone.chance(0.0)  # it tries twice a second
            share.start()
        elif how == "cut":
            share.abort()
        else:
            phone.skip(63)
        wait_until(lambda: len(share.handshakes) >= 2 and share.streams == 1)
        phone.wait_state("live")
        share.position(52.6, 13.4)
        phone.wait_text("#coordinates", "52.60000, 13.40000")
        assert share.inits[0] == {"code": CODE}


def test_a_refused_stream_is_not_hammered(phone: SharePage) -> None:
    """1008 and a token that init gives again and again: the tries come further and further apart."""
    with FakeShare() as share:
        phone.open(share.link, "waiting")
        phone.chance(0.9)
        phone.stand()
        for count, wait in enumerate((1.8, 0.9, 1.8, 3.6), 1):
            share.close(1008)
            phone.wait_state("lost")
            phone.skip(wait * 0.4)
            assert len(share.inits) == count
            phone.skip(wait * 0.7)
            wait_until(partial(share.has_shaken_hands, count + 1))
            wait_until(lambda: share.streams == 1)
            phone.wait_state("waiting")
        assert len(share.inits) == 5


def test_no_server_at_all_is_told(phone: SharePage) -> None:
    """The first answer fails: the page says what to check, and opens when the service is back."""
    with FakeShare() as share:
        share.refusal = (503, {"code": "storage_unavailable"})
        phone.open(share.link, "unreachable")
        assert phone.text("#cover-title") == "Cannot reach the service"
        share.refusal = None
        phone.skip(1)
        phone.wait_state("waiting")
