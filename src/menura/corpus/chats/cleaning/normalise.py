"""A message as an export holds it becomes the text that a person wrote; what is changed is counted."""

import html
import re
import unicodedata
from collections import Counter
from html.entities import html5
from itertools import groupby

from menura.corpus.chats.cleaning.mojibake import mended

__all__ = ["clean", "clean_name", "mended"]

TAGS = "HTML tags"
ENTITIES = "HTML entities"
ANSI = "ANSI sequences"
CONTROLS = "control characters"
LINE_ENDS = "line ends (CR)"
INVISIBLE = "invisible characters"
NFC = "NFC"
BLANKS = "blanks around a name"

# U+200C and U+200D stay: Persian needs the one, emoji the other.
_UNSEEN = "\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff"
_C0 = "\x00-\x08\x0b\x0c\x0e-\x1f"  # without tab, newline and carriage return

_odd_ascii = re.compile(f"[<&{_C0}\r\x7f]").search
_odd = re.compile(f"[<&{_C0}\r\x7f-\x9f{_UNSEEN}\ud800-\udfff]").search
_drop_ansi = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, cursor
    "|\x1b\\][^\x07\x1b]*(?:\x07|\x1b\\\\)"  # titles, links
    "|\x1b[@-Z\\\\^_]"
).subn
_drop_controls = re.compile(f"[{_C0}\x7f-\x9f]").subn
_drop_unseen = re.compile(f"[{_UNSEEN}]").subn
_replace_line_ends = re.compile("\r\n?").subn
_replace_surrogates = re.compile("[\ud800-\udfff]").sub

# `s` is not here: `<s>` and `</s>` are tokens of language models, and text.
_VOID = frozenset(["br", "hr", "img", "wbr"])
_BLOCK = frozenset(["blockquote", "div", "h1", "h2", "h3", "h4", "h5", "h6", "li", "ol", "p", "table", "tr", "ul"])
# fmt: off
_INLINE = frozenset([
    "a", "abbr", "b", "big", "cite", "code", "del", "em", "font", "i", "ins", "kbd", "mark", "pre", "q", "small",
    "span", "strike", "strong", "sub", "sup", "tbody", "td", "th", "thead", "tt", "u",
])
# fmt: on
_PAIRED = _BLOCK | _INLINE
_tags = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]{0,9})(\s[^<>]*|/)?>").finditer
_replace_entities = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});").sub

_LONG = 1_000  # characters; beyond it, runs of combining marks are looked at before they are sorted
_MARKS_AT_MOST = 200


def clean(text: str, changed: Counter[str]) -> str:
    """Return the text without what an export or a terminal put there, in NFC, without outer blanks.

    Entities are decoded once, so cleaning twice may change more: ``&amp;lt;`` is ``&lt;``, then ``<``.
    Carriage returns become newlines.
    """
    return _cleaned(text, changed).strip()


def clean_name(name: str, changed: Counter[str]) -> str:
    """Return the name cleaned like a text, each run of blanks in it one space."""
    cleaned = _cleaned(name, changed)
    stripped = cleaned.strip()
    if stripped != cleaned:
        changed[BLANKS] += 1
    return " ".join(stripped.split())


def _cleaned(text: str, changed: Counter[str]) -> str:
    if text.isascii():
        return text if _odd_ascii(text) is None else _freed(text, changed)
    if _odd(text) is not None:
        text = _freed(text, changed)
    return _composed(text, changed)


def _freed(text: str, changed: Counter[str]) -> str:
    """Return the text without tags, entities, sequences, controls and unseen characters, in this order."""
    if "<" in text:
        text = _without_tags(text, changed)
    if "&" in text:
        text = _decoded(text, changed)
    for key, replace, by in (
        (ANSI, _drop_ansi, ""),
        (LINE_ENDS, _replace_line_ends, "\n"),
        (CONTROLS, _drop_controls, ""),
        (INVISIBLE, _drop_unseen, ""),
    ):
        text, count = replace(by, text)
        if count:
            changed[key] += count
    return _replace_surrogates("\ufffd", text)


def _without_tags(text: str, changed: Counter[str]) -> str:
    """Return the text without known tags that are void or stand in pairs; all else in angle brackets is text."""
    found = [tag for tag in _tags(text) if _is_markup(tag)]
    gone = []
    opened: dict[str, list[re.Match[str]]] = {}
    for tag in found:
        name = tag[2].lower()
        if name in _VOID:
            gone.append(tag)
        elif not tag[1]:
            opened.setdefault(name, []).append(tag)
        elif opened.get(name):
            gone += [opened[name].pop(), tag]
    if not gone:
        return text
    changed[TAGS] += len(gone)
    pieces = []
    at = 0
    for tag in sorted(gone, key=re.Match.start):
        pieces += [text[at : tag.start()], _in_place_of(tag)]
        at = tag.end()
    return "".join([*pieces, text[at:]])


def _is_markup(tag: re.Match[str]) -> bool:
    name = tag[2].lower()
    attributes = (tag[3] or "").strip(" \t\r\n/")
    if name in _VOID:
        return not tag[1] and (not attributes or "=" in attributes)
    # `<i think>` is somebody's joke.
    return name in _PAIRED and (not attributes or ("=" in attributes and not tag[1]))


def _in_place_of(tag: re.Match[str]) -> str:
    name = tag[2].lower()
    return "\n" if name in {"br", "hr"} or (tag[1] and name in _BLOCK) else ""


def _decoded(text: str, changed: Counter[str]) -> str:
    decoded = 0

    def character(entity: re.Match[str]) -> str:
        nonlocal decoded
        written = entity[0]
        # `html.unescape` alone would read `&notit;` as `¬it;`.
        if written[1] != "#" and written[1:] not in html5:
            return written
        decoded += 1
        return html.unescape(written)

    text = _replace_entities(character, text)
    if decoded:
        changed[ENTITIES] += decoded
    return text


def _composed(text: str, changed: Counter[str]) -> str:
    # Sorting marks takes time with the square of their number, so that towers of them stay as they are.
    if (len(text) > _LONG and _has_tower(text)) or unicodedata.is_normalized("NFC", text):
        return text
    changed[NFC] += 1
    return unicodedata.normalize("NFC", text)


def _has_tower(text: str) -> bool:
    """Whether more combining marks stand in a row than any language has."""
    return any(
        marked and sum(1 for _ in run) > _MARKS_AT_MOST
        for marked, run in groupby(text, key=lambda character: unicodedata.combining(character) != 0)
    )
