"""From a chat export to a served persona and back after a restart, as somebody does who never opened a terminal.

The whole server runs, with its engine: on the tiny base in ``make test``, on the default one in ``make test-full``.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import counts
import pytest

import menura
from menura.artefacts import persona_store
from menura.corpus.chats.cards.writing import card_png, new_card

if TYPE_CHECKING:
    from page_browser import PageVisitor

pytestmark = [pytest.mark.browser, pytest.mark.slow]
REAL = "smollm2-135m"
EXPORT = Path(__file__).parents[3] / "docs" / "example" / "WhatsApp Chat with Mara.txt"
ENTER = "\ue007"
SECONDS = 600.0 if counts.full else 120.0
CHOOSE_BASE = """
    const base = document.getElementById("base");
    base.value = arguments[0];
    base.dispatchEvent(new Event("change"));
"""


@contextmanager
def whole_server() -> Iterator[str]:
    """Run ``menura serve`` on the workspace of now; give its address. It is told to end, and ends."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(menura.__file__).parents[1])}
    line = [sys.executable, "-m", "menura", "serve", "--port", "0", "--offline"]
    process = subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[2]
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def visitor(browser: Any, url: str) -> "PageVisitor":
    from page_browser import PageVisitor, resize  # noqa: PLC0415  # needs selenium

    resize(browser, 1280)
    return PageVisitor(browser, url)


def dropped(site: "PageVisitor", file: Path) -> None:
    site.open("/new")
    site.one("#tab-drop").click()
    site.all("#file")[0].send_keys(str(file))


def adapted(site: "PageVisitor", name: str, base: str) -> None:
    """Give a name and learn; wait for the end of the job."""
    site.wait(lambda: site.all("#how")[0].is_displayed(), "the form")
    field = site.one("#name")
    field.clear()
    field.send_keys(name)
    site.run(CHOOSE_BASE, base)
    site.one("#consent").click()
    site.one("#adapt").click()
    site.wait(lambda: site.all("#job[data-state]"), "the job's end", SECONDS)
    assert site.one("#job").get_attribute("data-state") == "done", site.one("#job").text


def said(site: "PageVisitor", text: str, replies: int) -> str:
    site.one("#text").send_keys(text + ENTER)
    there = ".message.persona:not(.writing)"
    site.wait(lambda: len(site.all(there)) == replies, f"{replies} replies", SECONDS)
    return str(site.all(f"{there} > .words")[-1].text)


def test_an_export_is_dropped_learnt_talked_to_compared_and_there_after_a_restart(
    browser: Any, page_home: Path
) -> None:
    base = REAL if counts.full else "tiny"
    if base == REAL:
        weights = Path(os.environ["MENURA_WEIGHTS"]) / "bases"
        if not (weights / REAL).exists():
            pytest.skip("no default base here: make weights")
        (page_home / "bases").symlink_to(weights)
    card = page_home / "otto.png"
    card.write_bytes(card_png(new_card("Otto", ("Otto is a cat.", "Otto sleeps on flour."), ("Mrrp.",), (), {})))
    with whole_server() as url:
        site = visitor(browser, url)
        dropped(site, EXPORT)
        site.wait_for_text("#preview-content", "Mara")
        adapted(site, "mara", base)
        assert site.one("#job .curve").get_attribute("d").startswith("M")
        site.one("#job a.primary").click()
        site.wait(lambda: site.all("input[name=candidates][value='4']"))
        reply = said(site, "did you bake today?", 1)
        assert len(site.all(".message.persona .candidate, .message.persona tbody tr, .message.persona li")) >= 4
        dropped(site, card)
        site.wait_for_text("#preview-content", "Otto")
        adapted(site, "otto", base)
        site.open("/compare?with=mara&with=otto")
        site.wait(lambda: len(site.all("#models input")) == 2)
        site.one("#prompt").send_keys("good morning" + ENTER)
        site.wait(lambda: site.all("#voting button"), "the vote", SECONDS)
        site.all("#voting button")[0].click()
        site.one("#revealed")
        own = site.requested()
        assert [one for one in own if not one.startswith((url, "blob:"))] == []
        assert site.complaints() == []
        browser.get("about:blank")
    assert persona_store.names() == ["mara", "otto"]
    with whole_server() as url:
        site = visitor(browser, url)
        site.open("/")
        site.wait_for_text("#rows", "otto")
        site.open("/chats")
        site.wait_for_text("main", "did you bake today?")
        site.one("main a[href*='chat=']").click()
        site.wait(lambda: [one.text for one in site.all(".message.persona > .words")] == [reply], "the reply of before")
        site.open("/compare")
        site.wait_for_text("#standing", "1 vote")
        browser.get("about:blank")
