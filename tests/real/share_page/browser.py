"""Chromium, as a person with a link holds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions, Keys
from selenium.webdriver.chrome.service import Service

from tests.environment import environment, find_program
from tests.waiting import DEADLINE_SECONDS

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
PHONE = (390, 844, True)
DESKTOP = (1280, 800, False)
CLOCK = """
    (() => {
      let ahead = 0, fixed = null, stands = null, held = 0;
      const wall = Date.now.bind(Date), steady = performance.now.bind(performance), random = Math.random;
      const later = window.setTimeout.bind(window), never = window.clearTimeout.bind(window);
      const every = window.setInterval.bind(window), due = new Map(), ticks = [];
      Date.now = () => (stands?.wall ?? wall()) + ahead;
      performance.now = () => (stands?.steady ?? steady()) + ahead;
      Math.random = () => fixed ?? random();
      window.setTimeout = (work, wait = 0, ...values) => {
        const run = () => { due.delete(id); work(...values); };
        const id = stands && wait >= 500 ? held -= 1 : later(run, wait);
        due.set(id, { at: performance.now() + wait, wait, work, values });
        return id;
      };
      window.clearTimeout = (id) => { due.delete(id); never(id); };
      window.setInterval = (work, wait) => { ticks.push(work); return every(work, wait); };
      window.stand = () => {
        stands = { wall: wall(), steady: steady() };
        for (const [id, { wait }] of due) if (wait >= 500) never(id);
      };
      window.chance = (value) => { fixed = value; };
      window.skip = (seconds) => {
        ahead += seconds * 1000;
        for (const [id, { at, work, values }] of [...due].sort(([, a], [, b]) => a.at - b.at)) {
          if (at <= performance.now() && due.has(id)) { clearTimeout(id); work(...values); }
        }
        for (const work of ticks) work();
      };
    })();
"""
"""A page's clock that a test may put forward; what is due then runs at once, and each interval once.

From ``stand()`` on it goes only then, and waits of half a second or more end only then: no retry and no age comes from
a machine that is held up. What is shorter are frames, and the page draws on.
"""
DRAWN = """
    document.querySelector('#live').hidden || !document.querySelector('#tools').hidden
      || !document.querySelector('#map-note').hidden
"""
"""The map, where there is to be one, is there or has failed."""


def start_chromium(profile: Path) -> Chrome:
    """A British browser with an empty profile, and with ``CLOCK`` in each page."""
    options = ChromeOptions()
    options.binary_location = str(find_program("chromium"))
    for flag in (*FLAGS, f"--user-data-dir={profile}", "--lang=en-GB", "--accept-lang=en-GB"):
        options.add_argument(flag)
    options.page_load_strategy = "eager"
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options, Service(str(find_program("chromedriver")), env=environment()))
    driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": CLOCK})
    driver.set_script_timeout(2 * DEADLINE_SECONDS)
    return driver


class SharePage:
    """The page in a browser: what it shows, and what a visitor does with it."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver
        self._foreign = False

    def size(self, width: int, height: int, mobile: bool) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def media(self, **features: str) -> None:
        """For example ``prefers_color_scheme="dark"``."""
        listed = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": listed})

    def language(self, tag: str) -> None:
        """Ask for pages in a language, until the page is left."""
        agent = {"userAgent": self.run("return navigator.userAgent"), "acceptLanguage": tag}
        self.driver.execute_cdp_cmd("Emulation.setUserAgentOverride", agent)
        self._foreign = True

    def leave(self) -> None:
        """Close the page, so that it does not come back to the next server."""
        if self._foreign:
            self.language("en-GB")
        self._foreign = False
        self.driver.get("about:blank")

    def skip(self, seconds: float) -> None:
        """Put the page's clock forward."""
        self.run("skip(arguments[0])", seconds)

    def stand(self) -> None:
        """From now on the page's clock goes only by ``skip``."""
        self.run("stand()")

    def chance(self, value: float) -> None:
        """From now on every random number is this one."""
        self.run("chance(arguments[0])", value)

    def module(self, name: str, script: str) -> Any:
        """What ``script``, the body of an async function, makes of the module ``it`` of the page."""
        return self.driver.execute_async_script(
            f"const done = arguments[0], base = document.querySelector('script[type=module]').src;"
            f"import(base.replace('page.js', '{name}')).then(async (it) => {{ {script} }}).then(done);"
        )

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

    def wait_state(self, *states: str, seconds: float = DEADLINE_SECONDS) -> None:
        """Wait until the page has one of these states, and is ``DRAWN``."""
        if not self._wait(f"({DRAWN}) && document.body.dataset.state", states, seconds):
            raise AssertionError(f"not {' or '.join(states)} within {seconds:g} s but {self.state}: {self.words}")

    def wait_text(self, selector: str, text: str) -> None:
        """Wait until the first element that fits shows exactly that."""
        if not self._wait(f"document.querySelector({selector!r}).innerText", (text,), DEADLINE_SECONDS):
            raise AssertionError(f"{self.text(selector)!r}, not {text!r}")

    def _wait(self, expression: str, values: tuple[str, ...], seconds: float) -> bool:
        # In the page: each question from outside takes the browser as long as several of its frames.
        script = f"""
            const [values, seconds, done] = arguments, clock = () => document.timeline.currentTime, began = clock();
            const look = () => {{
              const found = values.includes({expression});
              if (found || clock() - began > seconds * 1000) done(found); else requestAnimationFrame(look);
            }};
            look();
        """
        return bool(self.driver.execute_async_script(script, values, seconds))

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

    def trails(self) -> list[int]:
        """How many lines each device's trail has."""
        drawn = self.run("return [...document.querySelectorAll('.trail')].map(e => e.getAttribute('d'))")
        return [path.count("L") for path in drawn]

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
