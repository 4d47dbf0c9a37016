"""The words of the page, by language: one JSON file each, with the same keys."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "labels"
LANGUAGES: Mapping[str, str] = {"en": "English", "zh": "中文"}  # each called as its speakers call it
USUAL = "en"
READ_AT_MOST = 20  # languages of one Accept-Language header


@cache
def labels(language: str) -> Mapping[str, str]:
    """Return the words of a language by key."""
    words: dict[str, str] = json.loads((FOLDER / f"{language}.json").read_text(encoding="utf-8"))
    return words


def chosen_language(cookie: str, accepted: str) -> str:
    """Return the language of the settings' cookie, else the one of ours that ``Accept-Language`` likes best."""
    if cookie in LANGUAGES:
        return cookie
    wanted = [_weighed(part) for part in accepted.split(",")[:READ_AT_MOST]]
    ours = [(weight, language) for weight, language in wanted if language in LANGUAGES and weight > 0]
    return max(ours, key=lambda one: one[0])[1] if ours else USUAL


def _weighed(part: str) -> tuple[float, str]:
    """Return one entry of the header as its weight and its language without the country."""
    language, _, weight = part.partition(";")
    try:
        weighed = float(weight.strip().removeprefix("q=")) if weight else 1.0
    except ValueError:
        weighed = 0.0
    return weighed, language.strip().lower().partition("-")[0]
