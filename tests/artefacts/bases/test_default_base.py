"""The default base, in its own chat format and as other files of the same weights."""

from collections.abc import Callable
from pathlib import Path

import pytest
from counts import count
from small_bases import TEMPLATE, write_gguf

from menura import api
from menura.artefacts.bases import base as bases
from menura.artefacts.bases.catalogue import DEFAULT
from menura.batches.chat_format import chat
from menura.batches.chat_template import ChatTemplate, base_format, compare
from menura.models.causal_lm.config import CausalLmConfig
from menura.registry import load_model

pytestmark = pytest.mark.weights
LINES = ["hello, how are you?", "what did you do at the weekend?", "tell me about your cat"][
    : count(full_count=3, quick_count=1)
]


def test_the_format_derived_for_the_default_base_is_chatml_to_the_id(weights_workspace: Path) -> None:
    base = bases.load(DEFAULT, offline=True)
    found = base_format(base.hf_tokenizer, base.tokenizer, base.end_ids, count=200)
    assert (found.compared, found.warning) == (200, "")
    assert found.chat_format.sha256 == chat(base.tokenizer).sha256
    assert found.chat_format.other_ends == ()
    assert not compare(ChatTemplate(base.hf_tokenizer), chat(base.tokenizer), base.tokenizer, 200, seed=1).difference


def answers(name: str) -> list[str]:
    model = api.Model(load_model(CausalLmConfig(base=name)))
    return [model.reply(line, decoding=api.decoding(greedy=True), max_new_tokens=16) for line in LINES]


def in_shards(base: bases.LoadedBase, folder: Path, words: Path) -> Path:
    base.network.half().save_pretrained(folder, max_shard_size="150MB")
    assert len(list(folder.glob("*.safetensors"))) == 2
    (folder / "tokenizer.json").write_bytes(words.read_bytes())
    (folder / "chat_template.jinja").write_text(TEMPLATE_WITH_PROMPT, encoding="utf-8")
    return folder


def as_gguf(base: bases.LoadedBase, folder: Path, words: Path) -> Path:
    folder.mkdir()
    write_gguf(folder / "whole.gguf", base.network, words=words, template=TEMPLATE_WITH_PROMPT)
    return folder / "whole.gguf"


@pytest.mark.slow
@pytest.mark.parametrize("written", [in_shards, as_gguf][: count(full_count=2, quick_count=1)])
def test_other_files_of_the_default_base_answer_as_it_does(
    written: Callable[..., Path], weights_workspace: Path, tmp_path: Path
) -> None:
    words = bases.folder_of(DEFAULT) / "tokenizer.json"
    path = written(bases.load(DEFAULT, offline=True), tmp_path / "base", words)
    wanted = answers(DEFAULT)
    assert all(wanted)
    assert answers(str(path)) == wanted


TEMPLATE_WITH_PROMPT = TEMPLATE + "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
