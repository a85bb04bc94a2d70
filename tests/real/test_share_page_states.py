"""The states of the page of a share, each said in its own words, and the ways between them. In Chromium."""

from __future__ import annotations

from typing import Any

import pytest

from tests.real.share_page.browser import SharePage
from tests.real.share_page.fake_share import CODE, TOKEN, FakeShare, moment
from tests.real.share_page.fixtures import chromium, page, phone
from tests.waiting import wait_until

__all__ = ["chromium", "page", "phone"]


@pytest.mark.parametrize(
    "status, body, state, title",
    [
        (404, {"code": "share_not_found"}, "unknown", "This link does not work"),
        (404, {"code": "sharing_off"}, "unknown", "This link does not work"),
        (400, {"code": "invalid_request"}, "unknown", "This link does not work"),
        (410, {"code": "share_ended"}, "ended", "Sharing has ended"),
        (410, {"code": "share_ended", "end_reason": "arrived"}, "arrived", "Arrived"),
        (410, {"code": "share_revoked"}, "revoked", "Sharing has been stopped"),
    ],
)
def test_a_link_that_opens_nothing_says_why(
    phone: SharePage, status: int, body: dict[str, Any], state: str, title: str
) -> None:
    """And the page does not ask again."""
    with FakeShare() as share:
        share.refusal = (status, body)
        phone.open(share.link, state)
        assert phone.text("#cover-title") == title
        phone.run("dispatchEvent(new Event('online'))")
        assert share.inits == [{"code": CODE}]
        assert share.handshakes == []


def test_a_revoked_share_is_gone_at_once(phone: SharePage) -> None:
    """The server's word is enough: the page says it, shows no position any more, and does not come back."""
    with FakeShare() as share:
        phone.open(share.link, "waiting")
        share.position(52.5, 13.4)
        phone.wait_state("live")
        share.refusal = (410, {"code": "share_revoked"})
        share.send("revoked", {})
        phone.wait_state("revoked")
        assert phone.text("#cover-title") == "Sharing has been stopped"
        assert phone.markers() == {}
        assert "52.5" not in phone.words
        wait_until(lambda: share.streams == 0)
        assert len(share.inits) == 1


@pytest.mark.parametrize("reason", ["", "arrived"])
def test_an_expired_share_ends(phone: SharePage, reason: str) -> None:
    """After `expired` and 1000 init decides; an arrival needs no more asking and says where."""
    with FakeShare() as share:
        share.share["destination"] = {"lat": 52.5, "lon": 13.5, "radius_m": 100, "name": "Depot"}
        phone.open(share.link, "waiting")
        share.position(52.5, 13.4)
        phone.wait_state("live")
        phone.stand()
        share.refusal = (410, {"code": "share_ended", "end_reason": reason or None})
        share.send("expired", {"expires_at": moment(), **({"reason": reason} if reason else {})})
        share.close(1000)
        phone.wait_state("lost", "arrived")
        phone.skip(2)
        phone.wait_state(reason or "ended")
        assert phone.markers() == {}
        if reason:
            assert phone.text("#cover-text") == "Depot has been reached, and sharing has ended."


def test_an_expired_token_of_a_living_share_is_replaced(phone: SharePage) -> None:
    """A token that ran out while the page slept: init gives another, and the stream goes on by itself."""
    with FakeShare() as share:
        phone.open(share.link, "waiting")
        phone.chance(0.9)
        phone.stand()
        share.send("expired", {"expires_at": moment()})
        share.close(1000)
        phone.wait_state("lost")
        assert len(share.inits) == 1, "those who expire together must not come back together"
        phone.skip(1.9)
        wait_until(lambda: len(share.handshakes) == 2)
        wait_until(lambda: share.streams == 1)
        share.position(52.5, 13.4)
        phone.wait_state("live")
        assert share.handshakes[1] == ("", f"telemetry-bridge, bearer.{TOKEN}2")


@pytest.mark.parametrize("asked", ["by the server", "by the clock"])
def test_the_token_is_renewed_on_the_open_socket(phone: SharePage, asked: str) -> None:
    """At `expiring`, or 30 s before the end: a fresh token in `authenticate`, and no second connection."""
    with FakeShare() as share:
        share.password = "red"
        share.token_seconds = 60 if asked == "by the clock" else 600
        phone.open(share.link, "password")
        phone.enter_password("red")
        phone.wait_state("waiting")
        share.token_seconds = 1200
        if asked == "by the server":
            share.send("expiring", {"expires_at": moment(30)})
        else:
            assert len(share.inits) == 2
            phone.skip(31)
        renewed = wait_until(lambda: share.commands)
        assert renewed == [{"action": "authenticate", "ref": "renew", "data": {"token": f"{TOKEN}3"}}]
        assert share.inits[-1] == {"code": CODE, "password": "red"}
        assert len(share.handshakes) == 1
        assert phone.state == "waiting"


def test_a_token_that_cannot_last_longer_is_not_asked_for_again(phone: SharePage) -> None:
    """Near the share's own end one renewal shows that there is no more; only when it is extended another is made."""
    with FakeShare() as share:
        share.token_seconds = 60
        phone.open(share.link, "waiting")
        share.also = {"expires_at": moment(20)}
        share.share["label"] = "asked again"
        phone.skip(31)
        phone.wait_text("#title", "asked again")
        assert len(share.inits) == 2
        share.send("expiring", {"expires_at": moment(10)})
        share.send("upstream", {"state": "down"})
        phone.wait_state("upstream")
        share.also, share.token_seconds = {}, 600
        share.send("share", {**share.share, "label": "extended"})
        wait_until(lambda: phone.run("skip(0)") or share.commands)
        assert len(share.inits) == 3


def test_the_password_is_asked_for(phone: SharePage) -> None:
    """A labelled field that has the focus; a wrong one is reported, the right one opens, and none is kept anywhere."""
    with FakeShare() as share:
        share.password = "corréct horse"
        phone.open(share.link, "password")
        assert phone.text("#cover-title") == "This link needs a password"
        field = "const e = document.querySelector('#password'); return [e.autocomplete, e.type, e.labels[0].innerText]"
        assert phone.run(field) == ["current-password", "password", "Password"]
        assert phone.focused() == "password"
        phone.enter_password("wrong")
        phone.wait_text("#password-error", "Wrong password. Check it and try again.")
        assert phone.focused() == "password"
        phone.enter_password("corréct horse")
        phone.wait_state("waiting")
        assert [body.get("password") for body in share.inits] == [None, "wrong", "corréct horse"]
        assert "horse" not in phone.stored()


def test_too_many_passwords_are_told(phone: SharePage) -> None:
    """The button rests for as long as the server says, and the words say so."""
    with FakeShare() as share:
        share.password = "x"
        phone.open(share.link, "password")
        phone.stand()
        share.refusal = (429, {"code": "rate_limited"})
        phone.enter_password("y")
        wait_until(lambda: phone.text("#password-error").startswith("Too many attempts. Try again in 2"))
        assert phone.run("return document.querySelector('#password-send').disabled") is True
        share.refusal = None
        phone.skip(2)
        wait_until(lambda: phone.run("return document.querySelector('#password-send').disabled") is False)
        phone.enter_password("x")
        phone.wait_state("waiting")


def test_a_share_that_has_not_started_opens_by_itself(phone: SharePage) -> None:
    """The page says when, and asks again then, with the password that was typed before."""
    with FakeShare() as share:
        share.password = "red"
        phone.open(share.link, "password")
        share.refusal = (403, {"code": "share_not_started", "starts_at": moment(60)})
        phone.enter_password("red")
        phone.wait_state("upcoming")
        assert phone.text("#cover-title") == "Not started yet"
        assert phone.text("#cover-text").startswith("This location is shared from: ")
        assert phone.text("#cover-text")[-1] != "."
        share.refusal = None
        phone.skip(61)
        phone.wait_state("waiting")
        assert share.inits[-1] == {"code": CODE, "password": "red"}


def test_too_many_requests_wait_and_go_on(phone: SharePage) -> None:
    """A page that is asked to slow down says so and comes back by itself, up to as long again after the others."""
    with FakeShare() as share:
        share.retry_after = 20
        share.refusal = (429, {"code": "rate_limited"})
        phone.open(share.link, "busy")
        phone.chance(0.75)
        phone.stand()
        phone.skip(40)
        wait_until(lambda: len(share.inits) == 2)
        phone.wait_text("#cover-text", "This page tries again in 35\u00a0secs.")
        share.refusal = None
        phone.skip(30)
        assert phone.text("#cover-text").startswith("This page tries again in ")
        assert len(share.inits) == 2
        phone.skip(6)
        phone.wait_state("waiting")


def test_a_full_share_is_told(phone: SharePage) -> None:
    """The page says that there is no place, and tries when somebody looks again."""
    with FakeShare() as share:
        share.full = True
        phone.open(share.link, "full")
        assert phone.text("#cover-title") == "Too many people are watching"
        share.full = False
        phone.skip(2)
        phone.run("dispatchEvent(new Event('online'))")
        phone.wait_state("waiting")


def test_a_silent_device_is_told(phone: SharePage) -> None:
    """No message for the time that is set: since when, a grey marker, nothing said of its speed; then it is back."""
    with FakeShare(silent_seconds=30) as share:
        phone.open(share.link, "waiting")
        share.position(52.5, 13.4, speed_kmh=50, heading_deg=10)
        phone.wait_state("live")
        phone.skip(31)
        phone.wait_state("silent")
        assert phone.text("#state").startswith("No signal since ")
        assert phone.text("#motion") == "Last known position"
        assert phone.markers()[""]["stale"] is True
        share.position(52.5, 13.4, speed_kmh=50, heading_deg=10)
        phone.wait_state("live")
        assert phone.markers()[""]["stale"] is False


def test_the_service_may_lose_the_devices(phone: SharePage) -> None:
    """It has its words, which go when it ends."""
    with FakeShare() as share:
        phone.open(share.link, "waiting")
        share.position(52.5, 13.4)
        phone.wait_state("live")
        share.send("upstream", {"state": "down"})
        phone.wait_state("upstream")
        assert phone.text("#hint").startswith("The service has lost contact with the devices.")
        share.send("upstream", {"state": "up"})
        phone.wait_state("live")
