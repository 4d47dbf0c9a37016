"""PersonalDialog's lines become dialogues of people with gender, address and interests (Zheng et al., 2019).

``{"dialog": [[text], …], "profile": [{"tag": ["a;b"], "loc": "a b", "gender"}, …], "uid": [who, …]}`` as of
SMP2019-ECDT, ``uid`` being indices into ``profile``; test files add ``golden_response``, which the one of
``responder_profile`` (or ``response_profile``) says last. Nobody has a name: who tells interests is called by a hash of
the profile, so the same profile is the same person in every dialogue; anybody else is called by the place in
``profile`` and is no persona.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

from menura.corpus.dialogue import Dialogue, Profile, Turn
from menura.corpus.findings import Draft, Found, strict
from menura.corpus.schema import KINDS, Schema
from menura.corpus.source import DATA_SET, Source, opened
from menura.corpus.strict_json import Record, records, step
from menura.errors import Problem, number_of

SOMEBODY = tuple(f"somebody-{place}" for place in range(1, 65))  # speakers without interests; generic names
RESPONDER = ("responder_profile", "response_profile")  # one of them
MARK = re.compile(r'^\s*\{.*?"dialog"\s*:\s*\[\s*\[\s*"', re.DOTALL)
SHAPES = ((MARK, 'JSON objects with "dialog" of arrays'),)  # of the start of a file, each with what it is
# Chinese and Japanese letters, their punctuation, full-width forms; the blank U+3000 is none of them.
CJK = (
    r"\u2018\u2019\u201c\u201d\u2014\u2026\u2e80-\u2fdf\u3001-\u312f\u31a0-\u9fff"
    r"\uf900-\ufaff\ufe30-\ufe4f\uff01-\uffef\U00020000-\U0003ffff"
)
# The set is published as words parted by blanks. Chinese writes none: they would be learnt, and said.
BETWEEN = re.compile(rf"(?<=[{CJK}])\s+(?=[{CJK}])")


def read(path: Path) -> Iterator[Dialogue]:
    """Return the dialogues of a file, or raise one DataError with all that is wrong in it."""
    return strict(scan(opened(path, DATA_SET)), str(path))


def scan(source: Source) -> Iterator[Found]:
    """Yield a dialogue or a problem for every line, in order; ids are ``NAME:line``."""
    for record in records(source):
        if isinstance(record, Problem):
            yield record
        else:
            yield from _draft(record, f"{source.stem}:{record.number}").found()


def unsegmented(text: str) -> str:
    """Return a text without the blanks between two Chinese (or Japanese) characters."""
    return BETWEEN.sub("", text.strip())


def _draft(record: Record, name: str) -> Draft:
    schema, value = Schema(record.place), record.value
    draft = Draft(name, record.place)
    profiles = [_profile(schema, item, path) for path, item in schema.items(value, "profile")]
    texts = [_text(schema, item, path) for path, item in schema.items(value, "dialog")]
    speakers = _speakers(schema, value, len(profiles))
    if not schema.problems and len(speakers) != len(texts):
        schema.wrong("uid", f"{number_of(len(speakers), 'speaker')} of {number_of(len(texts), 'turn')}")
    if "golden_response" in value:
        texts.append(_text(schema, value["golden_response"], "golden_response"))
        speakers.append(_responder(schema, value, profiles, speakers))
    if len(profiles) > len(SOMEBODY):
        schema.wrong("profile", f"{number_of(len(profiles), 'person', 'people')}, at most {len(SOMEBODY)}")
    draft.problems.extend(schema.problems)
    if not schema.problems:
        _say(draft, profiles, speakers, texts)
    return draft


def _say(draft: Draft, profiles: list[Profile], speakers: list[int], texts: list[str]) -> None:
    names = _names(profiles)
    for speaker, text in zip(speakers, texts, strict=True):
        if text:
            draft.say(Turn(names[speaker], text), draft.place)
        else:
            draft.warn("empty_turn", "empty turn; left out", draft.place)
    spoken = {turn.speaker for turn in draft.turns}
    told = zip(names, profiles, strict=True)
    draft.profiles.update({name: profile for name, profile in told if profile and name in spoken})


def _names(profiles: list[Profile]) -> list[str]:
    names: list[str] = []
    for place, profile in enumerate(profiles):
        digest = hashlib.sha256(json.dumps(profile, sort_keys=True).encode()).hexdigest()
        name = f"profile-{digest[:12]}" if "interest" in profile else SOMEBODY[place]
        # Two who say the same of themselves are two in this dialogue.
        names.append(SOMEBODY[place] if name in names else name)
    return names


def _profile(schema: Schema, item: object, path: str) -> Profile:
    """Return gender, address and interests; what is empty is not there."""
    fields = schema.fields(item, path)
    told = {
        "gender": (_text(schema, fields.get("gender", ""), step(path, "gender")),),
        "address": tuple(_text(schema, fields.get("loc", ""), step(path, "loc"), joined=False).split()),
        "interest": tuple(_text(schema, fields.get("tag", ""), step(path, "tag"), ";", joined=False).split(";")),
    }
    known = {key: tuple(value.strip() for value in values if value.strip()) for key, values in told.items()}
    return {key: values for key, values in known.items() if values}


def _text(schema: Schema, value: object, path: str, between: str = " ", *, joined: bool = True) -> str:
    """Return a text, given as a text or an array of texts; ``joined`` removes blanks between Chinese characters."""
    if not isinstance(value, str | list):
        schema.wrong(path, f"is {KINDS[type(value)]}, must be text or an array of texts")
        return ""
    items = schema.elements(value, path) if isinstance(value, list) else [(path, value)]
    text = between.join(schema.words(item, at, blank=True) for at, item in items)
    return unsegmented(text) if joined else text


def _speakers(schema: Schema, value: dict[str, object], people: int) -> list[int]:
    """Return who says each turn, as places in ``profile``."""
    found: list[int] = []
    for path, item in schema.items(value, "uid"):
        if isinstance(item, bool) or not isinstance(item, int):
            schema.wrong(path, f"is {KINDS[type(item)]}, must be a number")
        elif not 0 <= item < people:
            schema.wrong(path, f"is {item}, there are {people} profiles")
        else:
            found.append(item)
    return found


def _responder(schema: Schema, value: dict[str, object], profiles: list[Profile], speakers: list[int]) -> int:
    """Return who says the golden response: not the last speaker, and known by the profile; added if it is of nobody."""
    last = speakers[-1] if speakers else None
    key = next((key for key in RESPONDER if key in value), None)
    if key is None:
        others = [place for place in range(len(profiles)) if place != last]
        if len(others) != 1:
            schema.wrong(RESPONDER[0], f"required, is missing: a golden response, and {len(others)} who may say it")
        return others[0] if others else 0
    profile = _profile(schema, value[key], key)
    alike = [place for place, other in enumerate(profiles) if other == profile and place != last]
    if not alike:
        profiles.append(profile)
    return alike[0] if alike else len(profiles) - 1
