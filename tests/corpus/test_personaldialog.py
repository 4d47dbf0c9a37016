"""PersonalDialog's lines: people without names, and what they tell of themselves."""

import json
from pathlib import Path
from typing import Any

import pytest

from menura.corpus import inputs, personaldialog
from menura.corpus.check import check
from menura.corpus.dialogue import Dialogue, Turn
from menura.errors import DataError, Problem
from menura.tasks.persona_groups import by_dialogue, by_speaker

SHARED = Path(__file__).parents[2] / "../shared/data/personaldialog"
FIRST = {"tag": ["钟表;山羊 奶"], "loc": "云南 大理", "gender": "male"}
SECOND = {"tag": [""], "loc": "海外", "gender": ""}
THIRD = {"tag": "唱歌", "loc": "", "gender": "female"}
BARE = {"tag": "", "loc": "", "gender": ""}


def record(*said: str, uid: list[Any] | None = None, profile: list[Any] | None = None, **more: Any) -> dict[str, Any]:
    said = said or ("山羊 又 跑 了", "怎么 会 ？")
    turns = [[text] for text in said]
    who = [place % 2 for place in range(len(said))] if uid is None else uid
    return {"dialog": turns, "profile": [FIRST, SECOND] if profile is None else profile, "uid": who, **more}


def written(folder: Path, *records: Any) -> Path:
    path = folder / "talk.json"
    path.write_text("".join(f"{json.dumps(value, ensure_ascii=False)}\n" for value in records), encoding="utf-8")
    return path


def read(folder: Path, *records: Any) -> list[Dialogue]:
    return inputs.read(written(folder, *records))


def problems_of(folder: Path, *records: Any) -> list[Problem]:
    with pytest.raises(DataError) as caught:
        read(folder, *records)
    return caught.value.problems


def test_a_line_is_a_dialogue_with_gender_address_and_interests_and_what_is_empty_is_not_there(tmp_path: Path) -> None:
    (found,) = read(tmp_path, record())
    first, second = found.speakers
    assert found == Dialogue(
        "talk:1",
        (Turn(first, "山羊又跑了"), Turn(second, "怎么会？")),
        profiles={
            first: {"gender": ("male",), "address": ("云南", "大理"), "interest": ("钟表", "山羊 奶")},
            second: {"address": ("海外",)},
        },
    )


def test_the_same_profile_with_interests_is_the_same_person_and_anybody_else_is_none(tmp_path: Path) -> None:
    swapped = record(profile=[SECOND, {**FIRST, "tag": "钟表;山羊 奶"}])
    dialogues = read(tmp_path, record(), swapped, record(profile=[THIRD, BARE]))
    known, other = by_speaker(dialogues)
    assert [part.dialogue.dialogue_id for part in known.dialogues] == ["talk:1", "talk:2"]
    assert [part.dialogue.dialogue_id for part in other.dialogues] == ["talk:3"]
    assert known.persona_id.startswith("profile-")
    assert len(by_dialogue(dialogues)) == 3


def test_two_who_tell_the_same_are_two_in_one_dialogue(tmp_path: Path) -> None:
    (found,) = read(tmp_path, record(profile=[FIRST, FIRST]))
    assert len(found.speakers) == 2
    assert found.profiles[found.speakers[0]] == found.profiles[found.speakers[1]]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("你   好 ， 老张 ！", "你好，老张！"),
        ("羊 会 fly ? 我 有 3 只", "羊会 fly ? 我有 3 只"),
        ("well then , ok", "well then , ok"),
        ("今日 は カメラ\u3000です 。", "今日はカメラです。"),
        ("“ 咩 ” … 对", "“咩”…对"),
    ],
)
def test_blanks_go_between_two_chinese_or_japanese_characters_alone(text: str, plain: str) -> None:
    assert personaldialog.unsegmented(text) == plain


@pytest.mark.parametrize("key", ["responder_profile", "response_profile"])
def test_the_golden_response_is_said_last_by_who_has_the_responder_s_profile(tmp_path: Path, key: str) -> None:
    three = {"profile": [FIRST, SECOND, THIRD], "uid": [0, 1, 2]}
    golden = {"golden_response": ["咩 咩"], key: {"gender": "male", "loc": "云南 大理", "tag": "钟表;山羊 奶"}}
    (found,) = read(tmp_path, record("一", "二", "三", **three, **golden))
    assert (found.turns[-1].speaker, found.turns[-1].text) == (found.turns[0].speaker, "咩咩")


def test_a_responder_that_nobody_is_joins_the_dialogue(tmp_path: Path) -> None:
    golden = {"golden_response": ["咩"], "responder_profile": THIRD}
    (found,) = read(tmp_path, record("一", profile=[FIRST], uid=[0], **golden))
    assert [found.profiles[name].get("gender") for name in found.speakers] == [("male",), ("female",)]


def test_a_responder_does_not_answer_itself_though_its_profile_is_the_last_speaker_s(tmp_path: Path) -> None:
    golden = {"golden_response": ["咩"], "responder_profile": BARE}
    (found,) = read(tmp_path, record("一", "二", "三", profile=[BARE, BARE], **golden))
    assert found.turns[-1].speaker == found.turns[1].speaker != found.turns[2].speaker


def test_without_a_responder_s_profile_the_other_one_responds_if_there_is_one_other(tmp_path: Path) -> None:
    (found,) = read(tmp_path, record(golden_response=["咩"]))
    assert found.turns[-1].speaker == found.turns[0].speaker
    three = {"profile": [FIRST, SECOND, THIRD], "uid": [0, 1]}
    (problem,) = problems_of(tmp_path, record(golden_response=["咩"], **three))
    assert problem.message == "responder_profile: required, is missing: a golden response, and 2 who may say it"


def test_empty_turns_are_left_out_and_counted(tmp_path: Path) -> None:
    path = written(tmp_path, record("一", " ", "三", uid=[0, 0, 1]))
    (found,) = inputs.read(path)
    assert [turn.text for turn in found.turns] == ["一", "三"]
    assert [problem.code for problem in check(path)[0].warnings] == ["empty_turn"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"uid": [0, 2]}, "uid[1]: is 2, there are 2 profiles"),
        ({"uid": [0, -1]}, "uid[1]: is -1, there are 2 profiles"),
        ({"uid": [0, "1"]}, "uid[1]: is text, must be a number"),
        ({"uid": [0, True]}, "uid[1]: is true or false, must be a number"),
        ({"uid": [0]}, "uid: 1 speaker of 2 turns"),
        ({"profile": [FIRST, 3]}, "profile[1]: is a number, must be an object"),
        ({"profile": [FIRST, {"tag": 3}]}, "profile[1].tag: is a number, must be text or an array of texts"),
        ({"profile": [BARE] * 65}, "profile: 65 people, at most 64"),
        ({"golden_response": None, "responder_profile": FIRST}, "golden_response: is null, must be text or an array"),
    ],
)
def test_a_wrong_field_is_named_by_its_key_path(tmp_path: Path, wrong: dict[str, Any], message: str) -> None:
    (problem,) = problems_of(tmp_path, record(), {**record(), **wrong})
    assert problem.message.startswith(message)
    assert problem.place.endswith("talk.json:2")


def test_missing_fields_are_all_named(tmp_path: Path) -> None:
    told = [problem.message for problem in problems_of(tmp_path, record(), {"dialog": [["一"]]})]
    assert told == ["profile: required, is missing", "uid: required, is missing"]


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "lines"), [("dialogues_train", 100), ("test_data_biased", 10), ("test_data_random", 10)]
)
def test_the_samples_of_the_published_format_are_read_whole(name: str, lines: int) -> None:
    if not SHARED.exists():
        pytest.skip("the measuring data personaldialog are not beside the project")
    path = SHARED / f"bob_sample_{name}.json.xz"
    dialogues = inputs.read(path)
    assert len(dialogues) == lines
    assert not check(path)[0].errors
    assert {key for talk in dialogues for known in talk.profiles.values() for key in known} == {
        "gender",
        "address",
        "interest",
    }
    spaced = personaldialog.BETWEEN
    lines = [line for talk in dialogues for turn in talk.turns for line in turn.text.split("\n")]
    assert not any(spaced.search(line) for line in lines)
