"""What people do with the pages, against the real routes: by mouse, by keys alone, on wide and narrow screens."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from page_server import BASE, TalkingEngine, page_server, write_persona

from menura.artefacts import persona_store
from menura.serve.http.keys import KeyStore

if TYPE_CHECKING:
    from page_browser import PageVisitor

pytestmark = pytest.mark.browser
ENTER, ESCAPE, TAB, SHIFT, RIGHT, NULL = "\ue007", "\ue00c", "\ue004", "\ue008", "\ue014", "\ue000"
CHAT = Path(__file__).parents[3] / "docs" / "example" / "WhatsApp Chat with Mara.txt"
AXE = Path(__file__).parent / "vendor" / "axe.min.js"
PAGES = ("/", "/new", "/chats", "/chat/anna", "/personas/anna", "/compare", "/results", "/settings", "/sign-in")
HELD_OUT = {
    "dialogues": 2,
    "replies": 9,
    "ppl_before": 40.0,
    "ppl_after": 36.0,
    "likelier": 0.12,
    "likelier_interval": [0.07, 0.17],
    "likelier_as_stranger": -0.03,
}


PASTE = (
    "const area = document.getElementById('paste'); area.value = arguments[0]; area.dispatchEvent(new Event('input'))"
)
CHECK = """
    const told = arguments[1];
    axe.run(document, {runOnly: arguments[0]}).then((one) => told(JSON.stringify(one.violations)));
"""
BASE_ONCE = """
    document.getElementById("who-base").click();
    document.querySelector('input[name=candidates][value="1"]').click();
    document.getElementById("seed").value = "7";
"""
TIME_IS_OVER = """
    const now = JSON.parse(sessionStorage.getItem("menura.pending"));
    now[0].until = Date.now();
    sessionStorage.setItem("menura.pending", JSON.stringify(now));
"""
CHOOSE_BASE = """
    const base = document.getElementById("base");
    base.value = arguments[0];
    base.dispatchEvent(new Event("change"));
"""


@pytest.fixture
def engine() -> TalkingEngine:
    return TalkingEngine(
        said={"anna": ("haha no", "which one?", "yes!!", "no ."), "bob": ("Good evening.",), "": ("Hello.",)}
    )


@pytest.fixture
def site(browser: Any, page_home: Path, engine: TalkingEngine) -> Iterator["PageVisitor"]:
    """Give a visitor to a server with two personas; nothing may be asked of another host, and nothing complains."""
    from page_browser import PageVisitor, resize  # noqa: PLC0415  # needs selenium

    write_persona("anna", "Anna", held_out=HELD_OUT, remembers=[("coffee?", "always")])
    write_persona("bob", "Bob", held_out={**HELD_OUT, "likelier": -0.2})
    with page_server(engine, page_home) as url:
        resize(browser, 1280)
        visitor = PageVisitor(browser, url)
        yield visitor
        assert visitor.complaints() == []
        assert [one for one in visitor.requested() if not one.startswith((url, "blob:"))] == []
        browser.delete_all_cookies()
        browser.get("about:blank")


def say(site: "PageVisitor", text: str, replies: int) -> None:
    """Say something in a chat and wait until so many replies are there."""
    site.one("#text").send_keys(text + ENTER)
    site.wait(lambda: len(site.all(".message.persona:not(.writing)")) == replies, f"{replies} replies")


def paste(site: "PageVisitor", text: str) -> None:
    site.run(PASTE, text)


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 360])
def test_every_page_fits_the_screen_and_has_no_barrier_that_axe_finds(
    browser: Any, site: "PageVisitor", width: int
) -> None:
    from page_browser import resize  # noqa: PLC0415  # needs selenium

    resize(browser, width)
    site.open("/chat/anna")
    say(site, "did you see the game?", 1)
    found = {}
    for theme in ("light", "dark"):
        for path in PAGES:
            site.open(path)
            site.run("document.cookie = arguments[0]", f"menura_theme={theme}; path=/")
            site.open(path)
            site.wait(lambda: site.run("return document.readyState === 'complete'"))
            site.wait(lambda: "Loading" not in site.all("main")[0].text)
            site.wait(
                lambda: not site.run("return performance.getEntriesByType('resource').some((one) => !one.responseEnd)")
            )
            assert site.too_wide() == 0, path
            for one in axe(site):
                found[f"{path} {theme} {one['id']}"] = [node["html"][:200] for node in one["nodes"]]
    assert found == {}


def axe(site: "PageVisitor") -> list[dict[str, Any]]:
    """Return what axe-core finds against WCAG A and AA."""
    site.run(AXE.read_text("utf-8"))
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    violations: list[dict[str, Any]] = json.loads(site.driver.execute_async_script(CHECK, tags))
    return violations


def test_a_reply_streams_its_candidates_are_scored_and_another_one_is_used_and_rated(
    site: "PageVisitor", engine: TalkingEngine
) -> None:
    site.open("/chat/anna")
    say(site, "did you see the game?", 1)
    assert site.one(".message.persona > .words").text == "haha no"
    assert [(one.count, one.ranked, one.model) for one in engine.asked] == [(4, True, "anna")]
    site.one(".strip summary").click()
    assert [one.text for one in site.all(".candidate .score")] == ["+0.71", "+0.64", "+0.52", "+0.18"]
    widths = [float(one.get_attribute("width")) for one in site.all(".candidate .fore")]
    assert widths == sorted(widths, reverse=True)
    assert "2.03 times" in site.one(".strip > .hint").text
    site.all(".candidate button")[1].click()
    site.wait_for_text(".message.persona > .words", "yes!!")
    site.one(".icon.good").click()
    site.wait(lambda: site.all(".icon.good[aria-pressed=true]"))
    assert site.one("#learn").is_enabled()
    site.driver.refresh()
    site.wait_for_text(".message.persona > .words", "yes!!")
    assert site.all(".icon.good[aria-pressed=true]")
    assert "You chose this one" in site.run("return document.querySelector('.strip > .hint').textContent")


def test_escape_stops_a_reply_and_what_was_said_is_kept(site: "PageVisitor", engine: TalkingEngine) -> None:
    engine.stays = True
    site.open("/chat/anna")
    site.one("#text").send_keys("first line" + SHIFT + ENTER + NULL + "second line")
    assert site.one("#text").get_attribute("value") == "first line\nsecond line"
    site.one("#text").send_keys(ENTER)
    site.wait_for_text(".writing", "hah")
    site.one("#text").send_keys(ESCAPE)
    site.wait_for_text(".message.persona:not(.writing) .tools", "stopped")
    site.wait(lambda: engine.running == 0, "the engine to be free")
    assert site.one(".message.user").text == "first line\nsecond line"
    engine.stays = False
    site.one(".tools button.quiet").click()
    site.wait_for_text(".message.persona:not(.writing) > .words", "haha no")
    assert len(site.all(".message")) == 2


def test_the_base_can_speak_instead_of_the_persona(site: "PageVisitor", engine: TalkingEngine) -> None:
    site.open("/chat/anna")
    site.wait(lambda: site.one("#who-base + span") and site.run("return !document.getElementById('who-base').disabled"))
    site.run(BASE_ONCE)
    say(site, "hi", 1)
    asked = engine.asked[-1]
    assert (asked.model, asked.count, asked.sampling.seed, asked.sampling.temperature) == (BASE, 1, 7, 0.8)
    assert site.one(".message.persona.of-base > .words").text == "Hello."


def test_a_deleted_persona_is_there_until_ten_seconds_are_over_on_whichever_page(site: "PageVisitor") -> None:
    site.open("/")
    site.wait_for_text("#rows", "bob")
    for name in ("bob", "anna"):
        menu = site.one(f"[data-name={name}] details.menu")
        menu.find_element("css selector", "summary").click()
        site.one(f"[data-name={name}] .danger").click()
        site.wait(lambda gone=name: not site.all(f"[data-name={gone}]"))
    site.one("#empty")
    assert persona_store.names() == ["anna", "bob"]
    site.one(".notice.undo button").click()
    site.wait_for_text("#rows", "bob")
    site.open("/settings")
    site.one(".notice.undo")
    site.run(TIME_IS_OVER)
    site.open("/")
    site.wait(lambda: persona_store.names() == ["bob"], "anna to be deleted")


def test_a_persona_is_renamed_by_keys_alone(site: "PageVisitor") -> None:
    site.open("/")
    site.wait_for_text("#rows", "anna")
    site.run("document.querySelector('[data-name=anna] details.menu summary').focus()")
    focus = lambda: site.driver.switch_to.active_element  # noqa: E731  # read anew each time
    focus().send_keys(ENTER)
    for _ in range(4):
        focus().send_keys(TAB)
    assert focus().text == "Rename"
    focus().send_keys(ENTER)
    focus().send_keys("annika" + ENTER)
    site.wait_for_text("#rows", "annika")
    assert persona_store.names() == ["annika", "bob"]


def test_names_of_a_blind_comparison_are_nowhere_before_the_vote(site: "PageVisitor") -> None:
    site.open("/compare?with=anna&with=bob")
    site.wait(lambda: len(site.all("#models input")) == 2)
    site.one("#prompt").send_keys("good evening" + ENTER)
    site.one("#voting button")
    lanes = site.run("return document.getElementById('lanes').outerHTML + document.getElementById('voting').outerHTML")
    assert "haha no" in lanes
    assert "Good evening." in lanes
    assert "anna" not in lanes
    assert "bob" not in lanes
    place = [one.text for one in site.all("#lanes .words")].index("haha no")
    site.all("#voting button")[place].click()
    site.wait_for_text("#revealed", "You chose anna.")
    assert site.all(".lane.best h2")[0].text == f"{'AB'[place]} · anna"
    site.wait_for_text("#standing", "1 vote")
    rows = [one.text.split()[:2] for one in site.all("#standing tbody tr")]
    assert rows == [["anna", "1"], ["bob", "0"]]


def test_results_show_the_checks_that_are_there(site: "PageVisitor") -> None:
    site.open("/results")
    site.wait_for_text("#table", "bob")
    rows = [one.text for one in site.all("#table tbody tr")]
    assert rows[0] == "anna 5 9 40.0 36.0 +12% [+7%, +17%] -3%"
    assert "-20%" in rows[1]
    assert len(site.all("#chart .point")) == 2
    assert len(site.all("#chart .point.worse")) == 1


@pytest.mark.slow
def test_a_chat_is_pasted_shown_and_learnt_and_the_persona_is_talked_to(site: "PageVisitor") -> None:
    site.open("/new")
    paste(site, CHAT.read_text("utf-8"))
    site.wait_for_text("#preview-content", "Mara")
    learnt = [one.text for one in site.all(".bubble.learnt .words")]
    assert learnt
    assert all("Mara" in one.text for one in site.all(".bubble.learnt .speaker-name"))
    assert "phone numbers 1" in site.one("#preview-content").text
    site.wait(lambda: site.all("#margin .warn") or site.run("document.getElementById('paste').scrollTop += 200"))
    site.wait(lambda: site.one("#name").get_attribute("value") == "mara")
    site.run(CHOOSE_BASE, BASE)
    assert site.one("#command").text == f"menura adapt mara pasted.txt --speaker Mara --base {BASE}"
    site.one("#adapt").click()
    assert not site.all("#job:not([hidden])")  # without consent nothing begins
    site.one("#consent").click()
    site.one("#adapt").click()
    site.one("#job")
    site.wait(lambda: site.all("#job[data-state]"), "the job's end", seconds=120)
    assert site.one("#job").get_attribute("data-state") == "done", site.one("#job").text
    assert site.one("#job .curve").get_attribute("d").startswith("M")
    assert "likel" in site.one("#job .verdict").text
    assert persona_store.names() == ["anna", "bob", "mara"]
    site.one("#job a.primary").click()
    say(site, "hi", 1)


def test_rows_are_written_and_a_job_is_cancelled(site: "PageVisitor") -> None:
    site.open("/new")
    site.run("document.getElementById('tab-paste').focus()")
    for _ in range(2):
        site.driver.switch_to.active_element.send_keys(RIGHT)
    rows = site.all("#written li")
    assert len(rows) == 5
    for row in rows:
        question, answer = row.find_elements("tag name", "textarea")
        question.send_keys("are you awake?")
        answer.send_keys("never before nine")
    site.wait_for_text("#preview-content", "never before nine")
    site.one("#name").send_keys("nina" + TAB)
    site.wait_for_text("#preview-content .speakers", "nina")
    site.run("document.getElementById('base').value = arguments[0]", BASE)
    site.one("#consent").click()
    site.one("#adapt").click()
    site.one("#job .links button").click()
    site.wait_for_text("#job .state", "Cancelled")
    assert persona_store.names() == ["anna", "bob"]
    site.one("#how")


def test_a_chat_that_cannot_be_read_says_where_and_nothing_can_be_learnt(site: "PageVisitor") -> None:
    site.open("/new")
    paste(
        site, '{"turns": [{"speaker": "a", "text": "x"}, {"speaker": "b", "text": "y"}]}\n{"turns": [{"speaker": 7}]}\n'
    )
    site.wait_for_text("#preview-content .has-errors", "line 2")
    assert site.all("#margin .error")[0].text == "2"
    assert not site.all("#how")[0].is_displayed()


def test_no_key_is_taken_before_the_script_that_sends_it_is_there(
    browser: Any, page_home: Path, engine: TalkingEngine
) -> None:
    from page_browser import PageVisitor  # noqa: PLC0415  # needs selenium

    with page_server(engine, page_home, keys=KeyStore(page_home / "keys.json")) as url:
        site = PageVisitor(browser, url)
        browser.execute_cdp_cmd("Network.enable", {})
        browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/static/sign-in.js"]})
        site.open("/sign-in?next=/chats")
        assert not site.one("#key").is_enabled()
        assert not site.one("#go").is_enabled()
        browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
        site.open("/sign-in?next=/chats")
        site.one("#key:enabled")
        site.complaints()
    browser.get("about:blank")


def test_whoever_has_no_key_signs_in_and_finds_what_was_typed(
    browser: Any, page_home: Path, engine: TalkingEngine
) -> None:
    from page_browser import PageVisitor  # noqa: PLC0415  # needs selenium

    write_persona("anna")
    keys = KeyStore(page_home / "keys.json")
    secret = keys.new("me", ("*",))[1]
    with page_server(engine, page_home, keys=keys) as url:
        site = PageVisitor(browser, url)
        site.open("/chat/anna")
        site.one("#key:enabled").send_keys("menura-wrong" + ENTER)
        site.wait_for_text("#wrong", "no key of this server")
        site.open("/sign-in?next=/chat/anna")
        site.one("#key:enabled").send_keys(secret + ENTER)
        site.one("#text").send_keys("do not lose this")
        browser.delete_all_cookies()
        site.one("#text").send_keys(ENTER)
        site.one("#key:enabled").send_keys(secret + ENTER)
        site.wait(lambda: site.one("#text").get_attribute("value") == "do not lose this")
        for elsewhere in ("//evil.test/", "https://evil.test/", "/\\evil.test", "/.//evil.test"):
            site.open(f"/sign-in?next={elsewhere}")
            site.one("#key:enabled").send_keys(secret + ENTER)
            site.wait(lambda: "/sign-in" not in browser.current_url)
            assert browser.current_url.startswith(url + "/")
        site.complaints()
        site.open("/settings")
        site.one("#sign-out").click()
        site.one("#key")
    browser.delete_all_cookies()
    browser.get("about:blank")
