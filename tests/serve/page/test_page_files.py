"""The pages as files: both languages have the same words, and nothing of a page is code but its own modules."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from local_server import ask
from payloads import PAYLOADS

from menura.serve.app import create_app
from menura.serve.generation import Engine
from menura.serve.http.keys import KeyStore
from menura.serve.page import routes
from menura.serve.page.labels import LANGUAGES, chosen_language, labels
from menura.serve.page.routes import FOLDER, static_files
from menura.serve.services import Services
from menura.serve.settings import ServerSettings

PAGES = ("/", "/new", "/chats", "/chat/anna", "/personas/anna", "/compare", "/results", "/settings", "/sign-in")
TEMPLATES = Path(routes.__file__).parent / "templates"
# Calls that make code, markup or styles of a text. (`style.setProperty` and single properties are none of them.)
FORBIDDEN = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|setHTML"
    r"|createContextualFragment|cssText|srcdoc|setTimeout\(['\"`]|import\(|Worker\(|\.on[a-z]+ ="
)
ASKED = re.compile(r"""\b(?:t|counted)\(\s*["'`]([\w.-]+)["'`](?! ~)""")
TEXTS = re.compile(r"""["'`]([\w.-]+)["'`]""")
# The first part of a key that is put together, in a module or in a template, and the last one in a template.
FIRST_PARTS = re.compile(r"""`([\w-]+\.\w*)\$\{|["']([\w-]+\.\w*)["'] ~""")
LAST_PARTS = re.compile(r"""~ ["'](\.\w+)["']""")


def pages(keys: KeyStore, engine: Engine) -> Any:
    return create_app(Services(engine, ServerSettings(), keys), (routes.router,))


def placeholders(text: str) -> list[str]:
    return sorted(re.findall(r"\{\w+\}", text))


def test_every_label_is_in_every_language_with_the_same_places_for_values() -> None:
    english = labels("en")
    for language in LANGUAGES:
        words = labels(language)
        assert list(words) == list(english), language
        assert all(words[key].strip() for key in words)
        assert {key: placeholders(words[key]) for key in words} == {key: placeholders(english[key]) for key in english}


def test_every_word_that_a_page_asks_for_is_there_and_no_other() -> None:
    source = "\n".join(path.read_text("utf-8") for path in (*FOLDER.glob("*.js"), *TEMPLATES.glob("*.html")))
    words = {key.removesuffix(".one").removesuffix(".other") for key in labels("en")}
    assert set(ASKED.findall(source)) - words == set()
    first = tuple({part for pair in FIRST_PARTS.findall(source) for part in pair if part})
    put_together = {key for key in words if key.startswith(first) or key.endswith(tuple(LAST_PARTS.findall(source)))}
    assert words - put_together - set(TEXTS.findall(source)) == set()


@pytest.mark.parametrize(
    ("cookie", "accepted", "language"),
    [
        ("", "", "en"),
        ("zh", "en", "zh"),
        ("xx", "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("", "de,en;q=0.3,zh;q=0.2", "en"),
        ("", "zh;q=0, en;q=0.1", "en"),
        ("", "en;q=none, zh;q=0.1", "zh"),
        ("../en", ",;,;q=", "en"),
    ],
)
def test_the_language_is_that_of_the_settings_or_else_the_browsers(cookie: str, accepted: str, language: str) -> None:
    assert chosen_language(cookie, accepted) == language


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_page_has_no_script_and_no_style_of_its_own(path: str, language: str, keys: KeyStore, engine: Engine) -> None:
    reply = ask(pages(keys, engine), "GET", path, headers={"Cookie": f"menura_language={language}; menura_theme=dark"})
    assert reply.status_code == 200
    assert f'<html lang="{language}" data-theme="dark">' in reply.text
    assert not re.search(r"<script(?![^>]* src=\"/static/)|<style|\sstyle=|\son\w+=|javascript:|https?://", reply.text)
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    for file in re.findall(r'(?:src|href)="/static/([^"]+)"', reply.text):
        assert file in static_files()


def test_no_module_makes_markup_or_code_of_a_text() -> None:
    for path in FOLDER.glob("*.js"):
        assert not FORBIDDEN.search(path.read_text("utf-8")), path.name
    for path in (*FOLDER.glob("*"), *TEMPLATES.glob("*")):
        text = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|@import|\|\s*safe|autoescape false", text), path.name


def test_modules_import_only_what_is_there() -> None:
    for path in FOLDER.glob("*.js"):
        for name in re.findall(r'from "\./([^"]+)"|^import "\./([^"]+)"', path.read_text("utf-8"), re.M):
            assert "".join(name) in static_files(), (path.name, name)


def test_a_name_in_the_address_is_a_text_in_the_page(keys: KeyStore, engine: Engine) -> None:
    app = pages(keys, engine)
    for payload in (one for one in PAYLOADS if not set(one) & set("/\\\t\n\r\x0b\x0c") and one.isprintable()):
        for place in ("chat", "personas"):
            reply = ask(app, "GET", f"/{place}/{payload.replace('%', '%25').replace('?', '%3F').replace('#', '%23')}")
            assert reply.status_code == 200, payload
            body = reply.text.partition("<main")[2].partition("</main>")[0]
            assert not re.search(
                r"<(script|img|iframe|body|video|audio|details|marquee|style|meta|base|link)\b.*__pwned", body
            )
            assert payload not in body or not re.search(r"[<>\"']", payload)


def test_a_static_file_is_sent_once_and_no_other_file_is_sent(keys: KeyStore, engine: Engine) -> None:
    app = pages(keys, engine)
    first = ask(app, "GET", "/static/page.css")
    assert first.headers["content-type"] == "text/css; charset=utf-8"
    again = ask(app, "GET", "/static/page.css", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    for name in ("..%2froutes.py", "..%252froutes.py", "page.css%00", "en.json", "%2fetc%2fpasswd"):
        assert ask(app, "GET", f"/static/{name}").status_code in (400, 404), name


def test_where_keys_are_needed_only_the_sign_in_page_and_its_files_come_without_one(
    keys: KeyStore, engine: Engine
) -> None:
    keys.new("anna", ("*",))
    app = pages(keys, engine)
    assert {path: ask(app, "GET", path).status_code for path in PAGES} == {
        **dict.fromkeys(PAGES, 401),
        "/sign-in": 200,
    }
    assert ask(app, "GET", "/static/sign-in.js").status_code == 200


def test_labels_are_plain_texts() -> None:
    for language in LANGUAGES:
        assert not re.search("[<>]", json.dumps(labels(language), ensure_ascii=False))
