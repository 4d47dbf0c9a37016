"""A character card is written as JSON, PNG or CHARX; what was read comes out unchanged, unknown fields too.

Every file is read again before it is returned: what cannot be read is never written.
"""

import base64
import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from menura.corpus.chats.cards import containers
from menura.corpus.chats.cards.card import V1_KEYS, Card, read_card
from menura.corpus.chats.cards.containers import CARD_MEMBER, TEXT_LIMIT, damaged
from menura.corpus.chats.cards.text import Turns, example_text

V3 = {"spec": "chara_card_v3", "spec_version": "3.0"}
V2 = {"spec": "chara_card_v2", "spec_version": "2.0"}
V3_DEFAULTS: dict[str, Any] = {
    **dict.fromkeys((*V1_KEYS, "creator_notes", "system_prompt", "post_history_instructions"), ""),
    "alternate_greetings": [],
    "group_only_greetings": [],
    "tags": [],
    "creator": "",
    "character_version": "",
    "extensions": {},
}
# The specification asks for these words where a V3 card is also written as V2.
V2_NOTICE = (
    "This character card is Character Card V3, but it is loaded as a Character Card V2. "
    "Please use a Character Card V3 compatible application to use this character card properly."
)
DEFAULT_ICON = {"type": "icon", "uri": "ccdefault:", "name": "main", "ext": "png"}
EMBEDDED = "embeded://"  # spelt so in the specification


def new_card(
    name: str,
    facts: Sequence[str],
    greetings: Sequence[str],
    examples: Sequence[Turns],
    extensions: Mapping[str, Any],
) -> dict[str, Any]:
    """Return a V3 card; a fact is one line, and in the examples who is not ``name`` becomes ``{{user}}``."""
    data = copy.deepcopy(V3_DEFAULTS) | {
        "name": name,
        "description": "\n".join(facts),
        "first_mes": greetings[0] if greetings else "",
        "mes_example": example_text(tuple(examples), name),
        "alternate_greetings": list(greetings[1:]),
        "extensions": copy.deepcopy(dict(extensions)),
    }
    return {**V3, "data": data}


def as_v3(card: Card) -> dict[str, Any]:
    """Return the card as V3: every key and value that was there in its place, what V3 requires added behind."""
    raw = copy.deepcopy(card.raw)
    nested = raw.get("spec") is not None
    data = raw["data"] if nested else raw  # the whole of a V1 object is what later versions hold under "data"
    data |= {key: value for key, value in copy.deepcopy(V3_DEFAULTS).items() if key not in data}
    if card.spec == "v3":
        return raw
    _lift_lorebook(data.get("character_book"))
    return raw | V3 if nested else {**V3, "data": data}


def _lift_lorebook(book: object) -> None:
    """Add what V3 requires of each entry of a lorebook: its keys are words until V3 lets them be patterns."""
    entries = book.get("entries") if isinstance(book, dict) else None
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict):
            entry.setdefault("use_regex", False)


def card_json(card_object: Mapping[str, Any]) -> bytes:
    """Return a card of any version as a JSON file, as it is."""
    content = _dumped(card_object, indent=2)
    # Indents alone must not make a card too large to be read.
    content = content if len(content) <= TEXT_LIMIT else _dumped(card_object)
    read_card(content, CARD_MEMBER)
    return content


def card_png(card_object: Mapping[str, Any], image: bytes | None = None) -> bytes:
    """Return the picture with the card in it, as V3 and as V2; None gives a plain one. Its other chunks stay."""
    card = _read(card_object)
    newest = as_v3(card)
    texts = (("ccv3", newest), ("chara", _as_v2(newest, card.spec)))
    packed = [(keyword, base64.b64encode(_dumped(version))) for keyword, version in texts]
    png = containers.png_with_texts(image, packed, "picture")
    read_card(png, "card.png")
    return png


def _as_v2(newest: dict[str, Any], spec: str) -> dict[str, Any]:
    older = copy.deepcopy(newest) | V2
    data = older["data"]
    notes = data["creator_notes"] or ""
    if spec == "v3" and V2_NOTICE not in str(notes):
        data["creator_notes"] = f"{notes}\n\n{V2_NOTICE}".lstrip()
    return older


def card_charx(card_object: Mapping[str, Any], files: Mapping[str, bytes]) -> bytes:
    """Return a CHARX of the card as V3 and the files by their paths; the same input gives the same bytes.

    Files under ``assets/`` that the card does not name yet are added to its assets.
    """
    if CARD_MEMBER in files:
        raise damaged(f"{CARD_MEMBER} is the card itself", CARD_MEMBER, "name the file otherwise")
    for path in files:
        containers.check_path(path, path)
    newest = as_v3(_read(card_object))
    _name_assets(newest["data"], sorted(files))
    content = containers.charx(_dumped(newest, indent=2), files)
    read_card(content, "card.charx")
    return content


def _name_assets(data: dict[str, Any], paths: list[str]) -> None:
    assets = data.get("assets")
    # A card without assets has the default icon; a list takes its place, so it names that icon.
    listed = list(assets) if assets else []
    named = {asset.get("uri") for asset in listed if isinstance(asset, dict)}
    new = [path for path in paths if path.startswith("assets/") and EMBEDDED + path not in named]
    if not new:
        return
    for path in new:
        listed.append(_asset(path, has_main=_has_main_icon(listed)))
    if assets is None and not _has_main_icon(listed):
        listed.insert(0, dict(DEFAULT_ICON))
    data["assets"] = listed


def _asset(path: str, *, has_main: bool) -> dict[str, str]:
    """Return a file's entry; its kind is the first folder below ``assets/``, the first icon is the main one."""
    parts = PurePosixPath(path)
    kind = parts.parts[1] if len(parts.parts) > 2 else "other"  # assets/kind/file
    name = parts.stem
    if kind == "icon":
        name = "main" if not has_main else parts.name if name == "main" else name
    return {"type": kind, "uri": EMBEDDED + path, "name": name, "ext": parts.suffix[1:].lower() or "unknown"}


def _has_main_icon(assets: list[Any]) -> bool:
    return any(isinstance(each, dict) and each.get("type") == "icon" and each.get("name") == "main" for each in assets)


def _read(card_object: Mapping[str, Any]) -> Card:
    return read_card(_dumped(card_object), CARD_MEMBER)


def _dumped(card_object: Mapping[str, Any], indent: int | None = None) -> bytes:
    """Return JSON; half a surrogate pair or a NaN passes here and is refused with its place when it is read."""
    separators = (",", ":") if indent is None else None
    text = json.dumps(card_object, ensure_ascii=False, indent=indent, separators=separators)
    return text.encode("utf-8", "surrogatepass")
