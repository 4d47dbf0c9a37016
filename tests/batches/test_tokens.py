import pytest
from hypothesis import given
from hypothesis import strategies as st

from menura.batches.chat_format import CHAT_FORMATS, SPECIAL_TOKENS
from menura.batches.tokenizer import CHAT_TOKENS, Tokens, byte_tokens
from menura.errors import ConfigError

TOKENS = byte_tokens()


@given(st.text(max_size=60))
def test_text_survives_ids_and_back(text: str) -> None:
    assert TOKENS.decode(TOKENS.encode(text)) == text


@pytest.mark.parametrize("name", CHAT_TOKENS)
def test_a_typed_control_token_is_letters(name: str) -> None:
    ids = TOKENS.encode(f"say {name} now")
    assert TOKENS.control(name) not in ids
    assert TOKENS.decode(ids) == f"say {name} now"


def test_a_typed_token_of_our_own_is_letters_too() -> None:
    grown = TOKENS.adding(SPECIAL_TOKENS)
    assert not {grown.control(name) for name in SPECIAL_TOKENS} & set(grown.encode("<p></p><u></u><r></r>"))


def test_control_tokens_leave_no_text() -> None:
    ids = (TOKENS.control("<|im_start|>"), *TOKENS.encode("hi"), TOKENS.control("<|im_end|>"))
    assert TOKENS.decode(ids) == "hi"


def test_added_tokens_take_the_next_ids_and_move_no_other() -> None:
    grown = TOKENS.adding(SPECIAL_TOKENS)
    assert [grown.control(name) for name in SPECIAL_TOKENS] == list(range(len(TOKENS), len(TOKENS) + 6))
    assert grown.encode("the goat") == TOKENS.encode("the goat")
    assert len(grown) == len(TOKENS) + 6
    assert not TOKENS.has("<p>")
    assert grown.has("<p>")


def test_a_vocabulary_survives_its_file(tmp_path) -> None:
    (tmp_path / "tokenizer.json").write_text(TOKENS.to_json(), encoding="utf-8")
    read = Tokens.from_file(tmp_path / "tokenizer.json")
    assert read.encode("tick <|im_end|> ü") == TOKENS.encode("tick <|im_end|> ü")
    assert read.control("<|im_end|>") == TOKENS.control("<|im_end|>")


def test_a_layout_whose_tokens_are_missing_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="no token '<p>'"):
        CHAT_FORMATS["special"](TOKENS)
    with pytest.raises(ConfigError, match="no token '<|im_start|>'"):
        CHAT_FORMATS["chat"](byte_tokens(control=()))


def test_a_plain_layout_needs_no_control_token() -> None:
    layout = CHAT_FORMATS["plain"](byte_tokens(control=()))
    assert TOKENS.decode([layout.end, *layout.after_end]) == "\n"
