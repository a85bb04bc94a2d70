"""What the tests of the page share: one Chromium for a file, and a page whose console must stay silent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome

from tests.real.conftest import need
from tests.real.share_page.browser import DESKTOP, PHONE, SharePage, start_chromium

EXPECTED = ("/share-location/init - Failed to load resource", "ERR_CONNECTION_REFUSED", "WebSocket connection to")
"""What Chromium itself writes about answers of 400 and above, and about a server that is away."""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """A British browser with an empty profile."""
    need("chromium", "chromedriver")
    driver = start_chromium(tmp_path_factory.mktemp("chromium"))
    yield driver
    driver.quit()


@pytest.fixture(params=[PHONE, DESKTOP], ids=["phone", "desktop"])
def page(chromium: Chrome, request: pytest.FixtureRequest) -> Iterator[SharePage]:
    """On a phone and on a desktop. In the end: nothing scrolls sideways, and the console holds no complaint."""
    yield from watched(chromium, *request.param)


@pytest.fixture
def phone(chromium: Chrome) -> Iterator[SharePage]:
    """The same on a phone only, for what does not depend on the width."""
    yield from watched(chromium, *PHONE)


def watched(chromium: Chrome, width: int, height: int, mobile: bool) -> Iterator[SharePage]:
    """A page of that size; when the test is over it must have violated no policy and logged no error."""
    shown = SharePage(chromium)
    shown.size(width, height, mobile)
    shown.media()
    shown.complaints()
    yield shown
    wide = shown.run("const e = document.documentElement; return e.scrollWidth - e.clientWidth")
    complaints = shown.complaints()
    chromium.get("about:blank")
    assert [line for line in complaints if not any(part in line for part in EXPECTED)] == []
    assert wide == 0, "the page scrolls sideways"
