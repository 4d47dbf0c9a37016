"""Telegram's ``messages.html`` becomes messages; one without a name goes on with the sender before."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser

from menura.corpus.chats import timestamp_parsing
from menura.corpus.chats.chat_file import ChatFile
from menura.corpus.chats.message import Event, Message, Notes, Stamp
from menura.errors import DataError, shown

FED = 16 * 1024  # characters that the parser gets at once
WAITING_LIMIT = 128 * 1024  # characters without a whole tag; the parser would look at them again and again
DEPTH_LIMIT = 100
TEXT_LIMIT = 1024 * 1024  # characters of a message
DATE_LENGTH = len("01.12.2023 10:01:00")
MEDIA = frozenset(["media_wrap", "photo_wrap", "video_file_wrap", "animated_wrap"])
FIELDS = frozenset(["from_name", "text", "forwarded"])
_message = re.compile(r'<div class="message (?:default|service)').search
_exported = re.compile(r'<title>Exported Data</title>|class="from_name"|class="page_wrap"').search


def looks_like(head: str, name: str) -> str:
    """Return why a file's start, ``head``, is of this format, else empty; ``name`` is the file's."""
    return "HTML export of a Telegram chat" if _message(head) and _exported(head) else ""


def nearly(head: str, name: str) -> tuple[str, str] | None:
    """Return what a page of a Telegram export is that holds no messages; None for others."""
    if "<title>Exported Data</title>" in head:
        return "looks like a page of a Telegram export without messages", "give messages.html, or the export's folder"
    return None


def messages(file: ChatFile, notes: Notes) -> Iterator[Event]:
    """Yield the messages of one page in its order."""
    page = _Page(notes)
    waiting: list[str] = []
    size = 0
    for number, line in file.lines():
        page.line = number
        waiting.append(line)
        size += len(line) + 1
        if size >= FED:
            page.feed("\n".join([*waiting, ""]))
            waiting, size = [], 0
            page.check()
            yield from page.read_so_far()
    page.feed("\n".join([*waiting, ""]))
    page.check()
    yield from page.read_so_far()


class _Page(HTMLParser):
    """Collects messages from the tags of a page; what a message holds is told by the classes of its ``div``s."""

    def __init__(self, notes: Notes) -> None:
        # Entities stay as they are written, as they are decoded once for all formats.
        super().__init__(convert_charrefs=False)
        self.line = 0  # of the file, as far as it was fed
        self._notes = notes
        self._ready: list[Message] = []
        self._open: list[frozenset[str]] = []  # classes of the divs around
        self._depth = 0  # of the div of the message; 0 outside
        self._now: Message | None = None
        self._pieces: dict[str, list[str]] = {}
        self._spans = 0
        self._size = 0
        self._number = 0
        self._sender = ""
        self._chat = ""
        self._what = ""  # why the message is none, by what stands in it

    def read_so_far(self) -> list[Message]:
        """Return the messages that are whole and forget them."""
        ready, self._ready = self._ready, []
        return ready

    def check(self) -> None:
        """Raise DataError where the page is none, so that it could not be read in bounded time and memory."""
        if len(self.rawdata) > WAITING_LIMIT or len(self._open) > DEPTH_LIMIT or self._size > TEXT_LIMIT:
            hint = "export the chat again as JSON"
            place = self._notes.place(self.line)
            raise DataError("no page of a Telegram export", code="json_limit", place=place, hint=hint)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open a div, or note a line break and media."""
        given = dict(attrs)
        classes = frozenset((given.get("class") or "").split())
        if tag == "br":
            self.handle_data("\n")
        elif tag == "span":
            self._spans += 1
        if self._now and not self._what and not classes.isdisjoint(MEDIA):
            self._what = "media"
        if self._now and "sticker_wrap" in classes:
            self._what = "sticker"
        if tag != "div":
            return
        self._open.append(classes)
        if len(self._open) > DEPTH_LIMIT:
            self.check()
        if "message" in classes:
            self._begin(classes, given.get("id") or "")
        elif self._now:
            self._field(classes, given.get("title") or "")

    def handle_endtag(self, tag: str) -> None:
        """Close a div; with that of the message, the message is whole."""
        if tag == "span":
            self._spans = max(self._spans - 1, 0)
        if tag != "div" or not self._open:
            return
        self._open.pop()
        if self._now and len(self._open) < self._depth:
            self._end(self._now)

    def handle_data(self, data: str) -> None:
        """Take text where it belongs to a field."""
        classes = self._open[-1] if self._open else frozenset()
        if self._now is None:
            if not self._chat and {"text", "bold"} <= classes:
                self._chat = data.strip()
            return
        field = next((name for name in ("from_name", "text") if name in classes), "")
        if field and not (field == "from_name" and self._spans):
            self._pieces.setdefault(field, []).append(data)
            self._size += len(data)

    def handle_entityref(self, name: str) -> None:
        """Keep an entity such as ``&amp;`` as it is written."""
        self.handle_data(f"&{name};")

    def handle_charref(self, name: str) -> None:
        """Keep an entity such as ``&#39;`` as it is written."""
        self.handle_data(f"&#{name};")

    def _begin(self, classes: frozenset[str], name: str) -> None:
        if self._now:
            self._end(self._now)
        self._depth = len(self._open)
        self._spans, self._size = 0, 0
        self._pieces, self._what = {}, ""
        if "service" in classes:
            # Lines with the day have numbers below 0; they tell what every message tells.
            self._what = "" if name.startswith("message-") else "system"
            self._now = Message("", "", 0, None, "system")
        else:
            self._now = Message("", "", 0, None)

    def _field(self, classes: frozenset[str], title: str) -> None:
        assert self._now is not None
        if "date" in classes and title and self._now.time is None:
            self._now.time = _time(title)
        if "forwarded" in classes:
            self._what = "forward"
        elif "media_call" in classes:
            self._what = "call"

    def _end(self, message: Message) -> None:
        self._now, self._depth = None, 0
        if message.dropped == "system" and not self._what:
            return
        self._number += 1
        message.line = self._number
        message.text = "".join(self._pieces.get("text", []))
        if message.dropped != "system":
            message.speaker = self._speaker()
            if self._what == "forward" or not message.text.strip():
                message.dropped = self._what
        self._ready.append(message)

    def _speaker(self) -> str:
        # A forwarded message holds the name of who wrote it behind that of who sent it.
        name, via, _ = self._pieces.get("from_name", [""])[0].partition(" via @")
        self._sender = name.strip() or self._sender
        if via:
            self._what = "forward"
        if not self._sender:
            self._sender = "somebody"
            said = f"the first message has no name; its sender is called {shown(self._sender)}"
            self._notes.warn("unnamed_sender", said, self._number, hint="give messages.html as well")
        if self._sender == self._chat:
            self._notes.persona = self._chat
        return self._sender


def _time(title: str) -> Stamp | None:
    stamp = timestamp_parsing.read(title.strip()[:DATE_LENGTH])
    return stamp._replace(order="dmy") if stamp and not stamp.order else stamp
