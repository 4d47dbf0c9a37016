"""The default base, in its own chat format and as other files of the same weights."""

from pathlib import Path

import pytest
from small_bases import TEMPLATE, write_gguf

from menura import api
from menura.artefacts.bases import base as bases
from menura.artefacts.bases.catalogue import DEFAULT
from menura.batches.chat_format import chat
from menura.batches.chat_template import ChatTemplate, base_format, compare
from menura.models.causal_lm.model import CausalLmConfig
from menura.registry import load_model

pytestmark = pytest.mark.weights
LINES = ("hello, how are you?", "what did you do at the weekend?", "tell me about your cat")


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


@pytest.mark.slow
def test_two_shards_and_a_gguf_file_of_the_default_base_answer_as_it_does(
    weights_workspace: Path, tmp_path: Path
) -> None:
    base = bases.load(DEFAULT, offline=True)
    wanted = answers(DEFAULT)
    assert all(wanted)
    shards, words = tmp_path / "shards", bases.folder_of(DEFAULT) / "tokenizer.json"
    base.network.save_pretrained(shards, max_shard_size="300MB")
    assert len(list(shards.glob("*.safetensors"))) == 2
    (shards / "tokenizer.json").write_bytes(words.read_bytes())
    (shards / "chat_template.jinja").write_text(TEMPLATE_WITH_PROMPT, encoding="utf-8")
    assert answers(str(shards)) == wanted
    write_gguf(tmp_path / "whole.gguf", base.network, words=words, template=TEMPLATE_WITH_PROMPT)
    assert answers(str(tmp_path / "whole.gguf")) == wanted


TEMPLATE_WITH_PROMPT = TEMPLATE + "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
