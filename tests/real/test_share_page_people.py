"""The page of a share for those who read another language, use the keyboard, listen, or hold a small phone."""

from __future__ import annotations

from functools import partial

import pytest

from share.page.page import load_texts
from tests.real.share_page.browser import DESKTOP, SharePage
from tests.real.share_page.fake_share import FakeShare
from tests.real.share_page.fixtures import chromium, page, phone
from tests.waiting import wait_until

__all__ = ["chromium", "page", "phone"]
TAB, ENTER, RIGHT = "\ue004", "\ue007", "\ue014"
CONTRAST = """
    const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    const light = (color) => {
      canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
      const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map(v => v / 255)
        .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
      return .2126 * r + .7152 * g + .0722 * b;
    };
    const ground = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
      if (c && !c.endsWith(', 0)') && !c.endsWith('/ 0)')) return c; } return 'white'; };
    return [...document.querySelectorAll('#cover *, #card *, #follow, #map-note')]
      .filter(e => e.getClientRects().length && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()))
      .map(e => { const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((x, y) => y - x);
                  return [e.id || e.className || e.tagName, (a + .05) / (b + .05)]; })
      .filter(([, ratio]) => ratio < 4.5);
"""
DAYS = """
    const words = new it.Words({}, 'en');
    return [words.ago(1.4 * 864e5), words.ago(2.9 * 864e5), words.until(1.6 * 864e5), words.until(864e5), words.ago(0)];
"""
HIDDEN = """
    return [...document.querySelectorAll('button')].filter(e => e.getClientRects().length && !e.closest('#cover'))
      .filter(e => {
        e.focus();
        const { x, y, width, height } = e.getBoundingClientRect();
        return ![[.5, .5], [.1, .5], [.9, .5], [.5, .1], [.5, .9]]
          .every(([across, down]) => e.contains(document.elementFromPoint(x + width * across, y + height * down)));
      }).map(e => e.id || e.innerText);
"""
UNSEEN = """
    return [...document.querySelectorAll('.device')].filter(e => {
      const { x, y, width, height } = e.getBoundingClientRect();
      const top = document.elementFromPoint(x + width / 2, y + height / 2);
      return !top || top.closest('#card, #tools');
    }).map(e => e.innerText);
"""
RING = "const s = getComputedStyle(document.activeElement); return [s.outlineStyle, parseFloat(s.outlineWidth)]"
SMALL = """
    return [...document.querySelectorAll('button, input, #card a')].filter(e => e.getClientRects().length)
      .map(e => [e.id || e.innerText, e.getBoundingClientRect()]).filter(([, r]) => r.width < 43.9 || r.height < 43.9)
      .map(([name]) => name);
"""


def shows(page: SharePage, selector: str, text: str) -> bool:
    """Whether the element shows exactly that."""
    return page.text(selector) == text


@pytest.mark.parametrize("tag, language", [("es-MX", "es"), ("pt-BR", "pt"), ("de-DE", "en")])
def test_the_page_speaks_the_visitors_language(phone: SharePage, tag: str, language: str) -> None:
    """Texts, relative times, units and the server's own aliases; for another language English."""
    texts = load_texts()[language]
    phone.language(tag)
    with FakeShare() as share:
        share.share["devices"] = [{"alias": alias} for alias in ("Device 3", "Device", "Device x", "device 3")]
        phone.open(share.link, "waiting")
        assert phone.run("return document.documentElement.lang") == language
        assert phone.text("#state") == texts["waiting_title"]
        names = phone.run("return [...document.querySelectorAll('#devices bdi')].map(e => e.textContent)")
        assert names == [texts["device_number"].format(number=3), texts["device"], "Device x", "device 3"]
        share.position(52.5, 13.4, "Device 3", speed_kmh=48, heading_deg=45)
        wait_until(lambda: phone.text("#motion") != texts["no_position"])
        moving = texts["moving_to"].format(direction=texts["direction_1"], speed="48\u00a0km/h")
        assert phone.text("#motion") == moving
        assert list(phone.markers()) == [names[0]]
        phone.skip(5)
        ago = {"es": "hace ", "pt": "há ", "en": " ago"}[language]
        wait_until(lambda: ago in phone.text("#age"))
        share.send("revoked", {})
        phone.wait_state("revoked")
        assert phone.text("#cover-title") == texts["revoked_title"]


def test_days_are_counted_and_not_named(phone: SharePage) -> None:
    """Rounded days must not be called by name: 34 hours ago may be yesterday or the day before."""
    with FakeShare() as share:
        share.refusal = (404, {"code": "share_not_found"})
        phone.open(share.link, "unknown")
        told = ["1 day ago", "2 days ago", "in 2 days", "in 24 hours", "now"]
        assert phone.module("words.js", DAYS) == told


def test_the_keyboard_alone_is_enough(chromium: object, page: SharePage) -> None:
    """Tab reaches the map, every button and every device, in that order, each with a visible ring."""
    with FakeShare(tiles="") as share:
        share.share["devices"] = [{"alias": "Van 1"}, {"alias": "Van 2"}]
        page.open(share.link, "waiting")
        share.position(52.5, 13.4, "Van 1")
        share.position(52.6, 13.6, "Van 2")
        wait_until(lambda: len(page.markers()) == 2)
        reached = []
        for _ in range(10):
            page.press(TAB)
            reached.append(page.focused())
            style, width = page.run(RING)
            assert (style, width >= 2) == ("solid", True), reached
            if reached[-1] == "map":
                page.press(RIGHT)
                page.wait_text("#follow", "Follow again")
            if reached[-1] == "copy":
                break
        fold = ["fold"] if page.run("return innerWidth") < 768 else []
        rows = [f"Van {number}\nPosition known" for number in (1, 2)]
        assert reached == ["map", "zoom-in", "zoom-out", "fit", "follow", *fold, *rows, "copy"]
        told = "return [...document.querySelectorAll('.device')].map(e => [e.ariaHidden, e.tabIndex, e.role])"
        assert page.run(told) == [["true", -1, None]] * 2
        page.run("document.querySelector('#devices li:nth-child(2) button').focus()")
        page.press(ENTER)
        page.wait_text("#device-name", "Van 2")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_can_be_read_and_touched(phone: SharePage, scheme: str) -> None:
    """WCAG AA contrast and touch targets of 44 pixels, in each of the looks, and with the note of missing tiles."""
    phone.media(prefers_color_scheme=scheme)
    with FakeShare(tiles="broken", silent_seconds=600) as share:
        share.password = "x"
        phone.open(share.link, "password")
        phone.enter_password("y")
        wait_until(lambda: phone.text("#password-error"))
        assert phone.run(CONTRAST) == []
        phone.enter_password("x")
        phone.wait_state("waiting")
        assert phone.run(CONTRAST) == []
        share.position(52.5, 13.4, speed_kmh=48, accuracy_m=9)
        phone.wait_state("live")
        phone.run("document.querySelector('#map').dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowUp'}))")
        wait_until(lambda: phone.text("#map-note"))
        assert phone.run(CONTRAST) == []
        assert phone.run(SMALL) == []
        phone.complaints()
        share.send("revoked", {})
        phone.wait_state("revoked")
        assert phone.run(CONTRAST) == []


@pytest.mark.parametrize("size", [(640, 360, False), (320, 256, False), (320, 568, True)], ids=str)
def test_nothing_covers_a_button_at_any_zoom(phone: SharePage, size: tuple[int, int, bool]) -> None:
    """At 200 % and 400 % each control can be pointed at, and what has the focus is in sight (WCAG 1.4.10, 2.4.11)."""
    phone.size(*size)
    with FakeShare() as share:
        share.share["destination"] = {"lat": 52.5, "lon": 13.5, "radius_m": 100, "name": "Depot"}
        share.share["devices"] = [{"alias": "Van 1"}, {"alias": "Van 2"}, {"alias": "Van 3"}]
        phone.open(share.link, "waiting")
        for number in (1, 2, 3):
            share.position(52.5, 13.4 + number / 100, f"Van {number}", speed_kmh=48, accuracy_m=9)
        wait_until(lambda: len(phone.markers()) == 3)
        phone.run("document.querySelector('#map').dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowUp'}))")
        wait_until(lambda: phone.text("#follow"))
        wait_until(lambda: phone.run(HIDDEN) == [], what=lambda: phone.run(HIDDEN))  # once the buttons have made room
        phone.click("#fit")
        phone.run("scrollTo(0, 0)")
        wait_until(lambda: phone.run(UNSEEN) == [], what=lambda: phone.run(UNSEEN))


@pytest.mark.parametrize("size", [(320, 568, True), (568, 320, True), DESKTOP])
def test_it_fits_every_screen(phone: SharePage, size: tuple[int, int, bool]) -> None:
    """From 320 pixels on nothing is cut off at the side, and the map keeps room beside the card."""
    phone.size(*size)
    with FakeShare() as share:
        share.share["label"] = "A_label_without_any_space_that_is_as_long_as_a_label_can_be_" + "x" * 20
        share.share["devices"] = [{"alias": "W" * 40}, {"alias": "Van 2"}]
        phone.open(share.link, "waiting")
        share.position(52.5, 13.4, "W" * 40, speed_kmh=48, heading_deg=45)
        phone.wait_state("live")
        wide = (
            "return [...document.querySelectorAll('#card *')].filter(e => e.getBoundingClientRect().right > innerWidth)"
        )
        assert phone.run(f"{wide}.map(e => e.id)") == []
        box = phone.run("const r = document.querySelector('#card').getBoundingClientRect(); return [r.width, r.height]")
        assert box[0] < size[0] - 200 or box[1] <= size[1] * 0.71


def test_the_state_is_spoken_but_not_each_second(phone: SharePage) -> None:
    """One polite region: it announces a change of state, and not the movement between."""
    with FakeShare() as share:
        phone.open(share.link, "waiting")
        phone.run(
            "window.told = [];"
            "new MutationObserver(() => told.push(document.querySelector('#announce').textContent))"
            ".observe(document.querySelector('#announce'), {childList: true, characterData: true, subtree: true})"
        )
        for number in range(4):
            share.position(52.5 + number / 1000, 13.4, speed_kmh=20 + number, heading_deg=0)
            wanted = f"Moving north at {20 + number}\u00a0km/h"
            wait_until(partial(shows, phone, "#motion", wanted))
        share.send("upstream", {"state": "down"})
        phone.wait_state("upstream")
        told = phone.run("return told")
        assert told[0] == "Live. Van 1: Moving north at 20\u00a0km/h"
        assert told[1].startswith("Out of contact. The service has lost contact")
        assert len(told) == 2
        assert phone.run("return document.querySelectorAll('[aria-live]').length") == 1
        headings = (
            "return [...document.querySelectorAll('h1, h2')].filter(e => e.getClientRects().length).map(e => e.tagName)"
        )
        assert phone.run(headings)[0] == "H1"
        assert phone.run(headings).count("H1") == 1


def test_less_motion_means_none(phone: SharePage) -> None:
    """For those who ask for it nothing is animated: no pulse, no gliding map."""
    phone.media(prefers_reduced_motion="reduce")
    with FakeShare() as share:
        phone.open(share.link, "waiting")
        share.position(52.5, 13.4)
        phone.wait_state("live")
        wait_until(phone.markers)
        share.position(52.5005, 13.4)
        phone.wait_text("#coordinates", "52.50050, 13.40000")
        moving = "document.querySelectorAll('.leaflet-zoom-anim, .leaflet-pan-anim')"
        assert phone.run(f"return [document.getAnimations().length, {moving}.length]") == [0, 0]


def test_the_focus_does_not_fall_off_the_page(phone: SharePage) -> None:
    """When what has it goes, the new heading has it, so that a screen reader and the keyboard go on from there."""
    with FakeShare() as share:
        share.password = "x"
        phone.open(share.link, "password")
        assert phone.focused() == "password"
        phone.enter_password("x")
        phone.wait_state("waiting")
        wait_until(lambda: phone.focused() == "title", what=phone.focused)
        share.position(52.5, 13.4)
        wait_until(lambda: phone.text("#copy"))
        phone.run("document.querySelector('#copy').focus()")
        share.send("revoked", {})
        phone.wait_state("revoked")
        assert phone.focused() == "cover-title"


def test_without_scripts_the_page_says_so(phone: SharePage) -> None:
    """And does not claim to be opening anything."""
    texts = load_texts()["en"]
    phone.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        with FakeShare() as share:
            phone.driver.get(share.link)
            told = [texts["noscript_title"], texts["noscript"]]
            wait_until(
                lambda: read_aloud(phone) == told, what=lambda: read_aloud(phone)
            )  # the style sheets may be late
    finally:
        phone.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def read_aloud(page: SharePage) -> list[str]:
    """What a screen reader finds, scripts or not."""
    nodes = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    return [node["name"]["value"] for node in nodes if node.get("role", {}).get("value") == "StaticText"]
