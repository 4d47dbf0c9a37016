"""A study becomes one HTML page that works from a file, without a network: it keeps the votes and saves them."""

import html
import json
from pathlib import Path
from typing import Any

from menura.annotation import presentation
from menura.annotation.protocols import StudyPart
from menura.annotation.study import Item, Study

FOLDER = Path(__file__).parent / "page_files"


def page(study: Study) -> str:
    """Return the page."""
    text = (FOLDER / "page.html").read_text(encoding="utf-8")
    pieces = {
        "/*STYLE*/": (FOLDER / "page.css").read_text(encoding="utf-8"),
        "/*SCRIPT*/": (FOLDER / "page.js").read_text(encoding="utf-8"),
        "STUDY_ID": html.escape(study.key.study),
        "STUDY_DATA": _data(study),  # the last, so that nothing in a dialogue is taken for a place
    }
    for place, piece in pieces.items():
        text = text.replace(place, piece, 1)
    return text


def _data(study: Study) -> str:
    """Return what the page shows as JSON; no text can end the element that it stands in."""
    content = {
        "study": study.key.study,
        "pairs": study.protocol.pairs,
        "parts": [_part(study, part) for part in study.protocol.parts],
    }
    text = json.dumps(content, ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode("utf-8", "replace").decode()


def _part(study: Study, part: StudyPart) -> dict[str, Any]:
    questions = [
        {"name": q.name, "text": q.text, "answers": [{"value": a.value, "text": a.text} for a in q.answers]}
        for q in part.questions
    ]
    return {"name": part.name, "questions": questions, "items": [_item(item, part) for item in study.parts[part.name]]}


def _item(item: Item, part: StudyPart) -> dict[str, Any]:
    known = presentation.person(item) if part.shows_person else ()
    return {
        "id": item.name,
        "person": {"title": presentation.person_title(item), "lines": known} if known else None,
        "sides": [
            {"speaker": side.speaker, "lines": [[line.who, line.text, line.is_judged] for line in side.lines]}
            for side in presentation.sides(item)
        ],
    }
