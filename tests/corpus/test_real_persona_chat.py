"""RealPersonaChat's two files: dialogues, and the people who speak in them."""

import json
import lzma
from pathlib import Path
from typing import Any

import pytest

from menura.artefacts import corpus_store
from menura.corpus import inputs, real_persona_chat
from menura.corpus.check import check
from menura.corpus.dialogue import Dialogue, Turn
from menura.corpus.source import DATA_SET, opened
from menura.errors import DataError, Problem
from menura.tasks.persona_groups import by_speaker

SHARED = Path(__file__).parents[2] / "../shared/data/real_persona_chat"
FACTS = ["山羊を飼っている。", "時計を直すのが好きだ。"]
DEMOGRAPHIC = {
    "gender": "Female",
    "age": "30-39",
    "education": "Other",
    "employment_status": "None",
    "region_of_residence": "Oita",
}


def person(name: str, **changed: Any) -> dict[str, Any]:
    told = {"persona": FACTS, "personality": {"IOS": 4}, "demographic_information": DEMOGRAPHIC}
    return {"interlocutor_id": name, **told, **changed}


PEOPLE = {"QA": person("QA"), "QB": person("QB", persona=["歌が下手だ。"], demographic_information={"age": "-19"})}


def line(number: object, *said: tuple[str, str]) -> dict[str, Any]:
    utterances = [
        {"utterance_id": place, "interlocutor_id": who, "text": text, "timestamp": "2021-01-01T00:00:00.000000"}
        for place, (who, text) in enumerate(said or (("QA", "山羊が逃げました。"), ("QB", "またですか？")))
    ]
    evaluations = [{"interlocutor_id": "QA", "informativeness": 4}]
    return {
        "dialogue_id": number,
        "interlocutors": ["QA", "QB"],
        "utterances": utterances,
        "evaluations": evaluations,
    }


def pair(folder: Path, *lines: dict[str, Any], people: Any = PEOPLE) -> list[Path]:
    """Write both files; return them, the dialogues first."""
    paths = [folder / "dialogues.jsonl", folder / "interlocutors.json"]
    written = (json.dumps(value, ensure_ascii=False) for value in lines or (line(1), line(2)))
    paths[0].write_text("".join(f"{text}\n" for text in written), encoding="utf-8")
    paths[1].write_text(json.dumps(people, ensure_ascii=False, indent=4), encoding="utf-8")
    return paths


def problems_of(path: Path) -> list[Problem]:
    with pytest.raises(DataError) as caught:
        inputs.read(path)
    return caught.value.problems


def test_a_speaker_has_its_sentences_as_facts_and_in_a_profile_with_what_is_told_of_it(tmp_path: Path) -> None:
    first, _ = inputs.read(pair(tmp_path))
    known = {key: (value,) for key, value in zip(real_persona_chat.ATTRIBUTES, DEMOGRAPHIC.values(), strict=True)}
    assert first == Dialogue(
        "rpc-1",
        (Turn("QA", "山羊が逃げました。"), Turn("QB", "またですか？")),
        {"QA": tuple(FACTS), "QB": ("歌が下手だ。",)},
        profiles={
            "QA": {**known, "persona": tuple(FACTS)},
            "QB": {"age": ("-19",), "persona": ("歌が下手だ。",)},
        },
    )
    assert list(known) == ["gender", "age", "education", "employment", "region"]


@pytest.mark.parametrize("listed", [(0,), (1,), (0, 1), (1, 0)])
def test_the_pair_is_read_once_whichever_of_its_files_are_named(tmp_path: Path, listed: tuple[int, ...]) -> None:
    files = pair(tmp_path)
    dialogues = inputs.read([files[index] for index in listed])
    assert [dialogue.dialogue_id for dialogue in dialogues] == ["rpc-1", "rpc-2"]


def test_either_file_may_be_packed(tmp_path: Path) -> None:
    plain = inputs.read(pair(tmp_path))
    for path in pair(tmp_path):
        path.with_name(f"{path.name}.xz").write_bytes(lzma.compress(path.read_bytes()))
        path.unlink()
        remaining = next(iter(sorted(tmp_path.glob("dialogues.jsonl*"))))
        assert inputs.read(remaining) == plain
    assert inputs.read(tmp_path / "interlocutors.json.xz") == plain


def test_several_files_of_dialogues_share_one_of_people(tmp_path: Path) -> None:
    pair(tmp_path)[0].rename(tmp_path / "early.jsonl")
    pair(tmp_path, line(7))[0].rename(tmp_path / "late.jsonl")
    found = inputs.read(sorted(tmp_path.iterdir()))
    assert [dialogue.dialogue_id for dialogue in found] == ["rpc-1", "rpc-2", "rpc-7"]


def test_a_number_that_stands_twice_gets_a_number_and_a_warning(tmp_path: Path) -> None:
    files = pair(tmp_path, line(5), line(6), line(5, ("QA", "はい。"), ("QB", "いいえ。")))
    assert [dialogue.dialogue_id for dialogue in inputs.read(files)] == ["rpc-5", "rpc-6", "rpc-5-2"]
    (warning,) = (problem for problem in check(files[0])[0].warnings if problem.code == "id_twice")
    assert warning.place.endswith("dialogues.jsonl:3")


@pytest.mark.parametrize(
    ("kept", "said"),
    [(0, r"interlocutors\.json is not beside it"), (1, r"no file of dialogues \(NAME\.jsonl\) is beside it")],
)
def test_a_file_alone_says_which_one_was_looked_for(tmp_path: Path, kept: int, said: str) -> None:
    files = pair(tmp_path)
    files[1 - kept].unlink()
    with pytest.raises(DataError, match=f"{said} .hint: put dialogues.jsonl and interlocutors.json into one folder"):
        inputs.read(files[kept])
    assert check(files[kept])[0].errors[0].code == "missing_partner"


def test_everybody_unknown_and_every_wrong_field_is_told_at_once(tmp_path: Path) -> None:
    wrong = line(True, ("QA", "はい。"), ("QX", "いいえ。"))
    bare = {"dialogue_id": 3, "interlocutors": [], "utterances": [{"interlocutor_id": "QA"}, 7]}
    problems = problems_of(pair(tmp_path, line(1), wrong, bare)[0])
    people = tmp_path / "interlocutors.json"
    assert [(problem.message, problem.place.rsplit(":", 1)[1]) for problem in problems] == [
        ("dialogue_id: must be a number or text", "2"),
        (f"utterances[1].interlocutor_id: 'QX' is not in {people}", "2"),
        ("utterances[0].text: required, is missing", "3"),
        ("utterances[1]: is a number, must be an object", "3"),
    ]


def test_what_is_wrong_with_the_people_is_told_of_their_file(tmp_path: Path) -> None:
    people = {"QA": {"interlocutor_id": "QA"}, "QB": person("QB", demographic_information={"age": 30})}
    problems = problems_of(pair(tmp_path, people=people)[0])
    assert [problem.message for problem in problems] == [
        "QA.persona: required, is missing",
        "QB.demographic_information.age: is a number, must be text",
    ]
    assert {problem.place for problem in problems} == {str(tmp_path / "interlocutors.json")}


def test_the_published_files_of_one_dialogue_each_say_how_to_join_them(tmp_path: Path) -> None:
    pair(tmp_path)
    path = tmp_path / "00001.json"
    path.write_text(json.dumps(line(1), indent=4), encoding="utf-8")
    with pytest.raises(DataError, match=r"jq -c \. dialogues/\*\.json > dialogues\.jsonl"):
        inputs.read(path)


def test_dialogues_without_the_people_beside_them_are_told(tmp_path: Path) -> None:
    (problem,) = real_persona_chat.scan(opened(pair(tmp_path)[0], DATA_SET))
    assert "dialogues without interlocutors.json" in str(problem)


def test_a_corpus_added_by_its_dialogues_is_kept_whole(tmp_path: Path, empty_workspace: Path) -> None:
    corpus_store.add("rpc", [pair(tmp_path)[0]])
    assert [path.name for path in corpus_store.files_of("rpc")] == ["dialogues.jsonl", "interlocutors.json"]
    assert len(inputs.read(corpus_store.files_of("rpc"))) == 2


@pytest.mark.shared
def test_the_published_set_is_read_whole() -> None:
    if not SHARED.exists():
        pytest.skip("the measuring data real_persona_chat is not beside the project")
    dialogues = inputs.read(SHARED / "dialogues.jsonl.xz")
    assert len(dialogues) == len({dialogue.dialogue_id for dialogue in dialogues}) == 13_583
    assert sum(len(dialogue.turns) for dialogue in dialogues) == 408_619
    tasks = by_speaker(dialogues)
    assert len(tasks) == 233
    counts = [len(task.dialogues) for task in tasks]
    assert (min(counts), max(counts)) == (4, 203)
    assert [sum(count >= least for count in counts) for least in (20, 50, 100)] == [196, 159, 133]
    assert all(len(task.facts) == 10 for task in tasks)
    keys = {"gender", "age", "education", "employment", "region", "persona"}
    assert all(known.keys() == keys for dialogue in dialogues for known in dialogue.profiles.values())
