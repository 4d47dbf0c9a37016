from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from made_up import PROFILES, QUERY, SUPPORT, part

from menura.artefacts import subword_vocabulary, tensors
from menura.artefacts.loading import LoadOptions
from menura.artefacts.subword_vocabulary import SubwordVocabulary, mark, of_tasks
from menura.batches.tokenizer import PIECE_TOKENS
from menura.errors import ConfigError, DataError
from menura.models.attention_routing.config import AttentionRoutingConfig
from menura.registry import load_model
from menura.tasks.task import DialogueView, Task

SIZES: dict[str, Any] = {
    "hidden_size": 8,
    "num_layers": 2,
    "num_heads": 2,
    "intermediate_size": 12,
    "rank": 4,
    "groups": 2,
    "embedding": 6,
}
TASKS = [Task("mira", (*SUPPORT, *QUERY))]


def config(**settings: Any) -> AttentionRoutingConfig:
    return AttentionRoutingConfig(**{**SIZES, "min_count": 1, **settings})


def test_keys_words_and_characters_are_those_of_the_training_side() -> None:
    made = of_tasks(TASKS, config())
    assert made.keys == ("craft", "pet")
    assert set(made.words) == {"clocks", "goat", "fern", "owl", "none", "at", "all"}
    assert made.profile_words == 2 + 2 + 7
    said = {turn.text for side in TASKS for each in side.dialogues for turn in each.dialogue.turns}
    assert all(made.tokenizer.unknown not in made.tokenizer.encode(text) for text in said)
    assert not made.chosen


def test_so_many_pieces_and_words_are_kept_as_are_asked_for() -> None:
    made = of_tasks(TASKS, config(vocab_size=20, profile_vocab_size=6))
    assert len(made.tokenizer) == 20
    assert len(made.words) == 2
    assert made.profile_words == 6
    assert of_tasks(TASKS, config(profile_vocab_size=3)).words == ()


def test_chosen_attributes_alone_are_read() -> None:
    made = of_tasks(TASKS, config(attributes=" pet "))
    assert (made.keys, made.chosen) == (("pet",), True)
    assert "clocks" not in made.words
    read = made.profile_tokens(by_words=True)
    assert len(read.slots(PROFILES["mira"])) == 2


def test_attributes_that_nobody_has_are_all_listed() -> None:
    with pytest.raises(ConfigError) as caught:
        of_tasks(TASKS, config(attributes="pet,height,sign"))
    assert ["'height'" in str(p.message) or "'sign'" in str(p.message) for p in caught.value.problems] == [True, True]
    assert "craft, pet" in caught.value.problems[0].hint


def test_where_nobody_tells_anything_there_is_nothing_to_read() -> None:
    bare = [Task("mira", (DialogueView(replace(SUPPORT[0].dialogue, profiles={}), "mira"),))]
    made = of_tasks(bare, config())
    assert (made.keys, made.words) == ((), ())
    for memory in (True, False):
        loaded = load_model(config(memory=memory), LoadOptions(vocabulary=made))
        encoded = loaded.encoder.dialogue(bare[0].dialogues[0], "mira")
        with torch.no_grad():
            assert loaded.model.loss(loaded.model.batch(encoded)).total.isfinite()


def test_what_is_written_is_read_again_and_has_the_same_hash(tmp_path: Path) -> None:
    for kind in ("char", "wordpiece", "bpe"):
        made = of_tasks(TASKS, config(pieces=kind, vocab_size=300, attributes="craft"))
        made.write(tmp_path)
        again = subword_vocabulary.read(tmp_path)
        assert replace(again, vocabulary=made.vocabulary) == made
        assert again.sha256 == made.sha256
        assert again.tokenizer.encode("tick, time") == made.tokenizer.encode("tick, time")
        assert again.sha256 != replace(made, keys=("pet",)).sha256


def test_a_folder_without_one_and_a_damaged_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no pieces"):
        subword_vocabulary.read(tmp_path)
    (tmp_path / subword_vocabulary.FILE).write_text('{"keys": ["pet"]}')
    with pytest.raises(DataError, match="damaged"):
        subword_vocabulary.read(tmp_path)


def test_a_key_named_like_a_control_token_is_not_that_token() -> None:
    assert not {mark(name.strip("<>")) for name in PIECE_TOKENS} & set(PIECE_TOKENS)
    assert mark("pet") == "<pet>"
    people = {"mira": {"mask": ("silver",), "pad": ("tiny",)}}
    dialogue = part("d", "hi", "hello").dialogue
    tasks = [Task("mira", (DialogueView(replace(dialogue, profiles=people), "mira"),))]
    made = of_tasks(tasks, config())
    numbers = made.profile_tokens(by_words=False).keys
    assert sorted(numbers.values()) == [6, 7]


@pytest.mark.parametrize("settings", [{}, {"memory": False}, {"pieces": "bpe", "vocab_size": 300}])
def test_a_model_comes_back_from_its_run(settings: dict[str, Any], tmp_path: Path) -> None:
    lexicon: SubwordVocabulary = of_tasks(TASKS, config(**settings))
    made = load_model(config(**settings), LoadOptions(vocabulary=lexicon, seed=1))
    lexicon.write(tmp_path)
    weights = {name: value for name, value in made.model.named_parameters() if value.requires_grad}
    tensors.save(tmp_path / "best.safetensors", weights)
    again = load_model(config(**settings, init_from=str(tmp_path)), LoadOptions(seed=2))
    rows = made.encoder.dialogue(SUPPORT[0], "mira")
    assert again.encoder.dialogue(SUPPORT[0], "mira") == rows
    with torch.no_grad():
        found = [each.model.loss(each.model.batch(rows)).nll for each in (made, again)]
    assert torch.equal(*found)
    assert again.base.sha256 == made.base.sha256
