"""``examples/websocket_client_example.html`` in Chromium, as a person opens it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from tests.environment import ROOT, environment, find_program
from tests.mosquitto import MosquittoServer
from tests.real.conftest import need
from tests.serving import Process, StartServing, make_token
from tests.waiting import wait_until

PAGE = (ROOT / "examples" / "websocket_client_example.html").as_uri()
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
WIDTHS = {"phone": (360, 740, True), "desktop": (1280, 800, False)}
GONE = ("ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_SOCKET_NOT_CONNECTED", "before receiving a handshake")
"""What Chromium says of a server that has gone, or goes at that moment."""
HOSTILE = [
    '<img src=x onerror="pwned=1">',
    "<script>pwned=1",
    "__proto__",
    "javascript:pwned=1",
    "a&lt;b'\"`${1}",
]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """A browser with an empty profile."""
    need("chromium", "chromedriver")
    options = ChromeOptions()
    options.binary_location = str(find_program("chromium"))
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options, Service(str(find_program("chromedriver")), env=environment()))
    yield driver
    driver.quit()


@pytest.fixture(params=list(WIDTHS.values()), ids=list(WIDTHS))
def browser(chromium: Chrome, request: pytest.FixtureRequest) -> Iterator[Chrome]:
    """The same at the width of a phone and of a desktop; the page must have logged no error when the test ends."""
    width, height, mobile = request.param
    metrics = {"width": width, "height": height, "deviceScaleFactor": 2 if mobile else 1, "mobile": mobile}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    yield chromium
    wide = script(chromium, "const e = document.documentElement; return e.scrollWidth - e.clientWidth")
    chromium.get("about:blank")
    entries = chromium.get_log("browser")  # type: ignore[no-untyped-call]
    logged = [entry["message"] for entry in entries if entry["level"] == "SEVERE"]
    logged = [message for message in logged if not any(part in message for part in GONE)]
    assert logged == []
    assert wide == 0, "the page scrolls sideways"


def script(driver: Chrome, text: str) -> object:
    """Run JavaScript in the page."""
    return driver.execute_script(text)


def text(driver: Chrome, selector: str) -> str:
    """What the first element that fits shows."""
    return str(script(driver, f"return document.querySelector({json.dumps(selector)}).textContent"))


def table(driver: Chrome) -> dict[str, list[str]]:
    """The table's rows by device: speed, heading, latitude, longitude, messages."""
    cells = "[...document.querySelectorAll('#rows tr')].map(row => [...row.cells].map(cell => cell.textContent))"
    rows = script(driver, f"return {cells}")
    assert isinstance(rows, list)
    return {row[0]: row[2:] for row in rows}


def open_page(driver: Chrome, port: int, token: str) -> None:
    """With address and token in the fragment, as the demo prints it."""
    driver.get("about:blank")
    driver.get(f"{PAGE}#url=ws://127.0.0.1:{port}&token={token}")
    wait_until(lambda: text(driver, "#state") == "live", what=lambda: text(driver, "#state"))


def test_the_demo_moves_on_the_page(browser: Chrome, tmp_path: Path) -> None:
    """Every vehicle has a row, positions change, something is drawn, and the token is gone from the address bar."""
    with Process(tmp_path, "demo", "--port", "0", "--vehicles", "5", "--rate", "5") as demo:
        port = int(demo.wait_for(r"ws://127\.0\.0\.1:(\d+)/api")[1])
        token = demo.wait_for(r"TELEMETRY_BRIDGE_TOKEN=(v4\.local\.\S+)")[1]
        open_page(browser, port, token)
        assert browser.current_url == PAGE
        assert token not in str(script(browser, "return document.documentElement.outerHTML"))
        wait_until(lambda: len(table(browser)) == 5)
        first = table(browser)
        assert set(first) == {f"truck-00{number}" for number in range(1, 6)}
        wait_until(lambda: sum(row[2:4] != first[name][2:4] for name, row in table(browser).items()) >= 2)
        wait_until(lambda: all(int(row[-1]) > int(first[name][-1]) + 3 for name, row in table(browser).items()))
        pixels = "c.getContext('2d').getImageData(0, 0, c.width, c.height).data"
        painted = f"const c = document.getElementById('plot'); return {pixels}.some(value => value > 0)"
        wait_until(lambda: script(browser, painted))
        wait_until(lambda: text(browser, "#rate") not in ("", "0"))
        assert demo.end() == 0
        wait_until(lambda: "reconnecting" in text(browser, "#state"))


def test_what_a_device_says_stays_text(
    browser: Chrome, mosquitto: MosquittoServer, start_serving: StartServing
) -> None:
    """Names and payloads full of markup: shown as they are, and nothing of them runs."""
    serving = start_serving(mqtt_url=mosquitto.url(), allowed_origins="null")
    serving.wait_ready()
    for name in HOSTILE:
        payload = {"data": {"DEVICE_ID": name, "LAT": 1, "LON": 2, "NOTE": "<svg onload=pwned=1>\u202e"}}
        mosquitto.publish("fleet/x", json.dumps(payload), retain=False)
    wait_until(lambda: serving.stats()["mqtt"]["received"] == len(HOSTILE))
    assert serving.stats()["mqtt"]["refused"] == {}
    open_page(browser, serving.port, make_token())
    wait_until(lambda: set(table(browser)) == set(HOSTILE), what=lambda: table(browser))
    wait_until(lambda: "<svg onload=pwned=1>" in text(browser, "#raw"))
    assert "\u202e" not in text(browser, "#raw")
    assert script(browser, "return typeof pwned") == "undefined"
    assert script(browser, "return document.querySelectorAll('img, svg, #rows script').length") == 0


def test_the_page_tells_of_the_mqtt_broker_and_of_a_bad_token(
    browser: Chrome, mosquitto: MosquittoServer, start_serving: StartServing
) -> None:
    """A banner while the MQTT broker is away, and the server's words where the token is refused."""
    serving = start_serving(mqtt_url=mosquitto.url(), allowed_origins="null")
    serving.wait_ready()
    open_page(browser, serving.port, make_token())
    hidden = "return document.getElementById('upstream').hidden"
    mosquitto.kill()
    wait_until(lambda: script(browser, hidden) is False)
    mosquitto.start()
    wait_until(lambda: script(browser, hidden) is True)
    browser.get("about:blank")
    browser.get(f"{PAGE}#url=ws://127.0.0.1:{serving.port}&token=v4.local.nonsense")
    wait_until(lambda: "token_invalid" in text(browser, "#state"), what=lambda: text(browser, "#state"))
