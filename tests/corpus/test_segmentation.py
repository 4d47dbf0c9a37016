"""Runs of one script, and which of them say something."""

import pytest

from menura.corpus.segmentation import content_pieces, pieces, says_any


def test_a_text_falls_where_its_script_changes() -> None:
    assert pieces("趣味はサッカーです。東京でTVを見た!?") == [
        *("趣味", "は", "サッカー", "です", "。", "東京", "で", "TV", "を", "見", "た", "!?"),
    ]
    assert pieces("I don't_know, 2nd try") == ["I", "don't", "_", "know", ",", "2nd", "try"]
    assert pieces("らーめん ラーメン 拉麺") == ["らーめん", "ラーメン", "拉麺"]
    assert pieces("") == []


def test_pieces_put_together_are_the_text_but_for_its_blanks() -> None:
    text = "Ça va, «Мир»? 한국어 漢字かなカナ ｶﾅ １２ 👍🏽 a_b"
    assert "".join(pieces(text)) == "".join(text.split())


def test_what_says_something_is_no_hiragana_no_sign_and_no_single_kanji() -> None:
    assert content_pieces("犬とラーメンがすきです。京都、東京!") == {"ラーメン", "京都", "東京"}


def test_words_say_something_from_four_letters_on_unless_everybody_says_them() -> None:
    assert content_pieces("I really like my red Garden with tulips") == {"garden", "tulips"}
    assert content_pieces("JRでTVを") == {"jr", "tv"}


@pytest.mark.parametrize("text", ["ｻｯｶｰ", "サッカー"])
def test_width_and_case_do_not_part_what_is_the_same(text: str) -> None:
    assert content_pieces(text) == {"サッカー"}
    assert content_pieces("ＴＵＬＩＰＳ") == {"tulips"}
    assert says_any(f"昨日の{text}は", {"サッカー"})


def test_a_word_is_said_as_a_whole_a_run_also_inside_a_longer_one() -> None:
    assert says_any("My garden!", {"garden"})
    assert not says_any("I like gardening", {"garden"})
    assert says_any("東京都に住む", {"東京"})
    assert not says_any("anything", set())
