"""A rater at the page for raters: Debian's Chromium, driven by keys alone."""

import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

PROGRAMS = ("chromium", "chromedriver")
PATIENCE = 20.0  # seconds until something that must come has come


def chromium(downloads: Path, *, width: int = 1200, dark: bool = False) -> webdriver.Chrome:
    """Return a browser that saves files to a folder; skip where there is none."""
    places = {name: shutil.which(name) for name in PROGRAMS}
    if not all(places.values()):
        pytest.skip("no Chromium here: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = str(places["chromium"])
    words = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-first-run"]
    words += ["--disable-background-networking", "--blink-settings=preferredColorScheme=" + ("0" if dark else "1")]
    for word in (*words, f"--window-size={max(width, 500)},1000"):
        options.add_argument(word)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(str(places["chromedriver"])))
    # A window cannot be narrower than 500: a telephone's screen is made up.
    metrics = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    return driver


class RaterAtPage:
    """One rater; whatever is typed goes to what has the focus."""

    def __init__(self, driver: webdriver.Chrome, page: Path) -> None:
        self.driver = driver
        driver.get(page.resolve().as_uri())

    def reload(self) -> None:
        """Load the page again; opened anew, Chromium may give it a process that lacks what was just stored."""
        self.driver.refresh()

    def type(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def begin(self, name: str) -> None:
        """Type a name and begin, or go on."""
        assert self.focus.get_attribute("id") == "rater"
        self.type(Keys.CONTROL + "a" + Keys.NULL, name, Keys.ENTER)

    def text(self, name: str) -> str:
        """Return what an element shows."""
        return str(self.driver.find_element(By.ID, name).text)

    def shown(self, name: str) -> bool:
        """Tell whether an element is on the screen."""
        return bool(self.driver.find_element(By.ID, name).is_displayed())

    @property
    def focus(self) -> Any:
        """What has the focus."""
        return self.driver.switch_to.active_element

    def chosen(self) -> list[str]:
        """Return the answers of the item on the screen."""
        return [str(one.get_attribute("value")) for one in self.driver.find_elements(By.CSS_SELECTOR, "input:checked")]

    def complaints(self) -> list[str]:
        """Return what the page wrote to the console: errors, and what its own policy forbids."""
        return [entry["message"] for entry in self.driver.get_log("browser")]


def file_in(folder: Path, pattern: str) -> Path:
    """Return a file that a browser saves, once it is whole."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if (files := list(folder.glob(pattern))) and not list(folder.glob("*.crdownload")):
            return files[0]
        time.sleep(0.05)
    raise AssertionError(f"no {pattern} in {folder}: {sorted(folder.iterdir())}")
