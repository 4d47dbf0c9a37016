"""What an engine is sent is what the model has read, token by token."""

from pathlib import Path

import pytest
from small_bases import hf_tokenizer, write_base

from menura.artefacts.bases import base as bases
from menura.artefacts.exchange.chat_prompt import chat_prompt
from menura.artefacts.loaders.causal_lm import chat_format_of
from menura.batches.chat_format import ChatFormatName
from menura.batches.encode import Encoder
from menura.corpus.dialogue import Turn
from menura.models.causal_lm.config import CausalLmConfig

FACTS = ("i mend clocks", "my goat is called fern")
TALK = ("hello!", "tick, tock.", "and your goat?")


def ours_and_theirs(folder: Path, chat_format: ChatFormatName, facts: tuple[str, ...]) -> tuple[list[int], list[int]]:
    """Return a chat as our encoder has it, and as an engine makes it with the template."""
    base, settings = bases.load(str(folder)), CausalLmConfig(str(folder), chat_format)
    form = chat_format_of(settings, base, base.tokenizer).chat_format
    turns = tuple(Turn(("you", "persona")[place % 2], text) for place, text in enumerate(TALK))
    ours = Encoder(base.tokenizer, form, 512).prompt(turns, "persona", facts, room=10)
    messages = [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(TALK)]
    if facts:
        messages.insert(0, {"role": "system", "content": "\n".join(facts)})
    template = chat_prompt(settings, base).template
    theirs = hf_tokenizer().apply_chat_template(
        messages, chat_template=template, add_generation_prompt=True, tokenize=True, return_dict=True
    )
    return list(ours.prefix), list(theirs["input_ids"])


@pytest.mark.parametrize("facts", [(), FACTS])
@pytest.mark.parametrize("chat_format", ["plain", "chat"])
def test_the_template_writes_what_our_encoder_reads(
    tmp_path: Path, chat_format: ChatFormatName, facts: tuple[str, ...]
) -> None:
    write_base(tmp_path)
    ours, theirs = ours_and_theirs(tmp_path, chat_format, facts)
    assert ours == theirs
    assert len(ours) > 40


def test_a_chat_of_one_line_is_raw_text_and_ids_with_the_facts_in_front(tmp_path: Path) -> None:
    write_base(tmp_path)
    base, settings = bases.load(str(tmp_path)), CausalLmConfig(str(tmp_path), "plain")
    chat = chat_prompt(settings, base, FACTS)
    assert chat.prompt == "Facts: i mend clocks my goat is called fern\nUser: hello\nReply:"
    assert base.tokenizer.encode_with_control(chat.prompt) == chat.ids
    assert chat.stop_token_ids[0] == base.tokenizer.encode("\n")[0]
    assert chat.leading_blank


@pytest.mark.weights
@pytest.mark.slow
def test_the_default_base_s_own_template_is_our_format(weights_workspace: Path) -> None:
    base, settings = bases.load("smollm2-135m"), CausalLmConfig("smollm2-135m")
    chat = chat_prompt(settings, base, FACTS)
    messages = [{"role": "system", "content": "\n".join(FACTS)}, {"role": "user", "content": "hello"}]
    theirs = base.hf_tokenizer.apply_chat_template(
        messages, chat_template=chat.template, add_generation_prompt=True, tokenize=True, return_dict=True
    )
    assert list(theirs["input_ids"]) == list(chat.ids)
