import pytest
from hypothesis import given
from hypothesis import strategies as st

from menura.batches.chat_format import CHAT_FORMATS, SPECIAL_TOKENS
from menura.batches.tokenizer import CHAT_TOKENS, Tokenizer, byte_tokenizer
from menura.errors import ConfigError

TOKENIZER = byte_tokenizer()


@given(st.text(max_size=60))
def test_text_survives_ids_and_back(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


@pytest.mark.parametrize("name", CHAT_TOKENS)
def test_a_typed_control_token_is_letters(name: str) -> None:
    ids = TOKENIZER.encode(f"say {name} now")
    assert TOKENIZER.control(name) not in ids
    assert TOKENIZER.decode(ids) == f"say {name} now"


def test_a_typed_token_of_our_own_is_letters_too() -> None:
    grown = TOKENIZER.adding(SPECIAL_TOKENS)
    assert not {grown.control(name) for name in SPECIAL_TOKENS} & set(grown.encode("<p></p><u></u><r></r>"))


def test_control_tokens_leave_no_text() -> None:
    ids = (TOKENIZER.control("<|im_start|>"), *TOKENIZER.encode("hi"), TOKENIZER.control("<|im_end|>"))
    assert TOKENIZER.decode(ids) == "hi"


def test_added_tokens_take_the_next_ids_and_move_no_other() -> None:
    grown = TOKENIZER.adding(SPECIAL_TOKENS)
    assert [grown.control(name) for name in SPECIAL_TOKENS] == list(range(len(TOKENIZER), len(TOKENIZER) + 6))
    assert grown.encode("the goat") == TOKENIZER.encode("the goat")
    assert len(grown) == len(TOKENIZER) + 6
    assert not TOKENIZER.has("<p>")
    assert grown.has("<p>")


def test_a_vocabulary_survives_its_file(tmp_path) -> None:
    (tmp_path / "tokenizer.json").write_text(TOKENIZER.to_json(), encoding="utf-8")
    read = Tokenizer.from_file(tmp_path / "tokenizer.json")
    assert read.encode("tick <|im_end|> ü") == TOKENIZER.encode("tick <|im_end|> ü")
    assert read.control("<|im_end|>") == TOKENIZER.control("<|im_end|>")


def test_a_layout_whose_tokens_are_missing_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="no token '<p>'"):
        CHAT_FORMATS["special"](TOKENIZER)
    with pytest.raises(ConfigError, match="no token '<|im_start|>'"):
        CHAT_FORMATS["chat"](byte_tokenizer(control=()))


def test_a_plain_layout_needs_no_control_token() -> None:
    layout = CHAT_FORMATS["plain"](byte_tokenizer(control=()))
    assert TOKENIZER.decode([layout.end, *layout.after_end]) == "\n"
