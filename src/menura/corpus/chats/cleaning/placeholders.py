"""What a messenger writes in place of text is told from what a person wrote."""

import re
from collections.abc import Iterable

from menura.corpus.chats.cleaning import placeholder_words as words
from menura.corpus.chats.cleaning import system_words

SHORT = 60  # characters; no placeholder of an unknown language is longer
LONGEST = 700  # characters; a notice about encryption in the longest of the languages

_ALIKE = dict.fromkeys([0x200C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF])
_ALIKE |= {0xA0: " ", 0x202F: " ", 0x2019: "'"}
_odd = re.compile(f"[{''.join(map(chr, _ALIKE))}]").search
_without_blanks = re.compile("[\u3040-\u9fff\uac00-\ud7a3]").search  # Japanese, Chinese, Korean
_STOPS = ".。．।۔! "
_SENTENCE = frozenset(".!?…,;:。！？،؟।@")


def _phrases(table: str) -> list[str]:
    return [_key(phrase) for line in table.strip().split("\n") for phrase in line.split("|")]


def _key(text: str) -> str:
    """Return the text as phrases are compared."""
    text = text.casefold()
    if not text.isascii() and _odd(text):
        text = text.translate(_ALIKE)
    return text.strip().rstrip(_STOPS)


def _any_of(phrases: Iterable[str]) -> str:
    return "|".join(re.escape(phrase) for phrase in sorted(set(phrases), key=lambda phrase: (-len(phrase), phrase)))


_WHOLE = {
    phrase: reason
    for reason, table in (
        ("media", words.MEDIA),
        ("sticker", words.STICKER),
        ("contact", words.CONTACT),
        ("deleted", words.DELETED),
        ("call", words.CALL),
        ("location", words.LIVE_LOCATION),
    )
    for phrase in _phrases(table)
}
_BRACKETED = frozenset(_phrases(words.BRACKETED))
_POLLS = frozenset(_phrases(words.POLL))

_FILE = r"[^\n<>]{1,200}\.[^\W_]{1,5}"
_AFTER = rf"\((?:{_any_of(_phrases(words.ATTACHED_AFTER))})\)"
_BEFORE = rf"<(?:{_any_of(_phrases(words.ATTACHED_BEFORE))})\s?[:：]\s?[^<>\n]{{1,250}}>"
_attachment = re.compile(rf"(?:{_FILE}(?: • [^\n<>]{{1,40}})? )?(?:{_BEFORE}|{_AFTER})(?P<caption>\n[\s\S]*)?", re.I)
_attached_at_end = re.compile(rf"\s*{_BEFORE}\Z", re.I)
_edited_at_end = re.compile(rf"\s*<(?:{_any_of(_phrases(words.EDITED))})[.。]?>\Z", re.I)
_omitted_with_caption = re.compile(r"<[^<>\n]{1,60}>(?=\n)")
_own_file_name = re.compile(r"(?:img|vid|ptt|aud|doc|stk)-\d{8}-wa\d{4,}\.\w{2,5}").fullmatch
_document = re.compile(
    rf"{_FILE}(?: • [^\n<>]{{1,40}})? (?:{_any_of(p for p in _WHOLE if p.startswith(('do', 'док', 'belge')))})"
).fullmatch
_position = re.compile(
    r"(?:[^\n:：/]{2,30}[:：]? )?https?://(?:maps\.google\.com/(?:maps)?\?q=|goo\.gl/maps/)\S+"
).fullmatch
_place = re.compile(r"[^\n]{1,120}: https?://(?:\w+\.)?foursquare\.com/\S+").fullmatch
_call = re.compile(
    rf"(?:{_any_of(_phrases(words.CALL_NAMES))})[,.،，:]\s*(?:{_any_of(_phrases(words.CALL_ENDS))}"
    rf"|(?:\d[\d:]* ?(?:{_any_of(_phrases(words.CALL_UNITS))})[ ,]*)+(?:[,.•·]? ?[^\n]{{0,40}})?)"
).fullmatch
_call_starts = frozenset(re.split(r"[\s,.]", phrase)[0] for phrase in _phrases(words.CALL_NAMES))
_line_call = re.compile(
    r"☎\ufe0f? ?(?:[^\n]{1,30} \d+:\d\d(?::\d\d)?|不在着信|キャンセル|通話に応答がありませんでした|"
    r"missed call|cancell?ed call|no answer|未接來電|已取消|무응답|부재중)"
).fullmatch
_vote = re.compile(r"\(\d{1,6} [^()\n]{1,20}\)$", re.M).search
_url = re.compile(r"(?:https?://|www\.)[^\s<>]+", re.I).fullmatch


class _Templates:
    """Lines with names in them, found by one word or piece that each of them holds."""

    def __init__(self, table: str) -> None:
        self._by_word: dict[str, list[re.Pattern[str]]] = {}
        self._by_piece: dict[str, list[re.Pattern[str]]] = {}
        for template in table.strip().casefold().split("\n"):
            literal = re.split(r"\{.?\}", template)
            in_words = [word for word in re.split(r"\s+", re.sub(r"\{.?\}", "\0", template)) if "\0" not in word]
            if _has_words(template) and in_words:
                key, found = max(in_words, key=len).strip("“”„"), self._by_word
            else:
                key, found = max(literal, key=len).strip(), self._by_piece
            found.setdefault(key.rstrip(_STOPS), []).append(_pattern(template))
        self._words = frozenset(self._by_word)

    def match(self, key: str) -> bool:
        """Whether the text, as phrases are compared, is one of the lines."""
        parts = [part.strip(_STOPS) for part in key.split(" ")] if "." in key else key.split(" ")
        if not self._words.isdisjoint(parts):
            candidates = [pattern for word in self._words.intersection(parts) for pattern in self._by_word[word]]
            if any(pattern.fullmatch(key) for pattern in candidates):
                return True
        if key.isascii() or not _without_blanks(key):
            return False
        return any(
            pattern.fullmatch(key) for piece, patterns in self._by_piece.items() if piece in key for pattern in patterns
        )


def _has_words(template: str) -> bool:
    """Whether blanks part the words; in Korean they do, but endings follow a name without one."""
    return _without_blanks(template) is None


def _pattern(template: str) -> re.Pattern[str]:
    pattern = re.sub("[“”„]", "[\"“”„«»'‘’「」]", re.escape(template))
    pattern = pattern.replace(re.escape("{…}"), r"(?:[.。।،:：][\s\S]{0,500})?")
    return re.compile(pattern.replace(re.escape("{}"), r"[^\n]{1,200}?"))


_certain = _Templates(system_words.CERTAIN)
_likely = _Templates(system_words.LIKELY)


def dropped_as(text: str) -> str:
    """Return why a whole message is no text to learn from: media, sticker, contact, location, poll, call, ….

    It returns nothing for what a person may have written.
    """
    if len(text) > LONGEST:
        return ""
    if text == "null":
        return "null"
    key = _key(text)
    reason = _WHOLE.get(key)
    if reason is not None:
        return reason
    first = key.partition(" ")[0]
    if first[:1] == "<" or ")" in key or ">" in key or "." in key or "://" in key or "☎" in key:
        reason = _marked(key)
        if reason:
            return reason
        if key[:1] == "<" and not key.isascii() and _is_placeholder(text):
            return "media"
    if first.rstrip(",.") in _call_starts and _call(key):
        return "call"
    if "\n" in key and _is_poll(key):
        return "poll"
    return "system" if _certain.match(key) else ""


def by_shape(raw_text: str) -> str:
    """Return "media" for a raw message that has the shape of a placeholder, in whatever language.

    The shape: U+200E in front and a few words, or a few words in angle brackets.
    """
    if len(raw_text) > SHORT:
        return ""
    text = raw_text.strip()
    if text[:1] != "\u200e":
        return "media" if text[:1] == "<" and _is_placeholder(text) else ""
    text = text.strip("\u200e ").removeprefix("<").removesuffix(">")
    return "media" if text and not any(character in _SENTENCE for character in text) else ""


def is_system(text: str) -> bool:
    """Whether a line without an author, or one marked as the messenger's own, is a line of the system."""
    if len(text) > LONGEST:
        return False
    key = _key(text)
    return _certain.match(key) or _likely.match(key)


def stripped(text: str) -> tuple[str, str]:
    """Return the text without marks that it was edited and without the file it came with, and which there were.

    A file without any words stays: it is for ``dropped_as``.
    """
    what = ""
    if text[-1:] == ">":
        edited = _edited_at_end.search(text, max(0, len(text) - SHORT - 20))
        if edited:
            text, what = text[: edited.start()], "edited marks"
        attached = _attached_at_end.search(text, max(0, len(text) - 300))
        if attached and attached.start() and not _attachment.fullmatch(text):
            return text[: attached.start()].rstrip(), what or "attachment marks"
    if "\n" in text and (text[:1] == "<" or ")\n" in text[:300] or ">\n" in text[:300]):
        head, _, caption = text.partition("\n")
        head = head.strip()
        if caption.strip() and (_attachment.fullmatch(head) or (head[:1] == "<" and _marked(_key(head)))):
            return caption.strip(), what or "attachment marks"
    return text, what


def is_bare_url(text: str) -> bool:
    """Whether the text is one link and nothing else."""
    return text[:4].lower() in {"http", "www."} and _url(text) is not None


def _marked(key: str) -> str:
    """Return the reason for a message that brackets, a file name or a link mark."""
    if key[:1] == "<" and key[-1:] == ">":
        inner = _key(key[1:-1])
        known = _WHOLE.get(inner, "media" if inner in _BRACKETED else "")
        if known:
            return known
    if _own_file_name(key):
        return _kind_of_file(key)
    if key[-1:] in ")>":
        attachment = _attachment.fullmatch(key)
        if attachment and not attachment["caption"]:
            return _kind_of_file(key)
    if "://" in key and (_position(key) or _place(key)):
        return "location"
    if "." in key and _document(key):
        return "media"
    return "call" if "☎" in key and _line_call(key) else ""


def _kind_of_file(key: str) -> str:
    if ".vcf" in key:
        return "contact"
    return "sticker" if "stk-" in key or "-sticker-" in key else "media"


def _is_placeholder(text: str) -> bool:
    """Whether all of the text may be an unknown language's words for a file left out, in angle brackets."""
    text = text.strip("\u200e ")
    inner = text[1:-1].strip()
    if text[-1:] != ">" or inner[:1].islower():  # `<grübel grübel>` is what somebody does
        return False
    if any(character.isascii() and not character.isalpha() and character not in " '-/" for character in inner):
        return False  # `<|im_end|>`, `<@U02>`, `<a href=…>`
    count = len(inner.split())
    return 2 <= count <= 4 or (count == 1 and not inner.isascii() and len(inner) >= 6)


def _is_poll(key: str) -> bool:
    first, _, rest = key.partition("\n")
    name = first.rstrip(" :：")
    return name != first.rstrip() and name in _POLLS and _vote(rest) is not None
