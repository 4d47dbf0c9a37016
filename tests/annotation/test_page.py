import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from made_up_study import preferring, random_votes, reply_of, write_results

from menura import api

if TYPE_CHECKING:
    from page_driver import RaterAtPage

pytestmark = pytest.mark.browser

HOSTILE = "</script><script>window.broken = 1</script><img src=x onerror='window.broken = 2'>"
ENTER, BACK, TAB = "\ue007", "\ue003", "\ue004"  # as WebDriver calls the keys


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Give one browser that saves into its own folder; skip where there is none."""
    pytest.importorskip("selenium")
    from page_driver import chromium  # noqa: PLC0415  # needs selenium

    browser = chromium(tmp_path_factory.mktemp("downloads"))
    yield browser
    browser.quit()


@pytest.fixture
def downloads(driver: Any, tmp_path: Path) -> Path:
    """Let the browser save into the test's own folder."""
    folder = tmp_path / "downloads"
    folder.mkdir()
    driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
    return folder


def study(folder: Path, protocol: str, **settings: Any) -> Path:
    """Make a study of two systems; return its folder."""
    api.new_study([write_results(folder / "results", people=2, **settings)], protocol).save(folder / "study")
    return folder / "study"


def at_page(driver: Any, folder: Path) -> "RaterAtPage":
    """Open the page of a study."""
    from page_driver import RaterAtPage  # noqa: PLC0415  # needs selenium

    return RaterAtPage(driver, folder / "for-raters" / "page.html")


def content_of(folder: Path) -> dict[str, Any]:
    """Return what the page shows, as data."""
    page = (folder / "for-raters" / "page.html").read_text(encoding="utf-8")
    start = page.index('id="data">') + len('id="data">')
    found: dict[str, Any] = json.loads(page[start : page.index("</script>", start)])
    return found


def answer_all(rater: "RaterAtPage", folder: Path, vote: Callable[[str, str], str]) -> None:
    """Answer every item with the keys of its answers, and go on with Enter."""
    for part in content_of(folder)["parts"]:
        for item in part["items"]:
            rater.type(*(vote(item["id"], question["name"])[0].lower() for question in part["questions"]), ENTER)


def saved(downloads: Path, rater: str) -> Path:
    """Return the file that a rater saved."""
    from page_driver import file_in  # noqa: PLC0415  # needs selenium

    return file_in(downloads, f"votes-*-{rater}.csv")


def test_three_raters_fill_the_page_by_keyboard_and_their_files_are_scored(
    driver: Any, tmp_path: Path, downloads: Path
) -> None:
    folder = study(tmp_path, "cmaml")
    choices = {name: random_votes(seed, "012") for seed, name in enumerate(("Ann", "Bo", "Cy"))}
    for name, vote in choices.items():
        rater = at_page(driver, folder)
        rater.begin(name)
        answer_all(rater, folder, vote)
        assert rater.text("end-title") == "All questions are answered"
        rater.type(TAB, TAB)
        assert rater.focus.get_attribute("id") == "end-save"
        rater.type(ENTER)
        assert "16 of 16 answers" in rater.text("status")
        assert rater.complaints() == []
    files = [saved(downloads, name) for name in choices]
    scores = api.score_study(files, folder / "key.json", rounds=20).scores
    key = json.loads((folder / "key.json").read_text(encoding="utf-8"))
    for rating in scores.ratings:
        own = [n for n, item in key["items"].items() if item["systems"] == [rating.system]]
        given = [int(vote(item, rating.question)) for vote in choices.values() for item in own]
        assert rating.mean.value == pytest.approx(sum(given) / len(given))
    assert scores.about["raters"] == ["Ann", "Bo", "Cy"]


def test_both_questions_of_pairs_are_asked_apart_and_scored(driver: Any, tmp_path: Path, downloads: Path) -> None:
    folder = study(tmp_path, "pairwise")
    key = json.loads((folder / "key.json").read_text(encoding="utf-8"))
    rater = at_page(driver, folder)
    rater.begin("Dee")
    assert rater.text("place") == "Part 1 of 2, item 1 of 4"
    assert not rater.shown("person")
    assert "prefer to talk to" in rater.text("questions")
    answer_all(rater, folder, preferring(key, "adapted, K=2"))
    driver.find_element("id", "save").click()
    scores = api.score_study([saved(downloads, "Dee")], folder / "key.json", rounds=20).scores
    assert [(one.question, one.wins, one.losses) for one in scores.comparisons] == [("better", 4, 0), ("like", 4, 0)]


def test_the_second_part_shows_the_person_and_says_that_the_question_is_another(driver: Any, tmp_path: Path) -> None:
    rater = at_page(driver, study(tmp_path, "pairwise"))
    rater.begin("Eve")
    for _ in range(4):
        rater.type("a", ENTER)
    assert rater.text("place") == "Part 2 of 2, item 1 of 4"
    assert rater.shown("person")
    assert rater.shown("part-note")
    assert "more like this person" in rater.text("questions")


def test_after_a_reload_a_rater_goes_on_where_it_was_and_another_begins_anew(driver: Any, tmp_path: Path) -> None:
    folder = study(tmp_path, "cmaml")
    rater = at_page(driver, folder)
    rater.begin("Fay")
    rater.type("2", "1", ENTER, "0")
    rater.reload()
    assert rater.focus.get_attribute("value") == "Fay"
    rater.type(ENTER)
    assert rater.text("place") == "Item 2 of 8"
    assert rater.chosen() == ["0"]
    assert rater.text("done-label") == "Fay: 3 of 16 answers"
    rater.type(BACK)
    assert rater.chosen() == ["2", "1"]
    rater.reload()
    rater.begin("Gil")
    assert rater.text("done-label") == "Gil: 0 of 16 answers"


def test_nobody_goes_on_without_an_answer_and_an_answer_can_be_changed(driver: Any, tmp_path: Path) -> None:
    rater = at_page(driver, study(tmp_path, "cmaml"))
    rater.begin("Hal")
    rater.type("1", ENTER)
    assert rater.text("place") == "Item 1 of 8"
    assert rater.text("status") == "1 question has no answer yet."
    assert rater.focus.get_attribute("name") == "consistency"
    rater.type("2")
    assert rater.focus.get_attribute("id") == "next"
    rater.type("0", "7", "x")
    assert rater.chosen() == ["0", "2"]


def test_what_is_missing_is_said_at_the_end_and_can_be_reached(driver: Any, tmp_path: Path) -> None:
    folder = study(tmp_path, "cmaml")
    rater = at_page(driver, folder)
    rater.begin("Ida")
    answer_all(rater, folder, lambda item, question: "1")
    study_id = content_of(folder)["study"]
    first = content_of(folder)["parts"][0]["items"][0]["id"]
    driver.execute_script(
        "const key = `menura:${arguments[0]}:Ida`; const kept = JSON.parse(localStorage.getItem(key));"
        "delete kept.votes[arguments[1]].quality; localStorage.setItem(key, JSON.stringify(kept));",
        study_id,
        first,
    )
    rater.reload()
    rater.type(ENTER)
    assert rater.text("end-title") == "1 answer is missing"
    driver.find_element("id", "again").click()
    assert rater.text("place") == "Item 1 of 8"


@pytest.mark.parametrize("width", [320, 360, 768, 1400])
@pytest.mark.parametrize("protocol", ["plato", "pairwise"])
def test_no_width_makes_the_page_scroll_sideways(driver: Any, tmp_path: Path, width: int, protocol: str) -> None:
    folder = study(tmp_path, protocol, reply=lambda row, person, n: reply_of(row, person, n) + "x" * 400)
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    )
    try:
        rater = at_page(driver, folder)
        too_wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert driver.execute_script(too_wide) == 0
        rater.begin("Jo")
        assert driver.execute_script(too_wide) == 0
        sides = driver.find_elements("css selector", "#sides > section")
        beside = len({round(side.rect["y"]) for side in sides}) == 1
        assert beside is (protocol == "plato" or width >= 768)
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_every_control_has_a_name_and_each_question_is_a_group(driver: Any, tmp_path: Path) -> None:
    rater = at_page(driver, study(tmp_path, "cmaml"))
    assert rater.focus.accessible_name == "Your name, or any word that is yours alone"
    rater.begin("Kit")
    for control in driver.find_elements("css selector", "input, button, progress"):
        if control.is_displayed():
            assert control.accessible_name, control.get_attribute("outerHTML")
    groups = driver.find_elements("css selector", "fieldset")
    assert [group.accessible_name for group in groups] == ["How good is the reply?", "Does the reply fit the person?"]


def test_texts_of_models_are_shown_and_never_run(driver: Any, tmp_path: Path) -> None:
    folder = study(tmp_path, "cmaml", reply=lambda row, person, number: f"{HOSTILE} {row} {person} {number}")
    rater = at_page(driver, folder)
    rater.begin("Lu")
    assert HOSTILE in rater.text("sides")
    assert driver.execute_script("return window.broken") is None
    assert rater.complaints() == []


def test_the_page_reaches_for_nothing_outside_itself(driver: Any, tmp_path: Path) -> None:
    rater = at_page(driver, study(tmp_path, "cmaml"))
    rater.begin("Mo")
    assert driver.execute_script("return performance.getEntriesByType('resource').length") == 0
    driver.execute_script("fetch('https://example.org').catch(() => 0)")
    assert any("Content Security Policy" in line for line in rater.complaints())
