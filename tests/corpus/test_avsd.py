"""AVSD's JSON: who knows the video answers, and has its caption and summary."""

import json
from pathlib import Path
from typing import Any

import pytest

from menura.corpus import inputs
from menura.corpus.check import check
from menura.corpus.dialogue import Dialogue, Turn
from menura.errors import DataError
from menura.tasks.persona_groups import by_dialogue, by_speaker

SHARED = Path(__file__).parents[2] / "../shared/data/avsd"
ASKED = [{"question": "is it a goat?", "answer": "yes.", "id": "1"}, {"question": "asleep?", "answer": "no."}]


def video(**changed: Any) -> dict[str, Any]:
    told = {"script": "A goat eats.  It sings!", "summary": "One goat. No hat\n", "split": "train"}
    return {**told, "data": {"worker": ASKED}, **changed}


def written(folder: Path, value: Any, name: str = "chat.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def test_a_dialogue_alternates_asker_and_video_whose_facts_are_the_sentences_of_caption_then_summary(
    tmp_path: Path,
) -> None:
    (found,) = inputs.read(written(tmp_path, {"V1": video()}))
    said = (("asker", "is it a goat?"), ("V1", "yes."), ("asker", "asleep?"), ("V1", "no."))
    facts = {"V1": ("A goat eats.", "It sings!", "One goat.", "No hat")}
    assert found == Dialogue("chat:V1:1", tuple(Turn(*turn) for turn in said), facts)


def test_a_video_is_one_task_and_only_answers_are_replies(tmp_path: Path) -> None:
    value = {"V1": video(data={"a": ASKED, "b": ASKED[:1]}), "V2": video()}
    dialogues = inputs.read(written(tmp_path, value))
    first, second = by_speaker(dialogues)
    assert [part.dialogue.dialogue_id for part in first.dialogues] == ["chat:V1:1", "chat:V1:2"]
    assert {exchange.reply.speaker for part in second.dialogues for exchange in part.exchanges()} == {"V2"}
    assert [[part.speaker for part in task.dialogues] for task in by_dialogue(dialogues)] == [["V1"], ["V1"], ["V2"]]


def test_the_challenge_s_files_give_the_same_dialogues(tmp_path: Path) -> None:
    value = {"dialogs": [{"image_id": "V1", "caption": "A goat eats.  It sings!", "summary": "One goat. No hat"}]}
    value["dialogs"][0]["dialog"] = ASKED  # type: ignore[assignment]
    (found,) = inputs.read(written(tmp_path, {"type": "train", "version": "0.1", **value}))
    assert found == inputs.read(written(tmp_path, {"V1": video()}))[0]


def test_files_without_captions_are_refused_with_all_problems_at_once(tmp_path: Path) -> None:
    bare = video()
    del bare["script"]
    broken = video(data={"worker": [{"question": 3, "answer": "so"}]})
    with pytest.raises(DataError) as caught:
        inputs.read(written(tmp_path, {"V1": bare, "V2": video(), "V3": {**bare, "data": 3}, "V4": broken}))
    told = [problem.message for problem in caught.value.problems]
    assert told == [
        "V1: no caption: neither script nor caption is there",
        "V4.data.worker[0].question: is a number, must be text",
        "V3.data: is a number, must be an object",
    ]


def test_references_alone_are_no_dialogues(tmp_path: Path) -> None:
    references = {"info": None, "images": [{"name": "vid1_1", "id": 1}], "annotations": [{"caption": "yes"}]}
    with pytest.raises(DataError, match="answers alone, without captions and questions"):
        inputs.read(written(tmp_path, references))


def test_questions_without_an_answer_are_left_out_and_counted(tmp_path: Path) -> None:
    unanswered = [{"question": "so?"}, {"question": "or?", "answer": " "}]
    path = written(tmp_path, {"V1": video(data={"a": unanswered}), "V2": video(data={"a": [*unanswered, *ASKED]})})
    (found,) = inputs.read(path)
    assert (found.dialogue_id, len(found.turns)) == ("chat:V2:1", 4)
    (warning,) = check(path)[0].warnings
    assert (warning.code, warning.count) == ("unanswered", 4)


def test_an_answer_that_is_not_disclosed_is_left_out(tmp_path: Path) -> None:
    talk = [{"question": "does it sing ?", "answer": "yes ."}, {"question": "why ?", "answer": "__UNDISCLOSED__"}]
    video = {"image_id": "V1", "caption": "A goat eats.", "summary": "", "dialog": talk}
    path = written(tmp_path, {"dialogs": [video]})
    (dialogue,) = inputs.read(path)
    assert [turn.text for turn in dialogue.turns] == ["does it sing ?", "yes ."]
    assert [warning.code for warning in check(path)[0].warnings] == ["unanswered"]


def test_a_summary_may_be_blank_or_missing_a_caption_may_not(tmp_path: Path) -> None:
    bare = video()
    del bare["summary"]
    dialogues = inputs.read(written(tmp_path, {"V1": video(summary=" "), "V2": bare}))
    assert [dialogue.facts for dialogue in dialogues] == [
        {"V1": ("A goat eats.", "It sings!")},
        {"V2": ("A goat eats.", "It sings!")},
    ]
    with pytest.raises(DataError, match=r"V1\.script: is empty"):
        inputs.read(written(tmp_path, {"V1": video(script=" ")}))


@pytest.mark.parametrize("text", ['{"V1": {"data"', "[" * 40, '{"V1": {}, "V1": {}}', "[]"])
def test_damaged_json_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "chat.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError):
        inputs.read(path, "avsd")


@pytest.mark.shared
def test_the_stored_file_is_read_whole_but_for_two_dialogues_without_answers() -> None:
    if not SHARED.exists():
        pytest.skip("the measuring data are not beside the project")
    dialogues = inputs.read(SHARED / "videoDial_test_v01.json.xz")
    assert len(dialogues) == 1623
    assert sum(len(dialogue.turns) for dialogue in dialogues) == 2 * 16230
    assert len(by_speaker(dialogues)) == 1594
