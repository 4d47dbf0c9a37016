"""LINE's text export becomes messages: a line with the day, then lines with time, name and text between tabs.

Older exports have blanks between them; there a name of several words is told by what all its lines begin with.
"""

import re
from collections import defaultdict
from collections.abc import Iterator

from menura.corpus.chats import timestamp_parsing
from menura.corpus.chats.chat_file import ChatFile
from menura.corpus.chats.message import Event, Message, Notes, Stamp
from menura.corpus.chats.messengers.message_lines import Line, first_lines, gathered

HEAD = re.compile(r"\ufeff?\[LINE\]").match
SAVED = re.compile(r"[^\d\t]{2,30}[:：] ?\d{1,4}[./-]\d{1,2}[./-]\d{1,4}.{0,20}").fullmatch
DAY = re.compile(rf"(?:[^\W\d]{{2,12}}[.,]? )?{timestamp_parsing.NUMBERS}(?:[\s(（,.]+[^\d\t:]{{0,16}})?").fullmatch
TIMED = re.compile(
    r"(?P<time>[^\W\d]{0,6} ?\d{1,2}:\d{2}(?: ?[AaPp]\.?[Mm]\.?)?)(?P<mark>\t| )(?P<rest>.*)", re.DOTALL
).match
SPOKEN = 3  # messages of a first word, from which on what all of them begin with is the name
_STICKER = "sticker|スタンプ|貼圖|贴图|스티커|stiker|สติกเกอร์"
_MEDIA = (
    "photo|写真|照片|圖片|图片|사진|foto|รูป|video|動画|影片|视频|동영상|วิดีโอ|voice message|ボイスメッセージ"
    "|語音訊息|음성메시지|file|ファイル|檔案|파일|location|位置情報|位置訊息|album|アルバム|相簿|contact|連絡先|聯絡資訊"
)
_media = re.compile(rf"\[(?:(?P<sticker>{_STICKER})|{_MEDIA})\]", re.IGNORECASE).fullmatch


def looks_like(head: str, name: str) -> str:
    """Return why a file's start, ``head``, is of this format, else empty; ``name`` is the file's."""
    if HEAD(head):
        return "text export of LINE"
    lines = first_lines(head)
    days = [index for index, line in enumerate(lines) if _day(line)]
    if not days or days[0] > 3 or len(lines) < days[0] + 2:
        return ""
    timed = [TIMED(line) for line in lines[days[0] + 1 :]]
    tabs = sum(found is not None and found["mark"] == "\t" for found in timed)
    return "lines with time, name and text between tabs, under days (LINE)" if tabs * 3 > len(timed) else ""


def messages(file: ChatFile, notes: Notes) -> Iterator[Event]:
    """Yield one message a line with a time, and the lines that go on with it."""
    reader = _Reader(file.head())
    for event in gathered(file, notes, reader.parsed_line):
        if isinstance(event, Message):
            event.text = _unquoted(event.text)
            found = _media(event.text.strip())
            if found:
                event.dropped = "sticker" if found["sticker"] else "media"
        yield event


class _Reader:
    """Tells what each line is, and remembers the day."""

    def __init__(self, head: str) -> None:
        self._day: re.Match[str] | None = None
        self._names = _spaced_names(head)
        self._begun = False

    def parsed_line(self, number: int, line: str) -> Message | Line:
        """Return the message that a line begins, or what else it is."""
        day = _day(line)
        if day:
            self._day = day
            return Line.NO_TEXT
        if not self._begun and (HEAD(line) or SAVED(line)):
            return Line.NO_TEXT
        found = TIMED(line)
        stamp = self._stamp(found["time"]) if found else None
        if found is None or (stamp is None and self._day):
            return Line.GOES_ON
        self._begun = True
        name, text = self._split(found["rest"], found["mark"])
        return Message(name, text, number, stamp)

    def _stamp(self, time: str) -> Stamp | None:
        """Return the stamp of a time on the day that was told last."""
        return (
            timestamp_parsing.read(f"{self._day[0].strip()} {time}"[-timestamp_parsing.LONGEST :])
            if self._day
            else None
        )

    def _split(self, rest: str, mark: str) -> tuple[str, str]:
        if mark == "\t":
            name, tab, text = rest.partition("\t")
            return (name, text) if tab else ("", rest)
        first = rest.partition(" ")[0]
        name = self._names.get(first, first)
        return (name, rest[len(name) + 1 :]) if rest.startswith(f"{name} ") else (first, rest[len(first) + 1 :])


def _day(line: str) -> re.Match[str] | None:
    return DAY(line.strip("\ufeff ")) if len(line) < timestamp_parsing.LONGEST else None


def _spaced_names(head: str) -> dict[str, str]:
    """Return names of several words by their first word, where a blank parts them from the text."""
    said: dict[str, list[list[str]]] = defaultdict(list)
    for line in first_lines(head):
        found = TIMED(line)
        if found and found["mark"] == " ":
            words = found["rest"].split(" ")
            said[words[0]].append(words)
    names = {}
    for first, lines in said.items():
        same = next(
            (index for index, words in enumerate(zip(*lines, strict=False)) if len(set(words)) > 1),
            min(len(words) for words in lines) - 1,
        )
        if len(lines) >= SPOKEN and same > 1:
            names[first] = " ".join(lines[0][:same])
    return names


def _unquoted(text: str) -> str:
    """Return a text of several lines without the quotation marks that LINE puts around it."""
    if "\n" in text and text[:1] == '"' and text.rstrip()[-1:] == '"':
        return text.rstrip()[1:-1].replace('""', '"')
    return text
