"""Personas leave the pages as files and come back by being dropped, and an earlier version comes back by a click."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from counts import count
from page_server import TalkingEngine, page_server, write_persona
from serve.made_personas import make_persona, tiny

from menura.artefacts import persona_artefact, persona_store

if TYPE_CHECKING:
    from page_browser import PageVisitor

pytestmark = pytest.mark.browser
DROP = """
    const bytes = Uint8Array.from(atob(arguments[1]), (one) => one.charCodeAt(0));
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([bytes], arguments[0]));
    const dropped = new DragEvent("drop", {dataTransfer, bubbles: true, cancelable: true});
    document.getElementById("drop").dispatchEvent(dropped);
"""
TAB = "\ue004"


@pytest.fixture
def site(browser: Any, page_home: Path) -> Iterator["PageVisitor"]:
    """Give a visitor to a server of no persona; nothing complains."""
    from page_browser import PageVisitor, resize  # noqa: PLC0415  # needs selenium

    with page_server(TalkingEngine(), page_home) as url:
        resize(browser, 1280)
        visitor = PageVisitor(browser, url)
        yield visitor
        assert visitor.complaints() == []
        browser.get("about:blank")


def dropped(site: "PageVisitor", filename: str, content: bytes) -> None:
    """Let a file fall on the page, and wait for what can be done with it."""
    site.open("/new")
    site.one("#tab-drop").click()
    site.run(DROP, filename, base64.b64encode(content).decode())
    site.wait(lambda: site.all("#how")[0].is_displayed(), "the form")


def downloaded(site: "PageVisitor", folder: Path, name: str, label: str) -> Path:
    """Save a persona by the menu of its page; return the file."""
    folder.mkdir()
    behaviour = {"behavior": "allow", "downloadPath": str(folder)}
    site.driver.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)
    site.open(f"/personas/{name}")
    site.one("#persona details.menu summary").click()
    next(one for one in site.all(".folded a") if one.text == label).click()
    finished = lambda: [one for one in folder.iterdir() if one.suffix != ".crdownload" and one.stat().st_size]  # noqa: E731  # asked again and again
    (file,) = site.wait(finished, "the file", seconds=60)
    assert isinstance(file, Path)
    return file


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".charx", ".persona"][: count(full_count=2, quick_count=1)])
def test_a_package_that_is_dropped_is_the_persona_that_was_saved(
    site: "PageVisitor", page_home: Path, tmp_path: Path, ending: str
) -> None:
    before = make_persona(tiny(), "mara")
    file = downloaded(site, tmp_path / "saved", "mara", "Card with weights (.charx)")
    assert file.name == "mara.charx"
    dropped(site, f"mara{ending}", file.read_bytes())
    assert site.one("#name").get_attribute("value") == "mara"
    assert site.one("#command").text == f"menura persona import mara{ending} mara"
    assert not site.all("#k-field")[0].is_displayed()
    site.one("#name").clear()
    site.one("#name").send_keys("copy" + TAB)
    site.one("#consent").click()
    site.one("#adapt").click()
    site.wait(lambda: persona_store.names() == ["copy", "mara"], "the import", seconds=120)
    site.wait_for_text("#job h2", "copy is ready.")
    after = persona_artefact.read(persona_store.path_of("copy"))
    assert after.weights.keys() == before.weights.keys()
    assert before.weights
    assert all((after.weights[name] == value).all() for name, value in before.weights.items())
    site.open("/personas/copy")
    site.wait_for_text(".facts", "confirmed on")


def test_a_damaged_package_says_so_and_makes_nothing(site: "PageVisitor") -> None:
    dropped(site, "mara.persona", b"PK\x03\x04 no zip")
    site.one("#consent").click()
    site.one("#adapt").click()
    assert site.one(".notice.wrong").text.strip("×\n ")
    assert persona_store.names() == []
    # The refusal of the request is what the browser complains of.
    assert all("Failed to load resource" in one for one in site.complaints())


def test_a_card_is_saved_from_the_page(site: "PageVisitor", tmp_path: Path) -> None:
    write_persona("anna", "Anna")
    file = downloaded(site, tmp_path / "saved", "anna", "Card (.json)")
    assert file.name == "anna.json"
    assert json.loads(file.read_text("utf-8"))["data"]["name"] == "anna"


def test_an_earlier_version_comes_back_by_a_click_and_the_last_one_stays(site: "PageVisitor") -> None:
    for words in ("always", "never"):
        write_persona("anna", "Anna", remembers=[("coffee?", words)])
    site.open("/personas/anna")
    site.wait_for_text(".versions", "in use")
    (back,) = site.all(".versions button")
    assert back.get_attribute("aria-label") == "Go back to version 1"
    back.click()
    site.wait_for_text("#notices", "anna is as version 1 was. What it was until now stays as version 2.")
    site.wait(lambda: len(site.all(".versions tbody tr")) == 3)
    assert [one.text.split("\n")[0].split(" Nov")[0][:16] for one in site.all(".versions tbody th")] == [
        "3 in use", "2", "1"
    ]  # fmt: skip
    site.wait_for_text(".recalled", "always")
    site.one(".versions tr:nth-child(2) button").click()
    site.wait_for_text(".recalled", "never")
    assert persona_store.current_version("anna") == 4


def test_tags_are_given_by_the_menu_and_lead_to_who_has_them(site: "PageVisitor") -> None:
    for name in ("anna", "bob", "carla"):
        write_persona(name)
    site.open("/")
    for name, tags in (("anna", "family, work"), ("bob", "work")):
        site.wait(lambda name=name: site.all(f"[data-name={name}] summary"))
        site.one(f"[data-name={name}] summary").click()
        next(one for one in site.all(f"[data-name={name}] .folded button") if one.text == "Tags").click()
        site.one(".rename input").send_keys(tags)
        site.one(".rename button.primary").click()
        site.wait_for_text(f"[data-name={name}] .tags", "work")
    site.one("[data-name=anna] .tags li:nth-child(2) a").click()
    site.wait(lambda: [one.get_attribute("data-name") for one in site.all("#rows .row")] == ["anna", "bob"])
    assert site.one("#query").get_attribute("value") == "work"


def test_evaluations_are_opened_as_tables(
    site: "PageVisitor", page_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MENURA_RUNS", str(page_home / "runs"))
    score = {"value": 23.24, "low": 20.4, "high": 26.7, "unit": "per token", "better": "lower", "personas": 12}
    rows = [{"label": label, "notes": "", "scores": {"ppl": score}} for label in ("un-adapted", "adapted")]
    differences = [{"ours": "adapted", "theirs": "un-adapted", "differences": {"ppl": {**score, "p": 0.001}}}]
    folder = page_home / "runs" / "results" / "shipped"
    folder.mkdir(parents=True)
    written = {"about": {"base": "tiny"}, "rows": rows, "differences": differences}
    (folder / "scores.json").write_text(json.dumps(written), "utf-8")
    site.open("/results")
    site.one(".run summary").click()
    site.wait_for_text(".run-table", "23.2")
    tables = [" ".join(one.text.split()) for one in site.all(".run-table table")]
    assert tables == [
        "System ppl ↓ un-adapted 23.2 [20.4, 26.7] adapted 23.2 [20.4, 26.7]",
        "Difference ppl ↓ adapted − un-adapted +23.2 [20.4, 26.7] p = 0.001",
    ]
