"""The page of a share for those who read another language, use the keyboard, listen, or hold a small phone."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from share.page import load_texts
from tests.real.conftest import need
from tests.real.share_page.browser import DESKTOP, PHONE, SharePage, start_chromium
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
def test_the_page_speaks_the_visitors_language(tmp_path: Path, tag: str, language: str) -> None:
    """Texts, relative times and units; for another language English."""
    need("chromium", "chromedriver")
    texts = load_texts()[language]
    driver = start_chromium(tmp_path, tag)
    try:
        shown = SharePage(driver)
        shown.size(*PHONE)
        with FakeShare() as share:
            shown.open(share.link, "waiting")
            assert shown.run("return document.documentElement.lang") == language
            assert shown.text("#state") == texts["waiting_title"]
            share.position(52.5, 13.4, speed_kmh=48, heading_deg=45)
            wait_until(lambda: shown.text("#motion") != texts["no_position"])
            moving = texts["moving_to"].format(direction=texts["direction_1"], speed="48\u00a0km/h")
            assert shown.text("#motion") == moving
            ago = {"es": "hace ", "pt": "há ", "en": " ago"}[language]
            wait_until(lambda: ago in shown.text("#age"))
            share.send("revoked", {})
            shown.wait_state("revoked")
            assert shown.text("#cover-title") == texts["revoked_title"]
    finally:
        driver.quit()


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
                wait_until(lambda: page.text("#follow") == "Follow again")
            if reached[-1] == "copy":
                break
        wanted = ["map", "Van 1", "Van 2", "zoom-in", "zoom-out", "fit", "follow"]
        fold = ["fold"] if page.run("return innerWidth") < 768 else []
        rows = [name for name in reached if name.startswith("Van") and "\n" in name]
        assert [name for name in reached if name not in rows] == [*wanted, *fold, "copy"][: len(reached) - len(rows)]
        page.run("document.querySelector('#devices li:nth-child(2) button').focus()")
        page.press(ENTER)
        wait_until(lambda: page.text("#device-name") == "Van 2")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_can_be_read_and_touched(page: SharePage, scheme: str) -> None:
    """WCAG AA contrast and touch targets of 44 pixels, in each of the looks, and with the note of missing tiles."""
    page.media(prefers_color_scheme=scheme)
    with FakeShare(tiles="broken", silent_seconds=600) as share:
        share.password = "x"
        page.open(share.link, "password")
        page.enter_password("y")
        wait_until(lambda: page.text("#password-error"))
        assert page.run(CONTRAST) == []
        page.enter_password("x")
        page.wait_state("waiting")
        assert page.run(CONTRAST) == []
        share.position(52.5, 13.4, speed_kmh=48, accuracy_m=9)
        page.wait_state("live")
        page.run("document.querySelector('#map').dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowUp'}))")
        wait_until(lambda: page.text("#map-note"))
        assert page.run(CONTRAST) == []
        assert page.run(SMALL) == []
        page.complaints()
        share.send("revoked", {})
        page.wait_state("revoked")
        assert page.run(CONTRAST) == []


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
    """One polite region: a change of state is told, the movement between is not."""
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
        wait_until(lambda: phone.text("#coordinates") == "52.50050, 13.40000")
        moving = "document.querySelectorAll('.leaflet-zoom-anim, .leaflet-pan-anim')"
        assert phone.run(f"return [document.getAnimations().length, {moving}.length]") == [0, 0]
