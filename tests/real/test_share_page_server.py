"""The page of a share against the real server: real Chromium, the installed command, Mosquitto, SQLite."""

from __future__ import annotations

import time

from tests.mosquitto import MosquittoServer
from tests.real.conftest import StartSharing
from tests.real.share_page.browser import SharePage
from tests.real.share_page.fixtures import chromium, page, phone
from tests.sharing import Sharing, check_promise, seed
from tests.waiting import wait_until

__all__ = ["chromium", "page", "phone"]
SILENT_SECONDS = 30
REVOCATION_SECONDS = 1.0
"""From the owner's call to the word on the page."""


def drive(mosquitto: MosquittoServer, lat: float) -> None:
    """The device is here now."""
    mosquitto.publish("fleet/truck-1", seed("truck-1", lat, 13.4, ahead=lat - 52.0, SPEED=48.0, HEADING=90.0))


def started(start_sharing: StartSharing, mosquitto: MosquittoServer) -> Sharing:
    """A server whose map has no pictures: there is no internet in a test."""
    return start_sharing(mosquitto, map_tiles_url="", share_silent_seconds=SILENT_SECONDS)


def test_a_link_opens_moves_and_is_revoked(
    page: SharePage, mosquitto: MosquittoServer, start_sharing: StartSharing
) -> None:
    """From the command's link to the owner's word, which the page shows; the id is never shown."""
    sharing = started(start_sharing, mosquitto)
    share = sharing.create(label="Your delivery", aliases={"truck-1": "The red van"})
    page.open(share["url"], "waiting")
    drive(mosquitto, 52.5)
    page.wait_state("live")
    assert page.text("#motion") == "Moving east at 48\u00a0km/h"
    first = page.text("#coordinates")
    drive(mosquitto, 52.51)
    wait_until(lambda: page.text("#coordinates") != first)
    assert "truck-1" not in page.words and "The red van" in page.words
    assert share["code"] not in page.stored().replace(share["url"], "")
    assert "v4.local" not in page.stored()
    assert sharing.operate("DELETE", f"/{share['id']}")[0] == 200
    page.wait_state("revoked")
    assert page.markers() == {}


def test_the_owners_word_is_there_within_a_second(
    page: SharePage, mosquitto: MosquittoServer, start_sharing: StartSharing
) -> None:
    """From the call that revokes to the words on an open page."""
    sharing = started(start_sharing, mosquitto)

    def revoke() -> float:
        share = sharing.create()
        page.open(share["url"])
        drive(mosquitto, 52.5)
        page.wait_state("live")
        began = time.monotonic()
        assert sharing.operate("DELETE", f"/{share['id']}")[0] == 200
        page.wait_state("revoked")
        return time.monotonic() - began

    check_promise("revoked, in the page", REVOCATION_SECONDS, revoke)


def test_a_share_ends_by_the_clock(phone: SharePage, mosquitto: MosquittoServer, start_sharing: StartSharing) -> None:
    """``expired``, then ``init`` says that it has ended."""
    sharing = started(start_sharing, mosquitto)
    share = sharing.create()
    phone.open(share["url"], "waiting")
    phone.chance(0.0)
    drive(mosquitto, 52.5)
    phone.wait_state("live")
    assert sharing.operate("PATCH", f"/{share['id']}", {"expires_in": 2})[0] == 200
    phone.wait_state("ended")
    assert phone.text("#cover-title") == "Sharing has ended"


def test_a_password_is_asked_for(phone: SharePage, mosquitto: MosquittoServer, start_sharing: StartSharing) -> None:
    """A wrong one is reported, the right one opens, and nothing was shown before."""
    sharing = started(start_sharing, mosquitto)
    share = sharing.create(label="Your delivery", password="open sesame, please")
    drive(mosquitto, 52.5)
    phone.open(share["url"], "password")
    assert "Your delivery" not in phone.words
    phone.enter_password("open barley")
    wait_until(lambda: "Wrong password" in phone.words)
    phone.enter_password("open sesame, please")
    phone.wait_state("live", "waiting")


def test_a_silent_device_and_a_restarted_server(
    phone: SharePage, mosquitto: MosquittoServer, start_sharing: StartSharing
) -> None:
    """Silence is said, a message ends it; the server goes and comes back, and the page with it, by itself."""
    sharing = started(start_sharing, mosquitto)
    share = sharing.create()
    phone.open(share["url"], "waiting")
    drive(mosquitto, 52.5)
    phone.wait_state("live")
    phone.skip(SILENT_SECONDS + 5)
    phone.wait_state("silent")
    phone.chance(0.0)  # it tries twice a second
    assert sharing.end() == 0
    phone.wait_state("lost", "unreachable")
    sharing.restart()
    sharing.wait_ready()
    wait_until(lambda: sharing.stats()["shares"]["viewers"] == 1)
    drive(mosquitto, 52.6)
    phone.wait_state("live")
