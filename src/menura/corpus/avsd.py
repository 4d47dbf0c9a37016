"""AVSD's JSON becomes dialogues about videos: somebody asks, and one who knows the video answers.

``{video: {"script" or "caption", "summary", "data": {assignment: [{"question", "answer"}, …]}}}`` (version 0.1), or
``{"dialogs": [{"image_id", "caption", "summary", "dialog": [{"question", "answer"}, …]}]}`` as of DSTC7 (Alamri et al.,
2019). Who answers is called by the video and has its caption and summary as facts, sentence by sentence.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from menura.corpus.dialogue import Dialogue, Turn
from menura.corpus.findings import Draft, Found, strict
from menura.corpus.schema import Schema
from menura.corpus.source import DATA_SET, Source, opened
from menura.corpus.strict_json import parsed, step
from menura.errors import Problem

ASKER = "asker"  # a generic name
CAPTIONS = ("script", "caption")  # one of them
UNDISCLOSED = "__UNDISCLOSED__"  # stands in DSTC7's test file for the answer that participants were to give
SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
ASKED = r'\s*:\s*\[\s*\{[^{}]*"question"\s*:'
REFERENCES = re.compile(r'^\s*\{.{0,200}?"images"\s*:\s*\[\s*\{', re.DOTALL)
MARK = re.compile(rf'^\s*\{{.*?("data"\s*:\s*\{{\s*"[^"]*"{ASKED}|"dialog"{ASKED})', re.DOTALL)
SHAPES = (
    (REFERENCES, "JSON object of reference answers"),
    (MARK, "JSON object of videos with questions and answers"),
)  # of the start of a file, each with what it is


@dataclass(frozen=True)
class Talk:
    """One dialogue about a video as in the file, with the key paths of its parts."""

    name: str
    video: str
    about: dict[str, object]
    about_path: str
    pairs: list[tuple[str, object]]


def read(path: Path) -> Iterator[Dialogue]:
    """Return the dialogues of a file, or raise one DataError with all that is wrong in it."""
    return strict(scan(opened(path, DATA_SET)), str(path))


def scan(source: Source) -> Iterator[Found]:
    """Yield every dialogue and every problem, in the order of the file; ids are ``NAME:video:number``."""
    value, problems = parsed(source.text, source.name)
    yield from problems
    if problems:
        return
    schema = Schema(source.name)
    videos = schema.fields(value, "file")
    if "annotations" in videos:
        alone = "answers alone, without captions and questions: references for scoring, no dialogues"
        yield Problem("no_captions", alone, source.name, "give the file of dialogues")
        return
    talks = _of_challenge(schema, videos) if "dialogs" in videos else _of_videos(schema, videos)
    for talk in talks:
        yield from _dialogue(talk, source)
    yield from schema.problems


def sentences(text: str) -> tuple[str, ...]:
    """Return the sentences of a text; its last one may lack a full stop."""
    return tuple(part for part in SENTENCE_END.split(text.strip()) if part)


def _of_videos(schema: Schema, videos: dict[str, object]) -> Iterator[Talk]:
    for video, value in videos.items():
        path = step("", video)
        about = schema.fields(value, path)
        if "data" not in about and isinstance(value, dict):
            schema.wrong(step(path, "data"), "required, is missing")
        talks = schema.fields(about.get("data", {}), step(path, "data"))
        for number, (name, pairs) in enumerate(talks.items(), start=1):
            at = step(step(path, "data"), name)
            yield Talk(f"{video}:{number}", video, about, path, schema.elements(pairs, at))


def _of_challenge(schema: Schema, file: dict[str, object]) -> Iterator[Talk]:
    times: dict[str, int] = {}
    for path, value in schema.items(file, "dialogs"):
        about = schema.fields(value, path)
        video = schema.text(about, "image_id", path)
        times[video] = times.get(video, 0) + 1
        yield Talk(f"{video}:{times[video]}", video, about, path, schema.items(about, "dialog", path))


def _dialogue(talk: Talk, source: Source) -> Iterator[Found]:
    schema = Schema(source.name)
    draft = Draft(f"{source.stem}:{talk.name}", source.name)
    facts = _facts(schema, talk)
    answered = 0
    for path, pair in talk.pairs:
        fields = schema.fields(pair, path)
        question = schema.text(fields, "question", path) if isinstance(pair, dict) else ""
        answer = schema.text(fields, "answer", path, blank=True) if "answer" in fields else ""
        if answer.strip() in ("", UNDISCLOSED):
            draft.warn("unanswered", "question without an answer; left out", draft.place)
            continue
        answered += 1
        draft.say(Turn(ASKER, question.strip()), draft.place)
        draft.say(Turn(talk.video, answer.strip()), draft.place)
    draft.facts[talk.video] = facts
    draft.problems.extend(schema.problems)
    yield from draft.found() if answered or schema.problems or not talk.pairs else _left_out(draft.problems)


def _facts(schema: Schema, talk: Talk) -> tuple[str, ...]:
    """Return the sentences of the caption, then those of the summary, which may be blank."""
    caption = next((name for name in CAPTIONS if name in talk.about), "")
    if not caption:
        schema.wrong(talk.about_path, f"no caption: neither {' nor '.join(CAPTIONS)} is there")
        return ()
    told = schema.text(talk.about, caption, talk.about_path)
    summary = schema.text(talk.about, "summary", talk.about_path, blank=True) if "summary" in talk.about else ""
    return (*sentences(told), *sentences(summary))


def _left_out(problems: Sequence[Problem]) -> Iterator[Found]:
    yield from problems
