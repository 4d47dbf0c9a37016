"""Which dialogues stand in which split, where a corpus sets its own test split apart."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from menura.artefacts import corpus_store
from menura.corpus.mojitalk import EMOJIS
from menura.errors import ConfigError, DataError
from menura.tasks.split import Splits
from menura.training.data import DataConfig, split_of, tasks_of
from menura.training.recipes import plato_data_sets

PROFILES = ("mends clocks", "has a goat", "lives in a mill", "sings at night", "walks far", "reads maps")


def write(path: Path, *, train: int = 12, valid: int = 4, dialogues: int = 4) -> Path:
    """Write Persona-Chat lines: personas of four facts, of which each dialogue shows three."""
    lines = []
    for split, count in (("train", train), ("valid", valid)):
        for person in range(count):
            facts = [f"{split} {person} {fact}" for fact in PROFILES[:4]]
            for number in range(dialogues):
                turns = [[f"hi {number}", f"i am {split} {person}"], ["oh", f"{facts[number % 4]}"]]
                lines.append(json.dumps({"split": split, "persona": facts, "turns": turns}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def config_for(path: Path) -> DataConfig:
    return DataConfig(
        str(path),
        task_by="facts",
        test_id_prefixes="valid",
        max_turns=0,
        valid=0.25,
        min_heldout_dialogues=3,
        min_train_dialogues=3,
    )


def splits(config: DataConfig) -> Splits:
    return split_of(config, tasks_of(config))


def test_the_corpus_s_own_test_side_is_the_test_side_whole_and_alone(tmp_path: Path) -> None:
    found = splits(config_for(write(tmp_path / "chat.jsonl")))
    assert {split: len(tasks) for split, tasks in found.splits.items()} == {"train": 9, "valid": 3, "test": 4}
    for split, tasks in found.splits.items():
        begin = "valid-" if split == "test" else "train-"
        assert all(part.dialogue.dialogue_id.startswith(begin) for task in tasks for part in task.dialogues)


def test_personas_of_both_sides_stay_apart_even_with_the_same_facts(tmp_path: Path) -> None:
    path = write(tmp_path / "chat.jsonl")
    same = path.read_text(encoding="utf-8").replace("valid 0", "train 0")
    path.write_text(same, encoding="utf-8")
    with pytest.raises(DataError, match="1 persona speaks in both splits"):
        splits(config_for(path))


def test_training_personas_need_their_least_number_of_dialogues(tmp_path: Path) -> None:
    path = write(tmp_path / "chat.jsonl", dialogues=3)
    assert len(splits(config_for(path)).splits["train"]) == 9
    with pytest.raises(DataError, match="the train split gets no persona with 4 dialogues"):
        splits(replace(config_for(path), min_train_dialogues=4, valid=0))


def test_files_of_both_sides_are_told_apart_by_their_names(tmp_path: Path) -> None:
    whole = write(tmp_path / "chat.jsonl").read_text(encoding="utf-8").splitlines()
    for split in ("train", "valid"):
        own = [json.loads(line) for line in whole if f'"split": "{split}"' in line]
        for entry in own:
            del entry["split"]
        text = "".join(json.dumps(entry) + "\n" for entry in own)
        (tmp_path / f"{split}_self_original.jsonl").write_text(text, encoding="utf-8")
    files = ",".join(str(tmp_path / f"{split}_self_original.jsonl") for split in ("train", "valid"))
    found = splits(replace(config_for(tmp_path), corpus=files))
    assert {split: len(tasks) for split, tasks in found.splits.items()} == {"train": 9, "valid": 3, "test": 4}


@pytest.mark.parametrize(("begin", "said"), [("validation", "none of the 64"), ("", "")])
def test_a_test_side_that_is_not_there_is_told(tmp_path: Path, begin: str, said: str) -> None:
    config = replace(config_for(write(tmp_path / "chat.jsonl")), test_id_prefixes=begin or "t", train=0.5)
    if not begin:
        (tmp_path / "chat.jsonl").write_text(
            (tmp_path / "chat.jsonl").read_text(encoding="utf-8").replace('"valid"', '"train"'), encoding="utf-8"
        )
        said = "all of the 64"
    with pytest.raises(DataError, match=said):
        splits(config)


def test_facts_can_be_kept_from_the_model_and_still_tell_who_is_who(tmp_path: Path) -> None:
    config = config_for(write(tmp_path / "chat.jsonl"))
    shown, hidden = tasks_of(config), tasks_of(replace(config, with_facts=False))
    assert [task.persona_id for task in shown] == [task.persona_id for task in hidden]
    assert all(next(part.exchanges()).facts for task in shown for part in task.dialogues)
    assert not any(next(part.exchanges()).facts for task in hidden for part in task.dialogues)


FACES = sorted(EMOJIS)[:12]


def tweets(folder: Path) -> str:
    """Write a pair of files a split: the i-th face has 2i + 4 lines in dev, 12 in test, but the first only 3."""
    for split in ("dev", "test"):
        counts = {face: 2 * index + 4 if split == "dev" else 12 for index, face in enumerate(FACES)}
        counts[FACES[0]] = 3
        said = [(face, number) for face, count in counts.items() for number in range(count)]
        asked = "".join(f"{face} what is new {number} ?\n" for face, number in said)
        (folder / f"{split}.ori").write_text(asked, encoding="utf-8")
        replied = "".join(f"{split} {FACES.index(face)} says {number} .\n" for face, number in said)
        (folder / f"{split}.rep").write_text(replied, encoding="utf-8")
    return f"{folder / 'dev.ori'},{folder / 'test.ori'}"


def faces(folder: Path) -> DataConfig:
    return DataConfig(
        tweets(folder),
        test_id_prefixes="test",
        num_test_personas=3,
        num_valid_personas=2,
        min_heldout_dialogues=10,
        max_dialogues=20,
        max_test_dialogues=11,
        select_dialogues="draw",
    )


def people(made: Splits, split: str) -> set[str]:
    return {task.persona_id for task in made.splits[split]}


def test_an_emoji_stands_on_one_side_and_the_rarest_with_enough_replies_are_tested(tmp_path: Path) -> None:
    found = splits(faces(tmp_path))
    assert people(found, "test") == set(FACES[1:4])
    assert {split: len(tasks) for split, tasks in found.splits.items()} == {"train": 7, "valid": 2, "test": 3}
    for split, begin in (("train", "dev:"), ("valid", "dev:"), ("test", "test:")):
        assert all(name.startswith(begin) for task in found.splits[split] for name in task.dialogue_ids)
    assert set.union(*(people(found, split) for split in found.splits)) == set(FACES)


def test_caps_hold_on_all_sides_and_another_seed_draws_others(tmp_path: Path) -> None:
    config = faces(tmp_path)
    found = splits(config)
    wanted = {face: min(2 * index + 4 if index else 3, 20) for index, face in enumerate(FACES)}
    wanted |= dict.fromkeys(FACES[1:4], 11)
    held = {task.persona_id: len(task.dialogues) for tasks in found.splits.values() for task in tasks}
    assert held == wanted
    assert splits(config) == found
    again = splits(replace(config, select_seed=1))
    assert {task.persona_id: len(task.dialogues) for split in again.splits.values() for task in split} == held
    assert again.record()["sha256"] != found.record()["sha256"]


def test_test_people_can_be_named(tmp_path: Path) -> None:
    named = f"{FACES[5]}, {FACES[7]}"
    found = splits(replace(faces(tmp_path), num_test_personas=0, test_speakers=named))
    assert people(found, "test") == {FACES[5], FACES[7]}
    with pytest.raises(ConfigError, match="nobody in the test split is called '🦜'.*choose among"):
        tasks_of(replace(faces(tmp_path), num_test_personas=0, test_speakers=f"{named},🦜"))


def test_without_a_choice_the_same_people_on_both_sides_are_a_leak(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"error\[leak\].*num_test_personas"):
        splits(replace(faces(tmp_path), num_test_personas=0))


def test_a_valid_own_split_of_more_than_there_are_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="data.num_valid_personas: 30, but 8 personas have 10 dialogues"):
        splits(replace(faces(tmp_path), num_valid_personas=30))


def test_a_count_of_valid_personas_holds_where_the_test_side_is_drawn_too(tmp_path: Path) -> None:
    path = write(tmp_path / "chat.jsonl")
    found = splits(DataConfig(str(path), task_by="facts", min_heldout_dialogues=3, test=0.25, num_valid_personas=3))
    assert {split: len(tasks) for split, tasks in found.splits.items()} == {"train": 9, "valid": 3, "test": 4}


def test_a_bound_of_utterances_holds_for_everybody_after_turns_are_cut(tmp_path: Path) -> None:
    config = replace(config_for(write(tmp_path / "chat.jsonl")), max_turns=2, max_utterances=6, min_heldout_dialogues=2)
    tasks = tasks_of(config)
    assert len(tasks) == 16
    assert all(sum(len(part.dialogue.turns) for part in task.dialogues) == 6 for task in tasks)


def test_users_are_chosen_on_both_sides_also_where_their_facts_are_kept_from_the_model(tmp_path: Path) -> None:
    config = replace(config_for(write(tmp_path / "chat.jsonl")), with_facts=False, user_subset="similar", num_users=3)
    found = splits(config)
    assert {split: len(tasks) for split, tasks in found.splits.items()} == {"train": 3, "valid": 3, "test": 3}
    assert found.likeness.keys() == {"train", "test"}
    assert splits(replace(config, user_subset="all")).likeness == {}


def test_settings_that_cannot_both_be_meant_are_refused() -> None:
    with pytest.raises(ConfigError, match="data.num_test_personas: the corpus must set a test split apart"):
        DataConfig(num_test_personas=3)
    with pytest.raises(ConfigError, match="one of them chooses"):
        DataConfig(test_id_prefixes="test", num_test_personas=3, test_speakers="Ann")
    for wrong in ({"num_users": 1}, {"max_utterances": 1}, {"max_dialogues": 0}, {"num_valid_personas": -1}):
        with pytest.raises(ConfigError, match=f"data.{next(iter(wrong))}: .*must"):
            DataConfig(**wrong)


def talks(path: Path, lines: list[str]) -> Path:
    """Write DailyDialog's lines."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def three_files(folder: Path) -> DataConfig:
    """Twelve training dialogues, of which one is a copy and two are judged by; four valid, five test dialogues."""
    said = {
        split: [f"{split} {n} ? __eou__ yes {n} . __eou__ well {n} ." for n in range(9)] for split in ("v", "t", "x")
    }
    train = [*said["t"], said["t"][0].upper().replace("__EOU__", "__eou__"), said["v"][0], said["x"][0]]
    files = {"copy_text_En": train, "dialogues_validation": said["v"][:4], "dialogues_test": said["x"][:5]}
    paths = [str(talks(folder / f"{name}.txt", lines)) for name, lines in files.items()]
    return DataConfig(
        ",".join(paths),
        task_by="dialogue",
        valid_id_prefixes="other, dialogues_validation",
        test_id_prefixes="dialogues_test,other",
        max_turns=0,
        min_heldout_dialogues=1,
        min_train_dialogues=1,
    )


def counted(split: Splits) -> dict[str, int]:
    return {split: len(tasks) for split, tasks in split.splits.items()}


def test_files_can_be_all_three_sides_and_a_dialogue_a_task(tmp_path: Path) -> None:
    found = splits(three_files(tmp_path))
    assert counted(found) == {"train": 12, "valid": 4, "test": 5}
    assert people(found, "valid") == {f"dialogues_validation:{number}" for number in range(1, 5)}
    assert {len(task.dialogues) for task in found.splits["test"]} == {2}
    found.verify()


def test_distinct_leaves_out_what_is_judged_by_and_copies(tmp_path: Path) -> None:
    found = splits(replace(three_files(tmp_path), dedup=True))
    assert counted(found) == {"train": 9, "valid": 4, "test": 5}
    assert found.record()["repeated"] == {"train": 3, "valid": 0, "test": 0}


def test_held_out_sides_can_be_bounded_by_a_draw_that_the_training_side_does_not_feel(tmp_path: Path) -> None:
    config = three_files(tmp_path)
    found = splits(replace(config, max_heldout_tasks=3))
    assert counted(found) == {"train": 12, "valid": 3, "test": 3}
    assert people(found, "test") < people(splits(config), "test")
    assert people(splits(replace(config, max_heldout_tasks=3, seed=4)), "test") != people(found, "test")
    assert splits(replace(config, max_heldout_tasks=3)) == found


def test_a_valid_split_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none of the 16 dialogues .* begins with 'valid'.*no valid split"):
        splits(replace(three_files(tmp_path), valid_id_prefixes="valid"))


def test_a_held_out_task_may_have_one_part_if_that_is_asked(tmp_path: Path) -> None:
    config = replace(
        config_for(write(tmp_path / "chat.jsonl", dialogues=1)), min_heldout_dialogues=1, min_train_dialogues=1
    )
    assert counted(splits(config)) == {"train": 9, "valid": 3, "test": 4}
    with pytest.raises(DataError, match="the train split gets no persona with 2 dialogues"):
        splits(replace(config, min_train_dialogues=2, valid=0))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"valid_id_prefixes": "v"}, "data.valid_id_prefixes: the corpus must set a test split apart"),
        (
            {"valid_id_prefixes": "v", "test_id_prefixes": "t", "num_valid_personas": 3},
            "data.valid_id_prefixes and data.num_valid_personas",
        ),
        (
            {"valid_id_prefixes": "v", "test_id_prefixes": "t", "num_test_personas": 3},
            "data.valid_id_prefixes and data.num_test_personas",
        ),
        ({"max_heldout_tasks": -1}, "data.max_heldout_tasks: -1, must not be negative"),
    ],
)
def test_settings_of_sides_that_exclude_each_other_are_refused(setting: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        DataConfig(**setting)


def test_several_corpora_of_the_workspace_are_read_together_with_ids_of_their_own(
    tmp_path: Path, empty_workspace: Path
) -> None:
    line = ["shall we ? __eou__ gladly ."]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        corpus_store.add(name, [talks(tmp_path / name / "talk.txt", line)])
    config = DataConfig("one, two", task_by="dialogue", max_turns=0, min_heldout_dialogues=1, min_train_dialogues=1)
    assert [task.persona_id for task in tasks_of(config)] == ["talk:1", "talk-talk:1"]
    with pytest.raises(DataError) as caught:
        tasks_of(replace(config, corpus="one,three,four"))
    assert [problem.hint.split(" FILE")[0] for problem in caught.value.problems] == [
        "menura data add three",
        "menura data add four",
    ]


def test_the_sets_of_dialogues_are_settings_that_hold_together() -> None:
    for config in (
        plato_data_sets.DAILYDIALOG,
        plato_data_sets.PERSONACHAT,
        plato_data_sets.AVSD,
        plato_data_sets.CHITCHAT,
    ):
        assert (config.min_heldout_dialogues, config.min_train_dialogues) == (1, 1)
        assert config.max_heldout_tasks == (0 if config is plato_data_sets.DAILYDIALOG else plato_data_sets.HELD)
    assert not {"dailydialog", "convai2", "avsd"} & set(plato_data_sets.CHITCHAT.corpus.split(","))
