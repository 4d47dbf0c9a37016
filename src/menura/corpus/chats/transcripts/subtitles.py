"""Subtitles (SRT, WebVTT) with names become messages: ``NAME: text`` or ``<v Name>text``.

Numbers and times are no turns, and no times of messages either: a pause in a film parts nothing. A cue without a name
goes on with the speaker before.
"""

import re
from collections.abc import Iterator

from menura.corpus.chats.chat_file import ChatFile
from menura.corpus.chats.message import Event, Message, Notes

TIMES = re.compile(r"\s*(?:\d{1,3}:)?\d{1,2}:\d{2}[,.]\d{1,3}\s*-->\s*(?:\d{1,3}:)?\d{1,2}:\d{2}[,.]\d{1,3}(?:\s.*)?")
BLOCKS = re.compile(r"(?:NOTE|STYLE|REGION)(?:\s.*)?")  # of WebVTT, no cues
VOICE = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]{1,80})>")
VOICES = re.compile(r"(?=<v[.\s])")
VOICE_END = "</v>"
POSITION = re.compile(r"\{\\[^{}]{0,40}\}")
LEADING = re.compile(r"(?:\s|</?[ib]>)*+(?P<dash>[-–—‐] )?(?:\s|</?[ib]>)*+")
MARKED_END = re.compile(r"</[ib]>")
WORD = r"[^\W\d_][\w.'’-]*"
NAMED = re.compile(
    rf"(?P<name>{WORD}(?:[ ]{WORD}|[ ]\d{{1,3}}|[ ]&){{0,3}})(?:</[ib]>)?"
    r"(?:\s?\([^()]{0,30}\))?\s?[:：](?!\S*//)(?P<text>.*)",
    re.DOTALL,
)
SOUND = re.compile(r"[-–]?\s*+(?:\[[^\[\]]*\]|\([^()]*\)|[♪♫#*\s]*+)")
LINES_JUDGED = 60
CUE_LIMIT = 1_000  # lines; a file without blank lines is not kept in memory


def looks_like(head: str, name: str) -> str:
    """Return why a file's start, ``head``, is of this format, else empty; ``name`` is the file's."""
    lines = [line for line in head.splitlines()[:LINES_JUDGED] if line.strip()]
    if lines and re.match(r"WEBVTT\b", lines[0]):
        return "WEBVTT"
    timed = next((index for index, line in enumerate(lines[:3]) if TIMES.fullmatch(line)), -1)
    return "times with -->" if timed == 0 or (timed == 1 and lines[0].strip().isdigit()) else ""


def messages(file: ChatFile, notes: Notes) -> Iterator[Event]:
    """Yield what is said in each cue, by the speaker before where it says none."""
    speaker, named, unnamed = "", False, 0
    for number, cue in _cues(file):
        for message in _spoken(cue, number, speaker, notes):
            speaker = message.speaker
            named = named or bool(speaker)
            if not speaker and not message.dropped:
                message.dropped = "no name"
                unnamed += 1
            yield message
    if unnamed and not named:
        notes.wrong("no_names", "no cue says who speaks", hint="put the name before the text, as in NAME: text")


def _cues(file: ChatFile) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, text lines) of each cue."""
    cue: list[str] | None = None
    first, skipping = 0, False
    for number, line in file.lines():
        if not line.strip():
            if cue:
                yield first, cue
            cue, skipping = None, False
        elif TIMES.fullmatch(line) and not skipping:
            # A file may have lost the blank line before a cue, but not the cue's number.
            if cue:
                yield first, cue[:-1] if cue[-1].strip().isdigit() else cue
            cue, first = [], number + 1
        elif cue is None:
            skipping = skipping or bool(BLOCKS.fullmatch(line))
        else:
            cue.append(line)
            if len(cue) == CUE_LIMIT:
                yield first, cue
                cue, first = [], number + 1
    if cue:
        yield first, cue


def _spoken(cue: list[str], number: int, speaker: str, notes: Notes) -> Iterator[Message]:
    """Yield the messages of one cue; a line that only goes on in the next is no new line of speech."""
    now: Message | None = None
    lines = [(place, line) for place, raw in enumerate(cue, start=number) for line in VOICES.split(raw) if line.strip()]
    for place, raw in lines:
        line = POSITION.sub("", raw).strip()
        if SOUND.fullmatch(line):
            notes.dropped["sound"] += 1
            continue
        name, text, dash = _named(line)
        if name:
            if now:
                yield now
            speaker, now = name, Message(name, text, place)
            continue
        if dash:
            notes.warn("dash", 'begins with "- ": somebody else without a name?', place, hint="write NAME: before it")
        if now is None:
            now = Message(speaker, text, place)
        else:
            now.text += f"\n{text}" if dash else f" {text}"
    if now:
        yield now


def _named(line: str) -> tuple[str, str, bool]:
    """Return (name, text, whether a dash stands first) of a line; the dash stays where no name follows."""
    voice = VOICE.search(line)
    if voice:
        return voice[1].strip(), (line[: voice.start()] + line[voice.end() :]).replace(VOICE_END, ""), False
    start = LEADING.match(line)
    bare = line[start.end() :] if start else line
    dash = bool(start and start["dash"])
    match = NAMED.fullmatch(bare)
    # "He said: go" is a sentence: each word of a name has a capital, or there are none in its language.
    if match and not any(word[0].islower() for word in match["name"].split()):
        ends_too = start is not None and "<" in start[0]
        return match["name"], MARKED_END.sub("", match["text"]) if ends_too else match["text"], dash
    return "", line.replace(VOICE_END, ""), dash
