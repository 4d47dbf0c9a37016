"""The pictures of the web page in ``docs/guide/images``: personas of ``docs/example`` on the default base, as they are.

``.venv/bin/python docs/screenshots.py`` makes them anew: it adapts Mara, Tom and Otto in a workspace of its own, serves
them, and lets Debian's Chromium visit the pages. Nothing shown is written by hand but what the visitor types.
It wants ``make weights``, Chromium with its driver, and Debian's fonts-inter.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from selenium import webdriver
from selenium.webdriver.common.by import By

from menura.artefacts.bases import base as bases

HERE = Path(__file__).parent
IMAGES, EXAMPLE = HERE / "guide" / "images", HERE / "example"
EXPORT = EXAMPLE / "WhatsApp Chat with Mara.txt"
MENURA = (sys.executable, "-m", "menura", "--offline")
TAGS = {"mara": ["bakery"], "tom": ["bakery"], "otto": ["cats"]}
PASTED = """Ines: are you coming on sunday?
Tomo: if the boat is dry by then
Ines: my number is still (212) 555-0142
Tomo: i know. i call you from the pier

Ines: bring the blue rope
Tomo: it is mine now
Ines: since when
Tomo: since the rain

Ines: soup or pasta
Tomo: soup. always soup
"""
WIDE, PHONE = (1280, 1100), (360, 780)
BEARER = {"Authorization": "Bearer any"}
SECONDS = 300.0
ENTER = "\ue007"


class Visitor:
    """Chromium without a window, at the pages of a server."""

    def __init__(self, url: str) -> None:
        options = webdriver.ChromeOptions()
        for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--lang=en"):
            options.add_argument(word)
        options.binary_location = str(shutil.which("chromium"))
        service = webdriver.ChromeService(str(shutil.which("chromedriver")))  # or selenium looks for one elsewhere
        self.url, self.driver = url, webdriver.Chrome(options, service)

    def open(self, path: str, size: tuple[int, int] = WIDE, *, dark: bool = False) -> None:
        """Open a page on a screen of this size."""
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.driver.get(self.url + path)

    def all(self, selector: str) -> list[Any]:
        """Return all elements that a selector means."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def wait(self, found: Callable[[], Any]) -> Any:
        """Return what a function returns as soon as it is true."""
        until = time.monotonic() + SECONDS
        while not (result := found()):
            if time.monotonic() > until:
                raise SystemExit(self.driver.find_element(By.TAG_NAME, "body").text)
            time.sleep(0.1)
        return result

    def wait_for(self, selector: str, count: int) -> None:
        """Wait until so many elements are there."""
        self.wait(lambda: len(self.all(selector)) == count)

    def type(self, selector: str, text: str) -> None:
        """Type into a field."""
        self.wait(lambda: self.all(selector))[0].send_keys(text)

    def keep(self, name: str) -> None:
        """Write a picture of what is on the screen."""
        time.sleep(0.5)  # what fades in is there
        self.driver.save_screenshot(str(IMAGES / f"{name}.png"))


def adapt() -> None:
    """Make the personas."""
    for words in (
        ("adapt", "mara", str(EXPORT), "--remember"),
        ("adapt", "tom", str(EXPORT), "--speaker", "Tom"),
        ("adapt", "otto", str(EXAMPLE / "otto.json")),
    ):
        subprocess.run((*MENURA, *words), check=True, stdin=subprocess.DEVNULL)


def talk(visitor: Visitor) -> None:
    """Say two things to Mara, and look at her candidates."""
    visitor.open("/chat/mara")
    visitor.wait(lambda: visitor.all("input[name=candidates][value='4']"))
    visitor.driver.execute_script("document.querySelector('input[name=candidates][value=\"4\"]').click()")
    for number, line in enumerate(("did you taste the new jam?", "shall i close at six?"), start=1):
        visitor.type("#text", line + ENTER)
        visitor.wait_for(".message.persona:not(.writing)", number)
    visitor.all(".message.persona details summary")[-2].click()
    visitor.driver.execute_script("document.querySelectorAll('.message.persona')[1].scrollIntoView({block: 'end'})")
    visitor.keep("serve-chat")


def main() -> None:
    """Make all pictures."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "bases").symlink_to(bases.folder_of("smollm2-135m").resolve().parent)
        os.environ["MENURA_HOME"] = folder
        adapt()
        process = subprocess.Popen((*MENURA, "serve", "--port", "0"), stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        try:
            url = process.stdout.readline().split()[2]
            for name, tags in TAGS.items():
                httpx.patch(f"{url}/api/personas/{name}", json={"tags": tags}, headers=BEARER).raise_for_status()
            visit(Visitor(url))
        finally:
            process.terminate()
            process.wait()


def visit(visitor: Visitor) -> None:
    """Go through the pages."""
    talk(visitor)
    chat = visitor.driver.current_url.removeprefix(visitor.url)
    for name, size, dark in (("serve-chat-dark", WIDE, True), ("serve-chat-narrow", PHONE, False)):
        visitor.open(chat, size, dark=dark)
        visitor.wait_for(".message.persona > .words", 2)
        visitor.keep(name)
    visitor.open("/")
    visitor.wait_for("#rows > li", len(TAGS))
    visitor.keep("serve-personas")
    visitor.open("/new")
    visitor.type("#paste", PASTED)
    visitor.wait(lambda: "Tomo" in visitor.all("#preview-content")[0].text)
    visitor.keep("serve-new-persona")
    visitor.open("/compare?with=mara&with=otto&with=shipped")
    visitor.wait_for("#models input", 3)
    visitor.type("#prompt", "good morning, did you sleep well?" + ENTER)
    visitor.wait(lambda: visitor.all("#voting button"))
    visitor.keep("serve-compare")
    visitor.driver.quit()


if __name__ == "__main__":
    main()
