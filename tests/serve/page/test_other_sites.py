"""Chromium on another site's page: by a name pointed at this machine (S3), or across sites (S4), it changes nothing."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from page_server import TalkingEngine, page_server, write_persona

from menura.artefacts import persona_store
from menura.serve.openai import chat, completions, models
from menura.serve.routes import adapt, chats, compare, jobs, personas, replies, uploads

pytestmark = pytest.mark.browser
EVIL = "evil.test"
REBOUND = ("rebound.test", "127.0.0.1.nip.io", "localhost.evil", "menura.example")
ROUTES = tuple(
    module.router for module in (adapt, chats, compare, jobs, personas, replies, uploads, chat, completions, models)
)
# What a page could do with the replies of a server that it had pointed its own name at.
ASK = """
const [method, path, body, headers, done] = arguments;
fetch(path, {method, body: body || undefined, headers}).then(
    async (reply) => done([reply.status, await reply.text()]), (error) => done([0, String(error)]))
"""
CHAT = json.dumps({"model": "anna", "messages": [{"role": "user", "content": "hi"}]})
NEW_CHAT = json.dumps({"persona": "anna", "title": "made by another site"})
# (how, method, path, body, content type): each is tried by a page of another site, with all that a browser lets it do.
TRIED = (
    *(("form", "POST", path, NEW_CHAT, "text/plain") for path in ("/api/chats", "/v1/chat/completions")),
    ("form", "POST", "/api/uploads", "a: b", "text/plain"),
    ("form", "POST", "/api/personas/import?name=evil", "x", "multipart/form-data"),
    ("form", "POST", "/api/chats", NEW_CHAT, "application/x-www-form-urlencoded"),
    ("form", "GET", "/api/personas/anna/memory", "", "text/plain"),
    ("sandboxed", "POST", "/api/chats", NEW_CHAT, "text/plain"),
    *(
        ("no-cors", "POST", path, body, "text/plain")
        for path, body in (("/api/chats", NEW_CHAT), ("/api/uploads", "a: b"))
    ),
    ("no-cors", "POST", "/v1/chat/completions", CHAT, "text/plain"),
    ("cors", "POST", "/v1/chat/completions", CHAT, "application/json"),
    ("cors", "POST", "/api/chats", NEW_CHAT, "application/json"),
    ("cors", "POST", "/api/uploads", "a: b", "application/octet-stream"),
    *(("cors", method, "/api/personas/anna", "", "") for method in ("DELETE", "GET")),
    ("cors", "PATCH", "/api/personas/anna", '{"name": "stolen"}', "application/json"),
    ("cors", "PUT", "/api/chats", NEW_CHAT, "application/json"),
    *(("beacon", "POST", path, NEW_CHAT, "text/plain") for path in ("/api/chats", "/api/uploads")),
    ("beacon", "POST", "/v1/chat/completions", CHAT, "application/json"),
    ("socket", "GET", "/api/chats", "", ""),
    ("events", "GET", "/api/chats", "", ""),
    *((tag, "GET", "/api/personas", "", "") for tag in ("img", "script", "iframe")),
)
TRY = """
const [how, method, url, body, kind, done] = arguments;
const later = (found) => setTimeout(() => done(found), 250);
const form = (target) => {
    const made = document.createElement("form");
    Object.assign(made, {method, action: url, enctype: kind, target});
    const field = document.createElement("input");
    field.name = body.slice(0, -1) || "q"; field.value = body.slice(-1);
    made.append(field); document.body.append(made); made.submit();
};
const frame = (name, markup) => {
    const made = document.createElement("iframe");
    made.name = name; if (markup) { made.sandbox = "allow-scripts allow-forms"; made.srcdoc = markup; }
    document.body.append(made);
};
const headers = kind ? {"Content-Type": kind} : {};
const ask = (mode) => fetch(url, {method, mode, headers, body: body || undefined, credentials: "include"})
    .then(async (reply) => done(mode === "cors" ? await reply.text() : ""), () => done(""));
if (how === "form") { frame("into"); form("into"); later(""); }
else if (how === "sandboxed") {
    frame("boxed", `<form method=post action="${url}" enctype="text/plain"><input name='${body}'></form>`
        + "<script>document.forms[0].submit()</scr" + "ipt>"); later("");
}
else if (how === "no-cors" || how === "cors") ask(how);
else if (how === "beacon") { navigator.sendBeacon(url, new Blob([body], {type: kind})); later(""); }
else if (how === "socket") {
    const made = new WebSocket(url.replace("http", "ws"));
    made.onopen = () => done("opened"); made.onerror = () => done("");
}
else if (how === "events") {
    const made = new EventSource(url);
    made.onopen = () => done("opened"); made.onerror = () => { made.close(); done(""); };
}
else {
    const made = document.createElement(how); made.src = url;
    made.onload = () => done(how === "iframe" ? "" : "loaded"); made.onerror = () => done("");
    document.body.append(made);
}
"""


class EvilPage(BaseHTTPRequestHandler):
    """Answers everything with an empty page."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>evil</title><body>")

    def log_message(self, *told: Any) -> None:
        pass


@contextmanager
def evil_site() -> Iterator[str]:
    site = ThreadingHTTPServer(("127.0.0.1", 0), EvilPage)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    try:
        yield f"http://{EVIL}:{site.server_address[1]}/"
    finally:
        site.shutdown()
        site.server_close()


@pytest.fixture(scope="module")
def pointed() -> Iterator[Any]:
    """Give a browser that takes all these names for this machine's."""
    pytest.importorskip("selenium")
    from page_browser import chromium  # noqa: PLC0415  # needs selenium

    rules = ",".join(f"MAP {name} 127.0.0.1" for name in (EVIL, *REBOUND))
    driver = chromium(words=(f"--host-resolver-rules={rules}",))
    yield driver
    driver.quit()


def content(home: Path) -> dict[str, bytes]:
    """Return all files but the database, whose rows are counted."""
    return {str(path): path.read_bytes() for path in home.rglob("*") if path.is_file() and "menura.db" not in path.name}


def test_a_page_that_points_its_own_name_here_reads_and_changes_nothing(page_home: Path, pointed: Any) -> None:
    write_persona("anna")
    engine, kept = TalkingEngine(), content(page_home)
    kind = {"Content-Type": "application/json", "Authorization": "Bearer any"}
    with page_server(engine, page_home, routers=ROUTES) as url:
        port = url.rpartition(":")[2]
        for name in REBOUND:
            pointed.get(f"http://{name}:{port}/")
            assert "bad_host" in pointed.page_source, "the name did not lead to this machine"
            for method, path, body, headers in (
                ("GET", "/v1/models", "", {}),
                ("GET", "/api/personas", "", {}),
                ("POST", "/v1/chat/completions", CHAT, kind),
                ("DELETE", "/api/personas/anna", "", kind),
            ):
                status, text = pointed.execute_async_script(ASK, method, path, body, headers)
                assert status == 421, (name, path, text)
                assert "anna" not in text
        pointed.get(f"{url}/healthz")
        status, text = pointed.execute_async_script(ASK, "GET", "/v1/models", "", {})
        assert (status, "anna" in text) == (200, True), "its own name is answered, so it was the name that was refused"
    assert not engine.asked
    assert content(page_home) == kept


def test_a_page_of_another_site_changes_nothing_and_reads_nothing(page_home: Path, pointed: Any) -> None:
    write_persona("anna", remembers=[("hi", "secret of anna")])
    engine, kept = TalkingEngine(), content(page_home)
    assert len(TRIED) >= 20
    with page_server(engine, page_home, routers=ROUTES) as url, evil_site() as evil:
        for server in (url, url.replace("127.0.0.1", "localhost")):
            for how, method, path, body, kind in TRIED:
                pointed.get(evil)
                read = pointed.execute_async_script(TRY, how, method, server + path, body, kind)
                assert read == "", (how, method, path)
        pointed.get(f"{url}/healthz")
        _, made = pointed.execute_async_script(ASK, "GET", "/api/chats", "", {})
        assert json.loads(made)["chats"] == []
        _, made = pointed.execute_async_script(
            ASK, "POST", "/api/chats", NEW_CHAT, {"Content-Type": "application/json"}
        )
        assert json.loads(made)["title"] == "made by another site", "our own page may do what the other may not"
    assert persona_store.names() == ["anna"]
    assert not engine.asked
    assert content(page_home) == kept
