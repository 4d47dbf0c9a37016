"""Debian's Chromium at the pages of the server, which says what it asked of whom and what it complained of."""

import json
import shutil
import time
from collections.abc import Callable
from typing import Any

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

PATIENCE = 15.0  # seconds until something that must come has come
ASKED = ("requestWillBeSent", "loadingFailed")
WORDS = (
    *("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--lang=en"),
)


def chromium(
    *, width: int = 1280, high: int = 900, dark: bool = False, words: tuple[str, ...] = ()
) -> webdriver.Chrome:
    """Return a browser with a window of this width, started with more ``words``; skip where there is none."""
    places = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    if not all(places.values()):
        pytest.skip("no Chromium here: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = str(places["chromium"])
    for word in (*WORDS, *words, f"--blink-settings=preferredColorScheme={'0' if dark else '1'}"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(str(places["chromedriver"])))
    resize(driver, width, high)
    return driver


def resize(driver: webdriver.Chrome, width: int, high: int = 900) -> None:
    """Make the screen this wide, also narrower than a window can be."""
    metrics = {"width": width, "height": high, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def is_seen(element: WebElement) -> bool:
    """Return whether an element is on the screen; one that was replaced meanwhile is not."""
    try:
        return element.is_displayed()
    except StaleElementReferenceException:
        return False


class PageVisitor:
    """Somebody at the pages; ``complaints`` and ``requested`` are of all that was opened since they were last asked."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver, self.url = driver, url
        driver.get("about:blank")  # a page that is open still asks a server that is gone
        self.complaints()
        self.requested()

    def open(self, path: str) -> None:
        """Open a page."""
        self.driver.get(self.url + path)

    def all(self, selector: str) -> list[WebElement]:
        """Return all elements that a selector means."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        """Return the first element that a selector means, once it is on the screen."""
        return self.wait(lambda: next((found for found in self.all(selector) if is_seen(found)), None), selector)

    def wait(self, found: Callable[[], Any], what: str = "", seconds: float = PATIENCE) -> Any:
        """Return what a function returns as soon as it is true."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if result := found():
                return result
            time.sleep(0.03)
        body = self.driver.find_element(By.TAG_NAME, "body").text
        raise AssertionError(f"waited for {what}; {self.complaints()}; the page says: {body[:1000]}")

    def wait_for_text(self, selector: str, text: str) -> None:
        """Wait until an element says something."""
        script = (
            "return [...document.querySelectorAll(arguments[0])].some((one) => one.innerText.includes(arguments[1]))"
        )
        self.wait(lambda: self.run(script, selector, text), f"{text!r} in {selector}")

    def run(self, script: str, *values: Any) -> Any:
        """Run a script in the page and return its result."""
        return self.driver.execute_script(script, *values)

    def complaints(self) -> list[str]:
        """Return errors of scripts and what the page's policy forbids."""
        entries = self.driver.get_log("browser")
        return [one["message"] for one in entries if one["level"] in ("SEVERE", "WARNING")]

    def requested(self, but: str = "") -> list[str]:
        """Return the addresses of all requests, without those that the browser kept back and those of one type."""
        messages = [json.loads(one["message"])["message"] for one in self.driver.get_log("performance")]
        told = {kind: [one["params"] for one in messages if one["method"] == f"Network.{kind}"] for kind in ASKED}
        kept = {one["requestId"] for one in told["loadingFailed"] if one.get("blockedReason")}
        sent = [
            one["request"]["url"]
            for one in told["requestWillBeSent"]
            if one["requestId"] not in kept and one["type"] != but
        ]
        return [url for url in sent if not url.startswith(("data:", "chrome:", "chrome-extension:"))]

    def too_wide(self) -> int:
        """Return by how many pixels the page is wider than the screen."""
        return int(self.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth"))
