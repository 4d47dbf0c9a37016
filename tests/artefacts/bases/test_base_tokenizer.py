"""The tokenizer of a base: its ids, its template, its ends, and tokens without a row."""

from pathlib import Path
from typing import Any

import pytest
from small_bases import TEMPLATE, change_json, write_base
from transformers import PreTrainedTokenizerFast

from menura.artefacts.bases import base as bases
from menura.artefacts.bases import tokenizer as base_tokenizer
from menura.artefacts.bases.catalogue import BASES, CHATML
from menura.errors import DataError, MismatchError

pytestmark = pytest.mark.usefixtures("empty_workspace")
TALK = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]


def add_token(folder: Path, id: int, name: str, *, special: bool) -> None:
    rest = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    token = {"id": id, "content": name, "special": special, **rest}
    change_json(folder / "tokenizer.json", lambda words: words["added_tokens"].append(token))


def test_transformers_tokenizer_is_kept_as_the_folder_has_it(tmp_path: Path) -> None:
    write_base(tmp_path)
    loaded = bases.load(str(tmp_path))
    assert isinstance(loaded.hf_tokenizer, PreTrainedTokenizerFast)
    assert loaded.hf_tokenizer.chat_template == TEMPLATE
    assert loaded.hf_tokenizer("<|im_end|>")["input_ids"] == [258]  # ours never gives a control token to typed text
    assert loaded.tokenizer.encode("<|im_end|>") != (258,)
    assert list(loaded.tokenizer.encode("Grüße")) == loaded.hf_tokenizer("Grüße")["input_ids"]


def test_a_template_in_a_file_of_its_own_is_the_template(tmp_path: Path) -> None:
    write_base(tmp_path)
    change_json(tmp_path / "tokenizer_config.json", lambda settings: settings.pop("chat_template", None))
    (tmp_path / "chat_template.jinja").write_text("{{ messages[0].content }}!")
    assert bases.load(str(tmp_path)).hf_tokenizer.chat_template == "{{ messages[0].content }}!"


def test_known_bases_speak_chatml_without_a_system_message_of_their_own() -> None:
    """Workspaces of earlier versions hold no more than a tokenizer.json."""
    loaded = bases.load("tiny")
    tokenizer = loaded.hf_tokenizer
    text = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.apply_chat_template(TALK, tokenize=False, add_generation_prompt=True) == text
    assert tokenizer.apply_chat_template(TALK[1:], tokenize=False) == "<|im_start|>user\nHi<|im_end|>\n"
    assert (tokenizer.eos_token, tokenizer.bos_token, loaded.end_ids) == ("<|im_end|>", None, (258,))
    assert {BASES[name].chat_template for name in ("smollm2-135m", "tiny")} == {CHATML}


@pytest.mark.parametrize(
    ("settings", "ends"),
    [({"eos_token_id": [256, 258]}, (256, 258)), ({"eos_token_id": 257}, (257, 258)), ({}, (258,))],
)
def test_generation_stops_at_the_ends_of_settings_and_tokenizer(
    tmp_path: Path, settings: dict[str, Any], ends: tuple[int, ...]
) -> None:
    write_base(tmp_path, eos_token_id=None)
    change_json(tmp_path / "generation_config.json", lambda written: written.update(settings))
    assert bases.load(str(tmp_path)).end_ids == ends


def test_tokens_without_a_row_are_refused_only_if_they_can_occur(tmp_path: Path) -> None:
    write_base(tmp_path, vocab_size=259)
    add_token(tmp_path, 259, "<new_0>", special=True)
    add_token(tmp_path, 260, "<new_1>", special=True)
    bases.load(str(tmp_path))
    (tmp_path / "chat_template.jinja").write_text("<new_1>{{ messages[0].content }}")
    with pytest.raises(MismatchError, match=r"rows for 259 tokens; none for <new_1> \(260\)") as caught:
        bases.load(str(tmp_path))
    assert caught.value.problems[0].code == "tokens_beyond_rows"


def test_a_word_or_an_end_without_a_row_can_occur(tmp_path: Path) -> None:
    for name, special in (("word", False), ("<end>", True)):
        folder = tmp_path / str(special)
        write_base(folder, vocab_size=259)
        add_token(folder, 259, name, special=special)
        if special:
            change_json(folder / "tokenizer_config.json", lambda settings: settings.update(eos_token="<end>"))
        with pytest.raises(MismatchError, match=rf"none for {name} \(259\)"):
            bases.load(str(folder))


def test_a_vocabulary_of_another_library_names_the_packages_that_convert_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_base(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    monkeypatch.setattr(base_tokenizer, "_is_installed", lambda package: False)  # some of them may be here
    for name, told in (("qwen.tiktoken", "tiktoken"), ("tokenizer.model", "sentencepiece and protobuf")):
        (tmp_path / name).write_bytes(b"?")
        with pytest.raises(DataError, match=f"only {name}, no tokenizer.json: converting it needs {told}") as caught:
            bases.load(str(tmp_path))
        assert caught.value.problems[0].hint == f"pip install {told.replace(' and', '')}"
        (tmp_path / name).unlink()
    monkeypatch.setattr(base_tokenizer, "CONVERTERS", {})
    (tmp_path / "tokenizer.model").write_bytes(b"?")
    with pytest.raises(DataError, match="the tokenizer cannot be read"):
        bases.load(str(tmp_path))
