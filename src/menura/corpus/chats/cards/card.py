"""A character card (V1, V2, V3; JSON, PNG, CHARX) becomes facts, greetings and example dialogues.

Specifications: malfoyslastname/character-card-spec-v2 (also for V1), kwaroran/character-card-spec-v3.
"""

import base64
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from menura.corpus.chats.cards import containers
from menura.corpus.chats.cards.containers import MIB, PNG_SIGNATURE, TEXT_LIMIT, ZIP_SIGNATURES, bomb, damaged, missing
from menura.corpus.chats.cards.text import CardText, Turns
from menura.corpus.strict_json import parsed
from menura.errors import DataError, MenuraError, Problem, shown

NAME_LIMIT = 128  # code points
KEYS_LIMIT = 10_000
FACTS = ("description", "personality", "scenario")
TEXTS = (*FACTS, "first_mes", "mes_example")
V1_KEYS = ("name", *TEXTS)
# A file with name and description only could be anything, a package.json for instance.
V1_TELLING_KEYS = ("personality", "scenario", "first_mes", "mes_example")
SPECS = {"chara_card_v1": "v1", "chara_card_v2": "v2", "chara_card_v3": "v3"}
V3_NUMBER = 3.0  # of the newest specification that is read

SPEC = re.compile(r'"spec"\s*:\s*"chara_card_')
KEY = re.compile(r'(?<!\\)"\s*:')
NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/=\s]")
REMOTE = re.compile("https?://", re.IGNORECASE)
# Neither pattern runs past the next bracket of its kind: linear in the length whatever the text is.
REMOTE_IMAGE = re.compile(r"!\[[^\[\]]*\]\(\s*<?https?://|<img\b[^<>]*?https?://", re.IGNORECASE)
OTHER_PICTURES = {b"\xff\xd8\xff": "a JPEG", b"RIFF": "a WebP picture", b"GIF8": "a GIF"}


@dataclass(frozen=True)
class Card:
    """A character, as its card tells it, names in place of placeholders.

    ``character`` is what greetings and examples call it: the nickname if there is one. ``raw`` is the JSON object as
    it was read, all keys and their order kept. ``replaced`` counts placeholders.
    """

    name: str
    character: str
    facts: tuple[str, ...]
    greetings: tuple[str, ...]
    examples: tuple[Turns, ...]
    spec: str  # "v1", "v2" or "v3"
    raw: dict[str, Any] = field(repr=False)
    replaced: int = 0
    warnings: tuple[Problem, ...] = ()


def looks_like_card(head: bytes | str) -> str:
    """Return why the start of a file is a card's, empty if it is not; a PNG does not show it at its start."""
    if isinstance(head, bytes):
        if head.startswith(ZIP_SIGNATURES) and head[30:].startswith(containers.CARD_MEMBER.encode()):
            return f"a zip that begins with {containers.CARD_MEMBER}"
        encoding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        head = head.decode(encoding, errors="ignore")
    if not head.lstrip("\ufeff \t\r\n").startswith("{"):
        return ""
    if SPEC.search(head):
        return "a character card's spec"
    return "the keys of a character card V1" if all(re.search(rf'"{key}"\s*:', head) for key in V1_KEYS) else ""


def read_card(content: bytes, name: str) -> Card:
    """Read a card of whichever version from JSON, PNG or CHARX; ``name`` is the file's, for messages.

    Raises DataError (no card, damaged, unknown version, bad name), UnsafeError (beyond a limit, paths out of a zip).
    """
    if content.startswith(PNG_SIGNATURE):
        return _png_card(content, name)
    if content.startswith(ZIP_SIGNATURES):
        return _json_card(containers.charx_card(content, name), f"{name}:{containers.CARD_MEMBER}")
    if content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[") or content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return _json_card(content, name)
    kind = next((kind for start, kind in OTHER_PICTURES.items() if content.startswith(start)), "no PNG, CHARX or JSON")
    raise missing(f"{kind}: no character card that can be read", name)


def _png_card(content: bytes, name: str) -> Card:
    """Read the first card of a PNG; the others only tell whether they agree."""
    (keyword, text), *others = containers.png_card_texts(content, name)
    card = _json_card(_from_base64(text, f"{name}:{keyword}"), f"{name}:{keyword}")
    unlike = [other for other, text in others if not _agrees(card, text, f"{name}:{other}")]
    if not unlike:
        return card
    hint = "remove the chunk that is out of date"
    message = f'"{keyword}" is read; "{unlike[0]}" in the same PNG holds something else'
    return _with_warnings(card, [Problem("card_chunks", message, name, hint, level="warn")])


def _agrees(card: Card, text: bytes, place: str) -> bool:
    try:
        return _texts(_json_card(_from_base64(text, place), place)) == _texts(card)
    except MenuraError:
        return False  # a warning says so: the first one is good


def _texts(card: Card) -> list[object]:
    """Return the fields that are read and that every version has: no V2 card can repeat a nickname."""
    data = card.raw if card.raw.get("spec") is None else card.raw["data"]
    return [data.get(key) or None for key in (*V1_KEYS, "alternate_greetings")]


def _from_base64(text: bytes, place: str) -> bytes:
    wrong = NOT_BASE64.search(text)
    if wrong:
        raise damaged(f"not base64 (byte {wrong.start()})", place)
    try:
        return base64.b64decode(text)
    except ValueError as error:
        raise damaged(f"not base64 ({error})", place) from error


def _json_card(content: bytes, place: str) -> Card:
    text = _decoded(content, place)
    if len(KEY.findall(text)) > KEYS_LIMIT:
        raise bomb(f"more than {KEYS_LIMIT:,} keys", place, "shorten the card's lorebook")
    value, problems = parsed(text, place)
    if problems:
        raise DataError.of([Problem("card_syntax", each.message, each.place, each.hint) for each in problems])
    if not isinstance(value, dict):
        raise missing("JSON has no character data (no object)", place)
    return _card(value, place)


def _decoded(content: bytes, place: str) -> str:
    if len(content) > TEXT_LIMIT:
        found = f"{len(content) / MIB:.1f} MiB, limit {TEXT_LIMIT // MIB} MiB"
        raise bomb(found, place, "shorten the card's lorebook and texts; pictures do not belong in its JSON")
    try:
        return content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise damaged(f"byte {error.start}: not UTF-8", place, "save the card as UTF-8") from error


def _card(raw: dict[str, Any], place: str) -> Card:
    spec, data = _spec_and_data(raw, place)
    _check_types(data, place)
    name = _checked_name(data.get("name"), "name", place)
    nickname = data.get("nickname") if spec == "v3" else None
    character = _checked_name(nickname, "nickname", place) if nickname and nickname.strip() else name
    reader = CardText(character, (name, character))
    facts = [fact for key in FACTS for fact in reader.facts(data.get(key) or "")]
    first_lines = [data.get("first_mes") or "", *(data.get("alternate_greetings") or [])]
    greetings = [reader.text(line) for line in first_lines if line.strip()]
    examples = reader.examples(data.get("mes_example") or "")
    card = Card(name, character, tuple(facts), tuple(greetings), examples, spec, raw, reader.replaced)
    return _with_warnings(card, _warnings(raw, data, reader.left_out, place))


def _spec_and_data(raw: dict[str, Any], place: str) -> tuple[str, dict[str, Any]]:
    written = raw.get("spec")
    if written is None:
        if "name" not in raw or not any(key in raw for key in V1_TELLING_KEYS):
            hint = f"a card has a spec, or as V1 the keys {', '.join(V1_KEYS)}"
            raise missing("JSON has no character data", place, hint)
        return "v1", raw
    spec = SPECS.get(written) if isinstance(written, str) else None
    if spec is None:
        found = shown(written) if isinstance(written, str) else type(written).__name__
        hint = "export the card as V2 or V3"
        raise DataError(f"spec {found} unknown; v1-v3 supported", place=place, code="card_version", hint=hint)
    data = raw.get("data")
    if not isinstance(data, dict):
        raise damaged(f"data: an object is required, is {_kind(data)}", place)
    return spec, data


def _check_types(data: dict[str, Any], place: str) -> None:
    """Raise one DataError with every field that is read and has another type; null counts as empty."""
    wanted: dict[str, type] = dict.fromkeys((*V1_KEYS, "nickname"), str)
    wanted |= {"alternate_greetings": list, "extensions": dict, "assets": list}
    words: dict[type, str] = {str: "text", list: "a list", dict: "an object"}
    wrong = [
        (key, words[kind], data[key])
        for key, kind in wanted.items()
        if data.get(key) is not None and not isinstance(data[key], kind)
    ]
    greetings = data.get("alternate_greetings")
    for index, line in enumerate(greetings if isinstance(greetings, list) else []):
        if not isinstance(line, str):
            wrong.append((f"alternate_greetings[{index}]", "text", line))
    if wrong:
        problems = [
            Problem("card_syntax", f"{key}: must be {word}, is {_kind(value)}", place) for key, word, value in wrong
        ]
        raise DataError.of(problems)


def _kind(value: object) -> str:
    kinds = {type(None): "missing", str: "text", bool: "true or false", list: "a list", dict: "an object"}
    return kinds.get(type(value), "a number")


def _checked_name(written: str | None, key: str, place: str) -> str:
    name = (written or "").strip()
    at = next((index for index, c in enumerate(name) if unicodedata.category(c) == "Cc"), None)
    if at is not None:
        wrong = f"{shown(name)} has a control character at position {at + 1}"
    elif not name:
        wrong = "is empty"
    elif len(name) > NAME_LIMIT:
        wrong = f"{shown(name)} has {len(name)} characters, limit {NAME_LIMIT}"
    else:
        return name
    raise DataError(f"{key}: {wrong}", place=place, code="bad_name", hint=f"correct {key!r} in the card")


def _warnings(raw: dict[str, Any], data: dict[str, Any], left_out: int, place: str) -> list[Problem]:
    warnings = []
    if left_out:
        message = f"lines of mes_example before anybody speaks, left out: {left_out}"
        hint = "begin a line with {{char}}: or {{user}}:"
        warnings.append(Problem("card_examples", message, place, hint, level="warn"))
    version = raw.get("spec_version")
    if raw.get("spec") == "chara_card_v3" and isinstance(version, str) and _number(version) > V3_NUMBER:
        message = f"spec_version {shown(version)} is newer than {V3_NUMBER}; what it adds is kept and not read"
        warnings.append(Problem("card_version", message, place, level="warn"))
    count = _remote_links(raw, data)
    if count:
        message = f"links to pictures or assets elsewhere, kept as text and never fetched: {count}"
        warnings.append(Problem("remote_links", message, place, "put the files into the card", level="warn"))
    return warnings


def _number(version: str) -> float:
    try:
        return float(version)
    except ValueError:
        return 0.0


def _remote_links(raw: dict[str, Any], data: dict[str, Any]) -> int:
    """Count links that a program which shows the card would follow by itself."""
    # SillyTavern repeats texts beside "data"; they are counted once, and the avatar may stand in either place.
    avatars = {text for text in (raw.get("avatar"), data.get("avatar")) if isinstance(text, str)}
    assets = [asset.get("uri") for asset in data.get("assets") or [] if isinstance(asset, dict)]
    links = sum(bool(REMOTE.match(uri)) for uri in (*avatars, *assets) if isinstance(uri, str))
    return links + sum(len(REMOTE_IMAGE.findall(text)) for text in _strings(data))


def _strings(value: object) -> Iterator[str]:
    """Yield every text below a value; its depth is limited already."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


def _with_warnings(card: Card, warnings: list[Problem]) -> Card:
    return replace(card, warnings=(*card.warnings, *warnings))
