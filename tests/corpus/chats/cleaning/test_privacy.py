"""Private details are counted by kind and replaced by placeholders; dates, prices and scores are none."""

import re
import time
from collections import Counter
from pathlib import Path

import pytest
from counts import count
from hypothesis import given, settings
from hypothesis import strategies as st

from menura.corpus.chats.cleaning.privacy import CODES, count_private, redacted
from menura.corpus.check import check

FOUND = [
    # Made-up numbers, and the examples of the standards.
    ("call me +49 170 1234567 now", "call me [PHONE] now", "phone numbers"),
    ("+1 (555) 234-5678", "[PHONE]", "phone numbers"),
    ("0049 170 1234567", "[PHONE]", "phone numbers"),
    ("+91 98765 43210", "[PHONE]", "phone numbers"),
    ("0170 1234567", "[PHONE]", "phone numbers"),
    ("030/12345678", "[PHONE]", "phone numbers"),
    ("06 12 34 56 78", "[PHONE]", "phone numbers"),
    ("06.12.34.56.78", "[PHONE]", "phone numbers"),
    ("07700 900123.", "[PHONE].", "phone numbers"),
    ("(555) 234-5678 ok", "[PHONE] ok", "phone numbers"),
    ("555-234-5678", "[PHONE]", "phone numbers"),
    ("8 912 345-67-89", "[PHONE]", "phone numbers"),
    ("(11) 98765-4321", "[PHONE]", "phone numbers"),
    ("my phone is 9876543210", "my phone is [PHONE]", "phone numbers"),
    ("Tel. 612 345 678", "Tel. [PHONE]", "phone numbers"),
    ("write to a.b+c@example.co.uk.", "write to [EMAIL].", "e-mail addresses"),
    ("DE89 3704 0044 0532 0130 00", "[IBAN]", "IBANs"),
    ("GB82WEST12345698765432 PLEASE", "[IBAN] PLEASE", "IBANs"),
    ("4111 1111 1111 1111", "[CARD]", "card numbers"),
    ("5500-0000-0000-0004", "[CARD]", "card numbers"),
    ("378282246310005", "[CARD]", "card numbers"),
    ("see https://example.org/a?b=1, ok", "see [LINK], ok", "links"),
    ("(https://example.org)", "([LINK])", "links"),
    ("WWW.example.org/x", "[LINK]", "links"),
    ("t.me/abc", "[LINK]", "links"),
    ("https://u:p@example.org/+491701234567", "[LINK]", "links"),
    ("at 221b Baker Street, flat 2", "at [ADDRESS], flat 2", "postal addresses"),
    ("10 Downing St.", "[ADDRESS]", "postal addresses"),
    ("Hauptstraße 12a", "[ADDRESS]", "postal addresses"),
    ("Goethe-Str. 7", "[ADDRESS]", "postal addresses"),
    ("12 rue de la Paix", "[ADDRESS]", "postal addresses"),
    ("Calle Mayor 5", "[ADDRESS]", "postal addresses"),
    ("Avenida de la Constitución, 12", "[ADDRESS]", "postal addresses"),
]

NOTHING_PRIVATE = [
    *("on 01.02.2023", "01/02/2023 10:00", "2023-01-02 10:00:00", "at 10:30", "8:00-17:00", "01 02 2023"),
    *("01.02.23 - 05.02.23", "09-11-2023 200 people", "02-03-2023", "2023", "in 1984 2001 2023", "1/2", "24/7"),
    *("1.234,56 €", "1,234,567", "$ 0123456789", "10.000.000", "12 000 000 people", "3.14159265358979", "+100 +1000"),
    *("won 21-19 21-17", "3-2", "100 km", "page 123-456", "v1.2.3.4", "192.168.0.1", "1701424860000"),
    *("order 123456789012", "Order #0123456789", "Bestellung 0123456789", "commande n° 0123456789", "#0123456789"),
    *("4111 1111 1111 1112", "DE89 3704 0044 0532 0130 01", "XX89370400440532013000", "ISBN 978-3-16-148410-0"),
    *("5 Guys on the road", "Heimweg 20 Minuten", "a 2 way street", "10 years down the road", "Allee 5 km"),
    *("call me at 5", "call 2024-05-06", "a@b", "@tomo", "me @ home", "http://", "www.", "and/or", "awww.cute"),
    *("die Straße ist 5 km lang", "la calle es larga", "the place is closed", "", "no digits at all"),
]

ANY_TEXT = st.text(
    st.characters(codec=None) | st.sampled_from("0123456789+-./() @:,w[]\xa0\nAaEeDd\ud800٣"), max_size=120
)
DETAILS = st.lists(
    st.sampled_from([text for text, _, _ in FOUND]) | st.sampled_from(NOTHING_PRIVATE) | st.text(max_size=5), max_size=8
)


def counted(text: str) -> dict[str, int]:
    counts: Counter[str] = Counter()
    count_private(text, counts)
    return dict(counts)


@pytest.mark.parametrize(("text", "expected", "kind"), FOUND)
def test_each_kind_is_counted_once_and_replaced_by_its_placeholder(text: str, expected: str, kind: str) -> None:
    assert counted(text) == {kind: 1}
    assert redacted(text) == expected


@pytest.mark.parametrize("text", NOTHING_PRIVATE)
def test_dates_prices_scores_and_order_numbers_are_nothing_private(text: str) -> None:
    assert counted(text) == {}
    assert redacted(text) == text


def test_several_kinds_in_one_text_count_each_by_itself() -> None:
    text = "mail a@b.de or c@d.org, see https://x.y/z?q=a@b.de, card 4111111111111111, tel +49 170 1234567"
    assert counted(text) == {"links": 1, "e-mail addresses": 2, "card numbers": 1, "phone numbers": 1}
    assert redacted(text) == "mail [EMAIL] or [EMAIL], see [LINK], card [CARD], tel [PHONE]"


def test_counts_add_up_over_messages() -> None:
    counts = Counter({"links": 3})
    count_private("https://example.org", counts)
    assert counts == {"links": 4}


LENGTH = count(full_count=200_000, quick_count=100_000)  # a square of it would take far over a second


@given(ANY_TEXT | DETAILS.map("".join) | DETAILS.map(" ".join))
@settings(max_examples=count(full_count=10_000, quick_count=100))
def test_what_is_redacted_holds_nothing_more_and_stays(text: str) -> None:
    once = redacted(text)
    assert counted(once) == {}
    assert redacted(once) == once
    assert bool(counted(text)) == (once != text)


@given(DETAILS.map("; ".join))
@settings(max_examples=count(full_count=10_000, quick_count=100))
def test_as_many_placeholders_stand_there_as_were_counted(text: str) -> None:
    assert redacted(text).count("[") - text.count("[") == sum(counted(text).values())


@pytest.mark.parametrize(
    "piece",
    [
        *(
            "0",
            "1",
            "0 ",
            "0-",
            "01 ",
            "+1",
            "+1 ",
            "(0",
            "00",
            "a@",
            "@a",
            "a.",
            "@a.",
            "a@a.",
            "www.",
            "www.a.",
            "://",
        ),
        *("a://", "http://.", "http://,", "A", "A ", "1 A ", "1 Aa ", "1 rue ", "1 rue de A ", "Calle A ", "Straße 1"),
        *(
            "AAstraße",
            "Calle de ",
            "DE89",
            "DE89 ",
            "DE89A ",
            "4 ",
            "4-4",
            "4111 ",
            "call 1",
            "call ",
            "call a a ",
            "order ",
        ),
        *(
            "order 0123456789",
            "t.me/",
            "8 9",
            "(11) ",
            "555-234-",
            "06.12.",
            "[",
            "+1()",
            "a-",
            "%@",
            "str. 1",
            "1 st ",
        ),
    ],
)
def test_time_grows_with_the_length_alone(piece: str) -> None:
    text = (piece * LENGTH)[:LENGTH]
    for adversarial in (text, text + "@/ st str 01234567890"):
        started = time.process_time()
        redacted(adversarial)
        assert time.process_time() - started < 1


def test_every_kind_is_warned_of_under_an_even_code_with_its_first_line(tmp_path: Path) -> None:
    details = {text: kind for text, _, kind in FOUND}
    firsts = {kind: text for text, kind in reversed(details.items())}
    lines = [f"{('Ann', 'Bo')[number % 2]}: {text}" for number, text in enumerate(("hi", *firsts.values(), "so", "ok"))]
    (tmp_path / "chat.txt").write_text("\n".join([*lines, *lines[1:-1]]), encoding="utf-8")
    (report,) = check(tmp_path / "chat.txt")
    found = {problem.code: problem for problem in report.problems}
    for line, kind in enumerate(firsts, start=2):
        assert re.fullmatch("[a-z]+(_[a-z]+)*", CODES[kind])
        warning = found[CODES[kind]]
        assert (warning.place, warning.count) == (f"{tmp_path / 'chat.txt'}:{line}", 2), kind
