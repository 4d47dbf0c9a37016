"""A message as an export holds it becomes the text that a person wrote, and nothing else changes."""

import time
import unicodedata
from collections import Counter
from collections.abc import Callable

import pytest
from counts import count
from hypothesis import given, settings
from hypothesis import strategies as st

from menura.corpus.chats.cleaning.normalise import clean, clean_name, mended

ANY_TEXT = st.text(st.characters(codec=None) | st.sampled_from("ÃÂâ€ð\x9f\u200e\x1b[<>/&;mab \n\ud800"), max_size=200)
WORDS = st.text(st.characters(categories=["L", "N", "Zs"]), max_size=60)

MOJIBAKE = [
    ("quer um cafÃ© amanhÃ£?", "quer um café amanhã?", 2),
    ("InÃªs", "Inês", 1),
    ("Ã\xa0 demain", "à demain", 1),
    ("itâ€™s â€œfineâ€\x9d â‚¬5", "it’s “fine” €5", 4),
    ("ÐŸÑ€Ð¸Ð²ÐµÑ‚ Ð°", "Привет а", 2),
    ("Viá»‡t Nam má»™t", "Việt Nam một", 2),
    ("Åšwiat Å‚adny", "Świat ładny", 2),
    ("aceÈ™ti oameni", "acești oameni", 1),
    ("Ã–sterreich, Å“uvre", "Österreich, œuvre", 2),
    ("\xf0\x9f\x98\x8a", "😊", 1),
    ("ðŸ˜Š", "😊", 1),
    ("âœ… â\x9d¤ï¸\x8f", "✅ ❤️", 2),
    ("20Â°C Â© Â£5", "20°C © £5", 3),
    ("ÃƒÂ©", "é", 1),
    ("ä½\xa0å¥½", "你好", 1),
]

CORRECT = [
    "„Spaß“, „Maß“ und GROß… ja",
    "« café\xa0» et « là\xa0» — voilà\xa0!",
    "«café…» à\xa0– naïve”…",
    "tu m'as dit «\xa0é\xa0»",
    "«está»… ¿ya? ¡Ñandú! «mamá»",
    "AMANHÃ, “AMANHÃ” NÃO, IRMÃ… ÃO",
    "Úžasné, máš… víš”, MÚŽ",
    "3×½ und 2×£5",
    "Ä–Ö–Ü, Ärger, Ähnlich",
    "Đừng Ăn Ờ, Ôi Âm Ấm, TIẾNG VIỆT",
    "Ísland, Það er gott, Þú",
    "Привет, Ёж и Ñandú",
    "10 Å² und Å³",
    "GRÄ\xadSER, Größe\xad",
    "smörgåsbord — “Å”, åäö…",
    "日本語、中文，한국어",
    "מה שלומך? مرحبا",
    "PÂ, pâte, âgé, forêt…",
]


def cleaned(text: str) -> tuple[str, dict[str, int]]:
    changed: Counter[str] = Counter()
    return clean(text, changed), dict(changed)


@pytest.mark.parametrize(("text", "expected", "places"), MOJIBAKE)
def test_mojibake_is_mended_and_counted_by_run(text: str, expected: str, places: int) -> None:
    assert mended(text) == (expected, places, [])


@pytest.mark.parametrize("text", CORRECT)
def test_correct_text_of_any_language_stays(text: str) -> None:
    assert mended(text) == (text, 0, [])


@given(WORDS)
@settings(max_examples=count(full_count=10_000, quick_count=100))
def test_letters_numbers_and_blanks_never_look_like_mojibake(text: str) -> None:
    for word in text.split():
        if not any(unicodedata.category(character) in {"Nl", "No", "Lo", "Lm"} for character in word):
            assert mended(word)[0] == word or any(character in "šžœŠŽŒŸƒ" for character in word)


@given(st.text(st.sampled_from("éèàâêîôûçãõñäöüåøßđłśćčżÉÀÇÖ😊привет"), min_size=2, max_size=30))
@settings(max_examples=count(full_count=10_000, quick_count=100))
def test_what_was_read_as_latin_1_comes_back(text: str) -> None:
    # A text of two and more letters that are no ASCII cannot be mistaken for anything else.
    assert mended(text.encode().decode("latin-1"))[0] == text


def test_the_made_up_transcript_has_seven_places_and_one_that_stays() -> None:
    lines = [
        "In\xeas: quer um caf\xc3\xa9 amanh\xc3\xa3?",
        "Tomo: sim, l\xc3\xa1 \xc3 s quatro \xf0\x9f\x98\x8a",
        "In\xc3\xaas: combinado",
        "Tomo: at\xc3\xa9 l\xc3\xa1",
    ]
    results = [mended(line) for line in lines]
    assert sum(places for _, places, _ in results) == 7
    assert [left for _, _, left in results] == [[], ["Ã s"], [], []]
    assert results[1][0] == "Tomo: sim, lá Ã s quatro 😊"
    assert results[0][0].startswith("Inês: ")


@pytest.mark.parametrize(
    ("text", "expected", "changed"),
    [
        ("tom &amp; I don&#39;t &lt;know&gt;", "tom & I don't <know>", {"HTML entities": 4}),
        ("<b>yes</b> <@U02>", "yes <@U02>", {"HTML tags": 2}),
        ("a<br>b<BR/>c<br />d", "a\nb\nc\nd", {"HTML tags": 3}),
        ("<p>a</p><p>b</p>", "a\nb", {"HTML tags": 4}),
        ('<a href="https://x.org">see</a>', "see", {"HTML tags": 2}),
        ("<b><i>deep</b></i>", "deep", {"HTML tags": 4}),
        ("\x1b[31mred\x1b[0m \x07 bell", "red  bell", {"ANSI sequences": 2, "control characters": 1}),
        ("\x1b]0;title\x07x\x9b1my", "xy", {"ANSI sequences": 2}),
        ("\u200eTo\u200bmo\ufeff", "Tomo", {"invisible characters": 3}),
        ("Ine\u0302s", "Inês", {"NFC": 1}),
        ("a\r\nb\rc", "a\nb\nc", {"line ends (CR)": 2}),
        ("a\x80\x7fb", "ab", {"control characters": 2}),
        ("half \ud800", "half \ufffd", {}),
        ("\xa0 a\xa0b\u202fc \u202f", "a\xa0b\u202fc", {}),
        ("&amp;lt;", "&lt;", {"HTML entities": 1}),
        ("&lt;b&gt;x&lt;/b&gt;", "<b>x</b>", {"HTML entities": 4}),
    ],
)
def test_what_exports_put_there_goes_and_is_counted(text: str, expected: str, changed: dict[str, int]) -> None:
    assert cleaned(text) == (expected, changed)


@pytest.mark.parametrize(
    "text",
    [
        "</s> [INST] hi",
        "<s>hi</s>",
        "you are free <|im_end|><|endoftext|>",
        "<|im_start|>system",
        "<know>",
        "<Media omitted>",
        "fixed <This message was edited>",
        "a <b c",
        "<b>never closed",
        "<i think> so </i think>",
        "if a<b and c>d",
        "AT&T; R&D &notit; &;",
        "<3 you",
        "می\u200cخواهم",
        "👩\u200d🚀",
        "ﬁne ½ ｆｕｌｌ，",
        "line one\n\tline two",
    ],
)
def test_what_people_write_stays(text: str) -> None:
    assert cleaned(text) == (text, {})


def test_names_are_cleaned_and_blanks_around_them_counted() -> None:
    changed: Counter[str] = Counter()
    names = ["Ines ", "Tomo", "\u200eTomo", "Tomo\xa0", "Ine\u0302s", "Ann\xa0\u202f  B"]
    assert [clean_name(name, changed) for name in names] == ["Ines", "Tomo", "Tomo", "Tomo", "Inês", "Ann B"]
    assert changed == {"blanks around a name": 2, "invisible characters": 1, "NFC": 1}


@given(ANY_TEXT)
@settings(max_examples=count(full_count=10_000, quick_count=100))
def test_any_text_is_cleaned_and_nothing_that_was_to_go_is_left(text: str) -> None:
    mended(text)
    clean_name(text, Counter())
    result = clean(text, Counter())
    assert result == result.strip()
    assert not set(result) & set("\u200b\u200e\u200f\u202a\u202e\u2060\u2066\u2069\ufeff\r\x00\x1b\x7f\x85\ud800")
    assert unicodedata.is_normalized("NFC", result)
    result.encode()


@given(ANY_TEXT)
@settings(max_examples=count(full_count=10_000, quick_count=100))
def test_cleaning_twice_is_cleaning_once_where_no_tag_or_entity_is(text: str) -> None:
    # Entities are decoded once: `&amp;lt;` would become `<` the second time.
    once = clean(text.replace("&", "").replace("<", "").replace("\u037e", ""), Counter())
    changed: Counter[str] = Counter()
    assert clean(once, changed) == once
    assert not changed


LENGTH = count(full_count=200_000, quick_count=100_000)  # a square of it would take far over two seconds


@pytest.mark.parametrize("run", [mended, lambda text: clean(text, Counter()), lambda text: clean_name(text, Counter())])
@pytest.mark.parametrize(
    "piece",
    [
        *("<b>", "</b>", "<b ", "<", "<a href=", "<br", "&", "&amp", "&#", "&aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
        *("\x1b", "\x1b[", "\x1b[1", "\x1b]", "\x1b]\x1b]0", "\x9b;", "\x00", "\u200e", "\xa0", " ", "\r"),
        *("Ã", "Ã ", "Ã©", "é»", "â€", "ðŸ", "á»…", "Ã©é»", "\u0301\u0323", "e\u0301", "a\u0328\u0301", "\ud800"),
    ],
)
def test_time_grows_with_the_length_alone(run: Callable[[str], object], piece: str) -> None:
    text = (piece * LENGTH)[:LENGTH]
    started = time.process_time()
    run(text)
    run(text + "x")
    assert time.process_time() - started < 2
