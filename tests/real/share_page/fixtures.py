"""What the tests of the page share: one Chromium, and a page whose console must stay silent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome

from tests.real.conftest import need
from tests.real.share_page.browser import DESKTOP, PHONE, SharePage, start_chromium

EXPECTED = (
    "/share-location/init - Failed to load resource", "ERR_CONNECTION_REFUSED", "ERR_SOCKET_NOT_CONNECTED",
    "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE", "WebSocket connection to",
)  # fmt: skip
"""What Chromium itself writes about answers of 400 and above, and about a server that is away or has just gone."""


BROWSER = pytest.StashKey[Chrome]()


@pytest.fixture(scope="module")
def chromium(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Chrome:
    """A British browser: one for all files, since it takes longer to start than most tests to run."""
    stash = request.config.stash
    if BROWSER not in stash:
        need("chromium", "chromedriver")
        stash[BROWSER] = start_chromium(tmp_path_factory.mktemp("chromium"))
        request.config.add_cleanup(stash[BROWSER].quit)
    return stash[BROWSER]


@pytest.fixture(params=[PHONE, DESKTOP], ids=["phone", "desktop"])
def page(chromium: Chrome, request: pytest.FixtureRequest) -> Iterator[SharePage]:
    """On a phone and on a desktop. In the end: nothing scrolls sideways, and the console holds no complaint."""
    yield from watched(chromium, *request.param)


@pytest.fixture
def phone(chromium: Chrome) -> Iterator[SharePage]:
    """The same on a phone only, for what does not depend on the width."""
    yield from watched(chromium, *PHONE)


def watched(chromium: Chrome, width: int, height: int, mobile: bool) -> Iterator[SharePage]:
    """A page of that size; when the test has ended it must have violated no policy and logged no error."""
    shown = SharePage(chromium)
    shown.size(width, height, mobile)
    shown.media()
    shown.complaints()
    yield shown
    wide = shown.run("const e = document.documentElement; return e.scrollWidth - e.clientWidth")
    complaints = shown.complaints()
    shown.leave()
    unexpected = [line for line in complaints if not any(part in line for part in EXPECTED)]
    assert not unexpected, unexpected
    assert wide == 0, "the page scrolls sideways"
