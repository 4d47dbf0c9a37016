"""lm-eval is given each reply after its context, and beside it what its own cut adds to the reply."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from serve.made_personas import tiny
from tokenizers import Tokenizer

from benchmarks.lm_eval_scores import HeldOut, write_task
from menura.artefacts.bases.base import folder_of
from menura.batches.encode import EncodedExchange
from menura.corpus.dialogue import Dialogue, Turn
from menura.tasks.task import DialogueView


@pytest.fixture
def tokenizer_file(empty_workspace: Path) -> Tokenizer:
    tiny()
    return Tokenizer.from_file(str(folder_of("tiny") / "tokenizer.json"))


@pytest.fixture
def exchanges(tokenizer_file: Tokenizer) -> tuple[EncodedExchange, ...]:
    turns = (Turn("bo", "is it raining?"), Turn("ana", "it is"), Turn("bo", "still?"), Turn("ana", "yes, still"))
    ((one, other),) = tiny().encoder.dialogues([DialogueView(Dialogue("1", turns), "ana")], "ana")
    return one, other


def test_what_opens_a_reply_is_scored_with_it_and_alone(
    tmp_path: Path, tokenizer_file: Tokenizer, exchanges: tuple[EncodedExchange, ...]
) -> None:
    write_task(tmp_path, tokenizer_file, HeldOut("ana", exchanges))
    lines = [json.loads(line) for line in (tmp_path / "ana.jsonl").read_text("utf-8").splitlines()]
    for exchange, whole, opening in zip(exchanges, lines[::2], lines[1::2], strict=True):
        assert whole["context"] == opening["context"] == whole["context"].rstrip()
        assert opening["target"].isspace()
        ids = [tokenizer_file.encode(line["context"] + line["target"]).ids for line in (whole, opening)]
        assert tuple(ids[0]) == exchange.ids
        assert tuple(ids[1]) == exchange.prefix
    task = json.loads((tmp_path / "ana.yaml").read_text("utf-8"))
    assert (task["task"], task["target_delimiter"]) == ("ana", "")


def test_a_text_of_other_tokens_is_not_compared(
    tmp_path: Path, tokenizer_file: Tokenizer, exchanges: tuple[EncodedExchange, ...]
) -> None:
    letters = tuple(tokenizer_file.token_to_id(letter) for letter in "<|endoftext|>")  # typed, not a control token
    odd = replace(exchanges[0], reply=(*letters, *exchanges[0].reply))
    with pytest.raises(SystemExit, match="other tokens"):
        write_task(tmp_path, tokenizer_file, HeldOut("ana", (odd,)))
