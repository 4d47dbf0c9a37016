"""Which dialogues stand on which side, where a corpus sets its own test side apart."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from menura.errors import DataError
from menura.experiments.data_config import DataConfig, split_of, tasks_of
from menura.tasks.split import Split

PROFILES = ("mends clocks", "has a goat", "lives in a mill", "sings at night", "walks far", "reads maps")


def write(path: Path, *, train: int = 12, valid: int = 4, dialogues: int = 4) -> Path:
    """Write Persona-Chat lines: personas of four facts, of which each dialogue shows three."""
    lines = []
    for side, count in (("train", train), ("valid", valid)):
        for person in range(count):
            facts = [f"{side} {person} {fact}" for fact in PROFILES[:4]]
            for number in range(dialogues):
                turns = [[f"hi {number}", f"i am {side} {person}"], ["oh", f"{facts[number % 4]}"]]
                lines.append(json.dumps({"split": side, "persona": facts, "turns": turns}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def config_for(path: Path) -> DataConfig:
    return DataConfig(str(path), group="facts", test_ids="valid", turns=0, valid=0.25, needed=3, least=3)


def sides(config: DataConfig) -> Split:
    return split_of(config, tasks_of(config))


def test_the_corpus_s_own_test_side_is_the_test_side_whole_and_alone(tmp_path: Path) -> None:
    found = sides(config_for(write(tmp_path / "chat.jsonl")))
    assert {side: len(tasks) for side, tasks in found.sides.items()} == {"train": 9, "valid": 3, "test": 4}
    for side, tasks in found.sides.items():
        begin = "valid-" if side == "test" else "train-"
        assert all(part.dialogue.dialogue_id.startswith(begin) for task in tasks for part in task.parts)


def test_personas_of_both_sides_stay_apart_even_with_the_same_facts(tmp_path: Path) -> None:
    path = write(tmp_path / "chat.jsonl")
    same = path.read_text(encoding="utf-8").replace("valid 0", "train 0")
    path.write_text(same, encoding="utf-8")
    with pytest.raises(DataError, match="is on train and test|is on valid and test"):
        sides(config_for(path))


def test_training_personas_need_their_least_number_of_dialogues(tmp_path: Path) -> None:
    path = write(tmp_path / "chat.jsonl", dialogues=3)
    assert len(sides(config_for(path)).sides["train"]) == 9
    with pytest.raises(DataError, match="side train gets no persona with 4 dialogues"):
        sides(replace(config_for(path), least=4, valid=0))


def test_files_of_both_sides_are_told_apart_by_their_names(tmp_path: Path) -> None:
    whole = write(tmp_path / "chat.jsonl").read_text(encoding="utf-8").splitlines()
    for side in ("train", "valid"):
        own = [json.loads(line) for line in whole if f'"split": "{side}"' in line]
        for entry in own:
            del entry["split"]
        text = "".join(json.dumps(entry) + "\n" for entry in own)
        (tmp_path / f"{side}_self_original.jsonl").write_text(text, encoding="utf-8")
    files = ",".join(str(tmp_path / f"{side}_self_original.jsonl") for side in ("train", "valid"))
    found = sides(replace(config_for(tmp_path), corpus=files))
    assert {side: len(tasks) for side, tasks in found.sides.items()} == {"train": 9, "valid": 3, "test": 4}


@pytest.mark.parametrize(("begin", "said"), [("validation", "none of the 64"), ("", "")])
def test_a_test_side_that_is_not_there_is_told(tmp_path: Path, begin: str, said: str) -> None:
    config = replace(config_for(write(tmp_path / "chat.jsonl")), test_ids=begin or "t", train=0.5)
    if not begin:
        (tmp_path / "chat.jsonl").write_text(
            (tmp_path / "chat.jsonl").read_text(encoding="utf-8").replace('"valid"', '"train"'), encoding="utf-8"
        )
        said = "all of the 64"
    with pytest.raises(DataError, match=said):
        sides(config)


def test_facts_can_be_kept_from_the_model_and_still_tell_who_is_who(tmp_path: Path) -> None:
    config = config_for(write(tmp_path / "chat.jsonl"))
    shown, hidden = tasks_of(config), tasks_of(replace(config, facts=False))
    assert [task.persona.persona_id for task in shown] == [task.persona.persona_id for task in hidden]
    assert all(next(part.exchanges()).facts for task in shown for part in task.parts)
    assert not any(next(part.exchanges()).facts for task in hidden for part in task.parts)
