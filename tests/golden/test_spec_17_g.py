"""Numbers of the papers' specification, section 17 G: data."""

import json
import lzma
from pathlib import Path

import pytest

from menura.corpus import inputs, personachat
from menura.corpus.dialogue import Dialogue, Turn
from menura.tasks.episode import leave_one_out
from menura.tasks.persona_groups import by_facts, by_speaker, union_of_variants
from menura.tasks.size_limits import cap_dialogues
from menura.tasks.split import split_tasks

SHARED = Path(__file__).parents[2] / "../shared/data/convai2"


def shared(name: str) -> Path:
    if not (SHARED / name).exists():
        pytest.skip(f"the measuring data {name} is not beside the project")
    return SHARED / name


def own(index: int, facts: tuple[str, ...]) -> Dialogue:
    turns = (Turn("partner", f"hello {index}"), Turn("self", "hi"), Turn("partner", "so"), Turn("self", "yes"))
    return Dialogue(f"d{index}", turns, {"self": facts})


def test_g1_a_file_of_two_dialogues_gives_two_and_a_colon_survives(tmp_path: Path) -> None:
    path = tmp_path / "two.txt"
    path.write_text("1 your persona: i like: tea.\n2 hi\thello\n1 your persona: i dig.\n2 so\tyes\n")
    first, second = personachat.read(path)
    assert first.facts == {"self": ("i like: tea",)}
    assert second.facts == {"self": ("i dig",)}


@pytest.mark.shared
@pytest.mark.parametrize(
    ("side", "groups"), [("train", (499, 957, 982)), ("valid", (95, 100, 100)), ("test", (92, 100, 100))]
)
def test_g2_union_over_the_stored_variants_gives_the_measured_groups(side: str, groups: tuple[int, ...]) -> None:
    stored = json.loads(lzma.decompress(shared(f"paml_{side}_persona_map.json.xz").read_bytes()))
    variants = [variant for cluster in stored.values() for variant in cluster]
    assert tuple(len(union_of_variants(variants, min_shared)) for min_shared in (1, 2, 3)) == groups


@pytest.mark.shared
def test_the_complete_valid_file_is_read_whole() -> None:
    dialogues = inputs.read(shared("valid_self_original_no_cands.txt.xz"))
    assert len(dialogues) == 1000
    assert sum(turn.speaker == "self" for dialogue in dialogues for turn in dialogue.turns) == 7801


@pytest.mark.shared
def test_the_subset_is_read_with_its_sides() -> None:
    dialogues = inputs.read(shared("convai2_subset.jsonl.xz"))
    sides = [dialogue.dialogue_id.split("-")[0] for dialogue in dialogues]
    assert (sides.count("train"), sides.count("valid")) == (2352, 1000)
    assert len(by_facts([d for d in dialogues if d.dialogue_id.startswith("valid")])) == 102


def test_g3_no_held_out_persona_is_in_train_and_every_test_dialogue_is_a_query_exactly_once() -> None:
    dialogues = [own(i, tuple(f"fact {i % 20} {j}" for j in range(3 + i % 2))) for i in range(120)]
    sides = split_tasks(by_facts(dialogues), {"train": 0.6, "valid": 0.2, "test": 0.2}, seed=0).splits
    profiles = {
        side: {frozenset(p.dialogue.facts["self"]) for task in tasks for p in task.dialogues}
        for side, tasks in sides.items()
    }
    assert not profiles["train"] & (profiles["valid"] | profiles["test"])
    for task in sides["test"]:
        queries = [part.dialogue.dialogue_id for fold in leave_one_out(task) for part in fold.query]
        assert sorted(queries) == sorted(task.dialogue_ids)


@pytest.mark.parametrize("cap", [11, 16])
def test_g4_a_cap_leaves_the_smaller_of_cap_and_count_and_the_same_sample_for_the_same_seed(cap: int) -> None:
    talks = [Dialogue(f"d{i}", (Turn(f"p{i % 3}", "hi"), Turn(f"q{i % 7}", "so"))) for i in range(60)]
    tasks = by_speaker(talks)
    capped = cap_dialogues(tasks, cap, seed=1)
    assert [len(task.dialogues) for task in capped] == [min(len(task.dialogues), cap) for task in tasks]
    assert capped == cap_dialogues(tasks, cap, seed=1)
