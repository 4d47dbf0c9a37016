"""No text of anybody runs in the pages (S5), with the policy, without it, and with a broken renderer (S6)."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fake_engine import FakeEngine
from hostile_api import router
from page_server import page_server
from payloads import PAYLOADS

from menura.serve.http import guard
from menura.serve.page import routes

if TYPE_CHECKING:
    from page_browser import PageVisitor

pytestmark = pytest.mark.browser
# What no page has of its own: each would come from a text.
FOREIGN = (
    "script:not([src^='/static/']), style, img, iframe, object, embed, video, audio, base, math, marquee, template"
)
FOREIGN += ", [style]:not(textarea):not(#margin), [srcdoc], a[href^='javascript:'], a[href^='data:'], form[action]"
FOREIGN += ", body :is(link, meta)"
PASTE = (
    "const area = document.getElementById('paste'); area.value = arguments[0]; area.dispatchEvent(new Event('input'))"
)
OBSERVE = """
    window.streamed = "";
    const look = () => {
      const now = document.querySelector(".writing");
      if (now) window.streamed = now.textContent;
    };
    new MutationObserver(look).observe(document.getElementById("log"), {childList: true, subtree: true});
    document.getElementById("text").value = arguments[0];
    document.getElementById("composer").requestSubmit();
"""
BEGIN = """
    document.getElementById("name").value = "anna";
    document.getElementById("consent").checked = true;
    document.getElementById("how").requestSubmit();
"""
RENAME = """
    const form = document.querySelector(".rename");
    Object.assign(form.querySelector("input"), {pattern: ".*", value: "y"});
    form.requestSubmit();
"""


@pytest.fixture(params=["with the policy", "without the policy"])
def hostile(request: pytest.FixtureRequest, page_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve the pages with an API all of whose texts would run as markup."""
    if request.param == "without the policy":
        monkeypatch.delitem(guard.SECURITY_HEADERS, "Content-Security-Policy")
    with page_server(FakeEngine(), page_home, routers=(router,)) as url:
        yield url


def visiting(driver: Any, url: str) -> "PageVisitor":
    from page_browser import PageVisitor  # noqa: PLC0415  # needs selenium

    return PageVisitor(driver, url)


def shown(visitor: "PageVisitor", selector: str, text: str) -> None:
    """Wait until an element holds a text whole, be it on the screen or folded."""
    script = "return [...document.querySelectorAll(arguments[0])].some((one) => one.textContent.includes(arguments[1]))"
    visitor.wait(lambda: visitor.run(script, selector, text), f"{text!r} in {selector}")


def check_nothing_ran(visitor: "PageVisitor", expected: str = "") -> None:
    assert visitor.run("return window.__pwned === undefined")
    assert visitor.run("return [...document.querySelectorAll(arguments[0])].map((one) => one.outerHTML)", FOREIGN) == []
    assert [one for one in visitor.complaints() if not expected or expected not in one] == []
    assert [one for one in visitor.requested() if not one.startswith((visitor.url, "blob:"))] == []


def test_there_are_more_than_a_hundred_texts() -> None:
    assert len(set(PAYLOADS)) >= 100


@pytest.mark.parametrize(
    ("path", "selector"),
    [
        ("/", "#rows h2"),
        ("/chats", "#rows h2"),
        ("/chat/anna?chat=" + "c" * 32, "#log .words"),
        ("/personas/anna", "#persona li"),
        ("/results", "#table th"),
        ("/settings", "#jobs bdi"),
        ("/compare", "#standing th"),
    ],
)
def test_texts_of_a_list_are_shown_and_do_not_run(browser: Any, hostile: str, path: str, selector: str) -> None:
    visitor = visiting(browser, hostile)
    visitor.open(path)
    for payload in (PAYLOADS[0], PAYLOADS[47]):
        shown(visitor, selector, payload)
    visitor.run("for (const one of document.querySelectorAll('details')) one.open = true")
    # Names that no persona can have are refused, one by one.
    check_nothing_ran(visitor, "Failed to load resource" if path == "/results" else "")


def test_a_stream_that_is_cut_at_every_byte_is_shown_and_does_not_run(browser: Any, hostile: str) -> None:
    visitor = visiting(browser, hostile)
    visitor.open("/chat/anna")
    visitor.wait(lambda: visitor.all(".greeting"))
    visitor.run(OBSERVE, PAYLOADS[0])
    visitor.one("#log > .banner")
    assert visitor.run("return window.streamed.includes(arguments[0])", "".join(PAYLOADS))
    check_nothing_ran(visitor)


def test_previews_and_events_of_a_job_are_shown_and_do_not_run(browser: Any, hostile: str) -> None:
    visitor = visiting(browser, hostile)
    visitor.open("/new")
    visitor.run(PASTE, PAYLOADS[0])
    shown(visitor, "#preview-content .words", PAYLOADS[47])
    shown(visitor, "#preview-content .problems", PAYLOADS[47])
    check_nothing_ran(visitor)
    visitor.run(BEGIN)
    shown(visitor, "#job .said", PAYLOADS[47])
    shown(visitor, "#job .result", PAYLOADS[47])
    check_nothing_ran(visitor)


def test_lanes_votes_and_errors_are_shown_and_do_not_run(browser: Any, hostile: str) -> None:
    visitor = visiting(browser, hostile)
    visitor.open("/compare?with=anna&with=bob")
    visitor.wait(lambda: len(visitor.all("#models input")) == 2)
    visitor.run("document.getElementById('prompt').value = 'x'; document.getElementById('ask').requestSubmit()")
    shown(visitor, "#lanes .words", PAYLOADS[46])
    visitor.one("#voting button").click()
    shown(visitor, "#lanes h2", PAYLOADS[47])
    visitor.open("/")
    visitor.wait(lambda: visitor.all("details.menu button"))
    visitor.run("document.querySelector('details.menu button').click()")
    visitor.run(RENAME)
    visitor.wait(lambda: visitor.all(".notice.wrong"))
    check_nothing_ran(visitor, "422 (Unprocessable")


def test_the_policy_holds_where_the_renderer_is_broken(
    browser: Any, page_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = dict(routes.static_files())
    whole = files["dom.js"].content.decode()
    broken = whole.replace(
        "made.append(",
        "for (const one of children.flat()) if (typeof one === 'string') made.innerHTML += one;\n  made.append(",
    )
    assert broken != whole
    files["dom.js"] = routes.StaticFile(broken.encode(), files["dom.js"].media, '"broken"')
    monkeypatch.setattr(routes, "static_files", lambda: files)
    # Without Trusted Types, which not every browser has, the rest of the policy must do.
    for without in ("", "; require-trusted-types-for 'script'"):
        policy = guard.CSP.replace(without, "") if without else guard.CSP
        monkeypatch.setitem(guard.SECURITY_HEADERS, "Content-Security-Policy", policy)
        with page_server(FakeEngine(), page_home, routers=(router,)) as url:
            visitor = visiting(browser, url)
            for path in ("/", "/chats", "/personas/anna"):
                visitor.open(path)
                visitor.wait(visitor.complaints, "a complaint of the policy")
                # Not `undefined`: a payload is an element of this name, which the broken renderer may insert.
                assert visitor.run("return window.__pwned !== 1"), path
            # Alone the policy cannot keep a <meta> from going elsewhere, with the page itself; Trusted Types do.
            asked = visitor.requested(but="Document" if without else "")
            assert [one for one in asked if "evil" in one] == []
