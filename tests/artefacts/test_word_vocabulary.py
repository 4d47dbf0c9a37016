from pathlib import Path

import pytest
from made_up import SUPPORT, part

from menura.artefacts import word_vocabulary as lexicon
from menura.batches.tokenizer import words_of
from menura.errors import DataError
from menura.tasks.task import Task

TASKS = [
    Task("mira", SUPPORT),
    Task("bo", (part("d", "hi", "I don't know, it's Ada's!", facts=("i bake.",)),)),
]


def test_a_lexicon_holds_each_word_of_turns_and_facts_once_in_lower_case() -> None:
    found = lexicon.of_tasks(TASKS)
    assert len(set(found.words)) == len(found.words)
    assert {"do", "n't", "it", "'s", "ada", ",", "!", "bake", "mend", "clocks", "hi"} <= set(found.words)
    assert not any(word != word.lower() or " " in word for word in found.words)
    assert found.persona_ids == ("bo", "mira")


def test_words_said_too_seldom_stay_unknown() -> None:
    texts = ("A rare word, a word.", "a word")
    assert words_of(texts, min_count=2) == ["a", "word"]
    assert words_of(texts) == ["a", "rare", "word", ",", "."]


def test_ids_stand_behind_the_control_tokens_and_what_is_in_no_dialogue_is_unknown() -> None:
    found = lexicon.of_tasks(TASKS)
    tokenizer, hi = found.tokenizer, 4 + found.words.index("hi")
    assert [tokenizer.control(name) for name in ("<unk>", "<pad>", "<eos>", "<sos>")] == [0, 1, 2, 3]
    assert tokenizer.encode("HI zebra hi") == (hi, 0, hi)
    assert tokenizer.decode(tokenizer.encode("i don't know !")) == "i do n't know !"


def test_typed_text_is_never_a_control_token() -> None:
    tokenizer = lexicon.of_tasks(TASKS).tokenizer
    assert not {1, 2, 3} & set(tokenizer.encode("<eos> <sos> <pad>"))


def test_a_lexicon_comes_back_as_it_was_written(tmp_path: Path) -> None:
    written = lexicon.of_tasks(TASKS)
    written.write(tmp_path)
    found = lexicon.read(tmp_path)
    assert (found, found.sha256) == (written, written.sha256)
    assert lexicon.of_tasks(TASKS[:1]).sha256 != written.sha256


def test_a_folder_without_words_and_a_damaged_file_say_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no words"):
        lexicon.read(tmp_path)
    (tmp_path / "vocabulary.json").write_text('{"words": 3}')
    with pytest.raises(DataError, match="damaged"):
        lexicon.read(tmp_path)
