"""Chromium, as a person with a link holds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions, Keys
from selenium.webdriver.chrome.service import Service

from tests.mosquitto import find_program
from tests.waiting import wait_until

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
PHONE = (390, 844, True)
DESKTOP = (1280, 800, False)


def start_chromium(profile: Path, language: str = "en-GB") -> Chrome:
    """A browser with an empty profile that asks for pages in ``language``."""
    options = ChromeOptions()
    options.binary_location = str(find_program("chromium"))
    for flag in (*FLAGS, f"--user-data-dir={profile}", f"--lang={language}", f"--accept-lang={language}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return Chrome(options, Service(str(find_program("chromedriver"))))


class SharePage:
    """The page in a browser: what it shows, and what a visitor does with it."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def size(self, width: int, height: int, mobile: bool) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 2 if mobile else 1, "mobile": mobile}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def media(self, **features: str) -> None:
        """For example ``prefers_color_scheme="dark"``."""
        listed = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": listed})

    def open(self, link: str, state: str = "") -> None:
        """Open the link, and wait for a state of the page when one is given."""
        self.driver.get(link)
        if state:
            self.wait_state(state)

    def run(self, script: str, *arguments: object) -> Any:
        """Run JavaScript in the page."""
        return self.driver.execute_script(script, *arguments)

    @property
    def state(self) -> str:
        return str(self.run("return document.body.dataset.state || ''"))

    def wait_state(self, *states: str, seconds: float = 15.0) -> None:
        wait_until(lambda: self.state in states, seconds, what=lambda: f"{self.state}: {self.words}")

    @property
    def words(self) -> str:
        """All that can be read."""
        return str(self.run("return document.body.innerText"))

    def text(self, selector: str) -> str:
        """What the first element that fits shows; empty when it is hidden."""
        script = "const e = document.querySelector(arguments[0]); return e.getClientRects().length ? e.innerText : ''"
        return str(self.run(script, selector))

    def markers(self) -> dict[str, dict[str, Any]]:
        """Each drawn device by its name (empty when there is one): place on the screen, sign, turn, staleness."""
        found = self.run(
            "return [...document.querySelectorAll('.device')].map(e => { const r = e.getBoundingClientRect(); return ["
            "e.querySelector('bdi').textContent, {x: r.x + r.width / 2, y: r.y + r.height / 2, sign: e.dataset.sign,"
            "stale: e.dataset.stale === 'true', turn: e.querySelector('svg').style.transform}]; })"
        )
        return dict(found)

    def off_middle(self) -> float:
        """How many pixels the only marker is away from the middle of what the card leaves free of the map."""
        script = """
            const { right, height, width } = document.querySelector('#card').getBoundingClientRect();
            const sheet = width === innerWidth, marker = arguments[0];
            return Math.hypot(marker.x - (sheet ? innerWidth / 2 : (right + innerWidth) / 2),
                              marker.y - (sheet ? innerHeight - height : innerHeight) / 2);
        """
        return float(self.run(script, self.markers()[""]))

    def trail(self) -> str:
        """The drawn line's path, in the map's own pixels."""
        return str(self.run("return document.querySelector('.trail')?.getAttribute('d') || ''"))

    def click(self, selector: str) -> None:
        self.driver.find_element("css selector", selector).click()

    def press(self, *keys: str) -> None:
        """Keys, to what has the focus."""
        self.driver.switch_to.active_element.send_keys(*keys)

    def focused(self) -> str:
        """The id of what has the focus, else its label."""
        return str(
            self.run("const e = document.activeElement; return e.id || e.getAttribute('aria-label') || e.innerText")
        )

    def enter_password(self, password: str) -> None:
        field = self.driver.find_element("css selector", "#password")
        field.clear()
        field.send_keys(password, Keys.ENTER)

    def stored(self) -> str:
        """All that the page left in the browser, and where it is."""
        return str(
            self.run("return JSON.stringify([location.href, document.cookie, {...localStorage}, {...sessionStorage}])")
        )

    def hide(self, hidden: bool) -> None:
        """As if another tab were in front."""
        self.run(
            "Object.defineProperty(document, 'hidden', {value: arguments[0], configurable: true});"
            "document.dispatchEvent(new Event('visibilitychange'))",
            hidden,
        )

    def complaints(self) -> list[str]:
        """What the console says since the last time: warnings and errors."""
        entries = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [entry["message"] for entry in entries if entry["level"] in ("SEVERE", "WARNING")]
