"""Test helpers: a dashboard in its own process, and a headless Chromium that opens its pages."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import pytest

ROOT = Path(__file__).resolve().parents[3]
TOKEN = "a-token-of-the-tests"
PATIENCE_S = 60.0
"""Maximum time to wait for a page."""
DEMAND = "SWEEPS_DEMAND_BROWSER"
"""If this environment variable is set, a missing browser fails the tests instead of skipping them."""
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


class Served(NamedTuple):
    """A running dashboard."""

    address: str
    """Without a final slash."""
    pid: int


def programs() -> tuple[str, str]:
    """Paths of Chromium and its driver; skips the test if one is missing."""
    browser = next((found for name in _BROWSERS if (found := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        missing = "chromium" if browser is None else "chromedriver"
        why = f"no {missing} on this machine: apt install chromium chromium-driver"
        if os.environ.get(DEMAND):
            pytest.fail(why, pytrace=False)
        pytest.skip(why)
    return browser, driver


@contextmanager
def dashboard(store: str, *options: str, host: str = "127.0.0.1") -> Iterator[Served]:
    """A running dashboard on a store."""
    command = [sys.executable, "-m", "sweeps.cli", "dashboard", "--store", store, "--port", "0", "--host", host]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*command, *options], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert process.stdout is not None
        output = ""
        for line in process.stdout:
            output += line
            if match := re.search(r"dashboard +(http://[^/]+)/", line):
                yield Served(match[1], process.pid)
                break
        else:
            raise AssertionError(f"the dashboard did not start:\n{output}")
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_S)


@contextmanager
def chromium(folder: Path) -> Iterator[Any]:
    """A headless browser. folder: for its user data."""
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    browser, driver = programs()
    options = Options()
    options.binary_location = browser
    arguments = ["--headless=new", "--disable-dev-shm-usage", "--disable-gpu", "--window-size=1300,1000"]
    arguments += ["--no-sandbox"] if os.geteuid() == 0 else []
    for argument in [*arguments, f"--user-data-dir={folder}"]:
        options.add_argument(argument)
    found = webdriver.Chrome(options, Service(driver))
    try:
        yield found
    finally:
        found.quit()


class Reader:
    """A browser on a dashboard: opens pages, reads their text, clicks buttons by their labels."""

    def __init__(self, browser: Any, address: str) -> None:
        self.browser, self.address = browser, address

    def open(self, page: str = "", **asked: str) -> str:
        """Open a page, wait until it has been drawn, and return its text."""
        query = urlencode({**asked, "token": TOKEN}, quote_via=quote)
        self.browser.get(f"{self.address}/{page}?{query}")
        self.until(lambda: self.state() == "notRunning" and self.text() != "")
        return self.text()

    def shows(self, words: str, page: str = "", **asked: str) -> None:
        """Open a page and wait until it shows this text; some parts are drawn after the rest."""
        self.open(page, **asked)
        self.says(words)

    def state(self) -> str:
        code = "return document.querySelector('[data-testid=stApp]')?.getAttribute('data-test-script-state')"
        return str(self.browser.execute_script(code))

    def text(self) -> str:
        """Text of the page and of an open dialog."""
        code = "return [...document.querySelectorAll('[data-testid=stMain], [role=dialog]')].map(e => e.innerText)"
        return "\n".join(self.browser.execute_script(code))

    def cells(self) -> str:
        """Text of the page's tables, from the accessible tables that accompany their canvases."""
        code = "return [...document.querySelectorAll('canvas table td')].map(e => e.innerText || e.textContent)"
        return "\n".join(self.browser.execute_script(code))

    def says(self, words: str) -> None:
        """Wait until the page shows this text."""
        self.until(lambda: words in self.text(), f"{words!r} in:")

    def press(self, label: str) -> None:
        """Click the last enabled button with this label; a dialog's buttons come last."""
        self.until(lambda: self._button(label) is not None, f"an enabled button {label!r} in:")
        self.browser.execute_script("arguments[0].click()", self._button(label))

    def unfold(self, label: str) -> None:
        """Open the expander with this label."""
        self._click("summary", label)

    def follow(self, label: str) -> None:
        """Click the link with this label on the page itself, not in its menu."""
        self._click("[data-testid=stMain] a", label)

    def _click(self, selector: str, label: str) -> None:
        code = (
            "return [...document.querySelectorAll(arguments[0])]"
            ".find(element => element.innerText.trim().endsWith(arguments[1]))"
        )

        def found() -> Any:
            return self.browser.execute_script(code, selector, label)

        self.until(lambda: found() is not None, f"{selector} {label!r} in:")
        self.browser.execute_script("arguments[0].click()", found())

    def write(self, label: str, text: str) -> None:
        """Type a text into the field with this label."""
        self.element(f"input[aria-label='{label}']").send_keys(text)

    def element(self, selector: str) -> Any:
        """Wait for a visible element with this CSS selector."""

        def there() -> bool:
            found = self.browser.find_elements("css selector", selector)
            return bool(found) and found[0].size["height"] > 0

        self.until(there, f"{selector} in:")
        return self.browser.find_element("css selector", selector)

    def within_shadow(self, selector: str) -> Any:
        """Wait for a visible element inside a component's shadow DOM."""
        code = (
            "return [...document.querySelectorAll('[data-testid=stMain] *')].filter(e => e.shadowRoot)"
            ".map(e => e.shadowRoot.querySelector(arguments[0])).find(e => e && e.getBoundingClientRect().height > 0)"
        )
        self.until(lambda: self.browser.execute_script(code, selector) is not None, f"{selector} in:")
        return self.browser.execute_script(code, selector)

    def _button(self, label: str) -> Any:
        code = (
            "return [...document.querySelectorAll('[data-testid=stMain] button, [role=dialog] button')]"
            ".filter(b => b.innerText.trim().endsWith(arguments[0]) && !b.disabled).pop()"
        )
        return self.browser.execute_script(code, label)

    def until(self, met: Callable[[], bool], what: str = "") -> None:
        """Wait until a condition is met. what: description for the error after PATIENCE_S."""
        deadline = time.monotonic() + PATIENCE_S
        while not met():
            if time.monotonic() > deadline:
                raise AssertionError(f"waited for {what}\n{self.browser.current_url}\n{self.text()}")
            time.sleep(0.1)
