"""WhatsApp's exports in other languages, with other orders and marks of dates; all words are made up."""

import pytest
from messenger_cases import Read, found_by

# Name of the dress, the text, order of dates, first and last time, kept turns.
GERMAN = (
    "31.12.23, 19:00 - Nachrichten und Anrufe sind Ende-zu-Ende-verschlüsselt. Tippe, um mehr zu erfahren.\n"
    "31.12.23, 19:01 - Jörg Müller: hast du den Farn gegossen\n"
    "31.12.23, 19:02 - Tomo: zweimal\n\nund er schmollt\n"
    "31.12.23, 19:03 - Jörg Müller: <Medien ausgeschlossen>\n"
    "31.12.23, 19:04 - Jörg Müller hat den Betreff von „Farn“ zu „Farn: ein Drama“ geändert.\n"
    "31.12.23, 19:05 - Tomo: Diese Nachricht wurde gelöscht.\n"
    "01.01.24, 19:06 - Jörg Müller: gut\n"
    "01.01.24, 19:07 - Tomo: grün\n"
)
FRENCH = (
    "31/12/2023 à 09:00 - Inès: tu as arrosé la fougère\n"
    "31/12/2023 à 09:01 - Tomo: deux fois : elle boude\n"
    "31/12/2023 à 09:02 - Inès: <Médias omis>\n"
    "31/12/2023 à 09:03 - Inès a changé l'objet en « fougère : un drame »\n"
    "31/12/2023 à 09:04 - Tomo: verte\n"
    "31/12/2023 à 09:05 - Inès: bien\n"
)
JAPANESE = (
    "[2023/12/31 19:00:12] 王: お茶はいかが\n"
    "[2023/12/31 19:01:12] 小林さん: はい、二杯\n"
    "\u200e[2023/12/31 19:02:12] 王: \u200e画像は含まれていません\n"
    "[2024/01/01 19:03:12] 王: 好\n"
    "[2024/01/01 19:04:12] 小林さん: 緑\n"
)
BRAZILIAN = (
    "31/12/2023 19:00 - As mensagens e as chamadas são protegidas com a criptografia de ponta a ponta.\n"
    "31/12/2023 19:01 - Inês: regou a samambaia\n"
    "31/12/2023 19:02 - +55 11 91234-5678: duas vezes\n"
    "31/12/2023 19:03 - Inês: <Mídia oculta>\n"
    "31/12/2023 19:04 - +55 11 91234-5678: Esta mensagem foi apagada\n"
    "31/12/2023 19:05 - Inês: bom\n"
)
ARABIC = (
    "31\u200f/12\u200f/2023، 7:00 م - إيناس: هل سقيت السرخس\n"
    "31\u200f/12\u200f/2023، 7:01 م - تومو: مرتين\n"
    "31\u200f/12\u200f/2023، 7:02 م - إيناس: \u200f<تم استبعاد الوسائط>\n"
    "1\u200f/1\u200f/2024، 12:03 ص - إيناس: حسنا\n"
    "1\u200f/1\u200f/2024، 12:04 ص - تومو: أخضر\n"
)
ARABIC_DIGITS = "٣١‏/١٢‏/٢٠٢٣، ٧:٠٠ م - إيناس: هل سقيت\n٣١‏/١٢‏/٢٠٢٣، ٧:٠١ م - تومو: مرتين\n"
HINDI = (
    "31/12/23, 7:00 pm - इनेस: फ़र्न को पानी दिया\n"
    "31/12/23, 7:01 pm - तोमो: दो बार\n"
    "31/12/23, 7:02 pm - इनेस: <मीडिया छोड़ा गया>\n"
    "01/01/24, 12:03 am - इनेस: अच्छा\n"
    "01/01/24, 12:04 am - तोमो: हरा\n"
)
ICELANDIC = (
    "31.12.2023, 19:00 - Skilaboð og símtöl eru dulkóðuð frá enda til enda.\n"
    "31.12.2023, 19:01 - Inga: vökvaðir þú burknann\n"
    "31.12.2023, 19:02 - Tumi: tvisvar\n"
    "31.12.2023, 19:03 - Inga: <Miðlum sleppt>\n"
    "31.12.2023, 19:04 - Inga breytti efninu í „burkni: harmleikur“\n"
    "31.12.2023, 19:05 - Inga: gott\n"
    "31.12.2023, 19:06 - Tumi: grænt\n"
)
CHINESE = (
    "2023/12/31 下午7:00 - 王伟: 浇水了吗\n"
    "2023/12/31 下午7:01 - 小林: 两次\n"
    "2023/12/31 下午7:02 - 王伟: <省略多媒體檔案>\n"
    "2024/1/1 上午12:03 - 王伟: 好\n"
    "2024/1/1 上午12:04 - 小林: 绿\n"
)
KOREAN_IOS = "[2023. 12. 31. 오후 7:00:12] 이네스: 물 줬어\n[2023. 12. 31. 오후 7:01:12] 토모: 두 번\n"
FINNISH = "31.12.2023 klo 19.00 - Ines: kastelitko saniaisen\n31.12.2023 klo 19.01 - Tomo: kahdesti\n"
DANISH = "31.12.2023 kl. 19.00 - Ines: har du vandet bregnen\n31.12.2023 kl. 19.01 - Tomo: to gange\n"
BULGARIAN = "31.12.2023 г., 19:00 ч. - Инес: поли ли папратта\n31.12.2023 г., 19:01 ч. - Томо: два пъти\n"
HUNGARIAN = "2023. 12. 31. 19:00 - Ines: megöntözted\n2023. 12. 31. 19:01 - Tomo: kétszer\n"
TURKISH = "31.12.2023 ÖS 7:00 - Ines: suladın mı\n31.12.2023 ÖS 7:01 - Tomo: iki kere\n"
SWEDISH = "2023-12-31 19:00 - Ines: har du vattnat\n2023-12-31 19:01 - Tomo: två gånger\n"
DUTCH = "31-12-2023 19:00 - Ines: heb je water gegeven\n31-12-2023 19:01 - Tomo: twee keer\n"
AMERICAN_IOS = "[12/31/23, 7:00:12\u202fPM] Ines: did you water it\n[12/31/23, 7:01:12\u202fPM] Tomo: twice\n"
COPIED = "[19:00, 12/31/2023] Ines: did you water it\n[19:01, 12/31/2023] Tomo: twice\n"
EN_DASH = "31/12/23, 19:00 – Ines: did you water it\n31/12/23, 19:01 – Tomo: twice\n"


@pytest.mark.parametrize(
    ("text", "speakers", "dropped", "first", "last"),
    [
        (
            GERMAN,
            ["Jörg Müller", "Tomo"],
            {"system": 2, "media": 1, "deleted": 1},
            "2023-12-31T19:01",
            "2024-01-01T19:07",
        ),
        (FRENCH, ["Inès", "Tomo"], {"system": 1, "media": 1}, "2023-12-31T09:00", "2023-12-31T09:05"),
        (JAPANESE, ["王", "小林さん"], {"media": 1}, "2023-12-31T19:00:12", "2024-01-01T19:04:12"),
        (
            BRAZILIAN,
            ["Inês", "+55 11 91234-5678"],
            {"system": 1, "media": 1, "deleted": 1},
            "2023-12-31T19:01",
            "2023-12-31T19:05",
        ),
        (ARABIC, ["إيناس", "تومو"], {"media": 1}, "2023-12-31T19:00", "2024-01-01T00:04"),
        (ARABIC_DIGITS, ["إيناس", "تومو"], {}, "2023-12-31T19:00", "2023-12-31T19:01"),
        (HINDI, ["इनेस", "तोमो"], {"media": 1}, "2023-12-31T19:00", "2024-01-01T00:04"),
        (ICELANDIC, ["Inga", "Tumi"], {"system": 2, "media": 1}, "2023-12-31T19:01", "2023-12-31T19:06"),
        (CHINESE, ["王伟", "小林"], {"media": 1}, "2023-12-31T19:00", "2024-01-01T00:04"),
        (KOREAN_IOS, ["이네스", "토모"], {}, "2023-12-31T19:00:12", "2023-12-31T19:01:12"),
        (FINNISH, ["Ines", "Tomo"], {}, "2023-12-31T19:00", "2023-12-31T19:01"),
        (DANISH, ["Ines", "Tomo"], {}, "2023-12-31T19:00", "2023-12-31T19:01"),
        (BULGARIAN, ["Инес", "Томо"], {}, "2023-12-31T19:00", "2023-12-31T19:01"),
        (HUNGARIAN, ["Ines", "Tomo"], {}, "2023-12-31T19:00", "2023-12-31T19:01"),
        (TURKISH, ["Ines", "Tomo"], {}, "2023-12-31T19:00", "2023-12-31T19:01"),
        (SWEDISH, ["Ines", "Tomo"], {}, "2023-12-31T19:00", "2023-12-31T19:01"),
        (DUTCH, ["Ines", "Tomo"], {}, "2023-12-31T19:00", "2023-12-31T19:01"),
        (AMERICAN_IOS, ["Ines", "Tomo"], {}, "2023-12-31T19:00:12", "2023-12-31T19:01:12"),
        (COPIED, ["Ines", "Tomo"], {}, "2023-12-31T19:00", "2023-12-31T19:01"),
        (EN_DASH, ["Ines", "Tomo"], {}, "2023-12-31T19:00", "2023-12-31T19:01"),
    ],
)
def test_an_export_in_another_dress_is_read_the_same(
    text: str, speakers: list[str], dropped: dict[str, int], first: str, last: str
) -> None:
    assert found_by(text)[0] == "whatsapp"
    read = Read("whatsapp", text)
    assert list(read.speakers) == speakers
    assert read.dropped == dropped
    assert (read.notes.first.removesuffix(":00"), read.notes.last.removesuffix(":00")) == (first, last)


def test_blank_lines_and_lines_without_a_stamp_go_on_with_the_message() -> None:
    assert ("Tomo", "zweimal\n\nund er schmollt") in Read("whatsapp", GERMAN).turns


def test_a_group_of_five_has_five_speakers_and_no_system_line_among_them() -> None:
    names = ["Ines", "Tomo", "Bela", "Dr. Ada: Lab", "~\u202fMira"]
    lines = ['12/31/23, 7:00 PM - Ines created group "Fern: a drama"', "12/31/23, 7:00 PM - You were added"]
    lines += [f"12/31/23, 7:{minute:02} PM - {names[minute % 5]}: line {minute}" for minute in range(1, 26)]
    lines += ["12/31/23, 7:30 PM - Tomo left", "12/31/23, 7:31 PM - Ines changed the subject to “Fern: the end”"]
    read = Read("whatsapp", "\n".join(lines) + "\n")
    assert list(read.speakers) == ["Tomo", "Bela", "Dr. Ada", "Mira", "Ines"]
    assert read.dropped == {"system": 4}
    assert read.sizes == [25]
    # The first colon ends a name.
    assert ("Dr. Ada", "Lab: line 3") in read.turns


def test_a_line_of_the_system_with_a_colon_makes_no_speaker_even_before_any_name_was_met() -> None:
    text = (
        '12/31/23, 7:00 PM - Ines changed the subject to "a: b"\n'
        "12/31/23, 7:01 PM - Ines: a: b is better\n"
        "12/31/23, 7:02 PM - Tomo: yes\n"
    )
    read = Read("whatsapp", text)
    assert read.turns == [("Ines", "a: b is better"), ("Tomo", "yes")]
    assert read.dropped == {"system": 1}


def test_a_pasted_message_of_another_kind_of_stamp_begins_no_message_and_is_said() -> None:
    text = "".join(
        f"31/12/23, 19:{minute:02} - {'Ines' if minute % 2 else 'Tomo'}: line {minute}\n" for minute in range(12)
    )
    text += "31/12/23, 19:30 - Tomo: she wrote\n[18:00, 30/12/2023] Bela: hello\n"
    read = Read("whatsapp", text)
    assert list(read.speakers) == ["Tomo", "Ines"]
    assert read.turns[-1] == ("Tomo", "she wrote\n[18:00, 30/12/2023] Bela: hello")
    assert read.warnings["continued"] == 1


def test_two_digit_years_and_twelve_hours_are_points_in_time() -> None:
    text = "1/2/99, 12:59 AM - Ines: hi\n1/2/99, 1:00 AM - Tomo: ho\n"
    text += "1/3/99, 12:59 PM - Ines: hi\n1/3/99, 1:01 PM - Tomo: ho\n"
    read = Read("whatsapp", text)
    assert read.notes.order.startswith("month-first")
    assert (read.notes.first, read.notes.last) == ("1999-01-02T00:59:00", "1999-01-03T13:01:00")


def test_am_and_pm_in_capitals_alone_speak_for_the_month_first() -> None:
    for mark, order in (("PM", "month-first"), ("pm", "day-first"), ("p. m.", "day-first")):
        text = f"1/2/23, 7:00 {mark} - Ines: hi\n1/2/23, 7:01 {mark} - Tomo: ho\n"
        assert Read("whatsapp", text).notes.order.startswith(order)


def test_a_message_without_text_and_one_with_only_a_colon_are_no_system_lines() -> None:
    text = "31/12/23, 19:00 - Ines:\nnext line\n31/12/23, 19:01 - Tomo: ho\n31/12/23, 19:02 - Ines: \n"
    read = Read("whatsapp", text)
    assert read.turns == [("Ines", "next line"), ("Tomo", "ho")]
    assert read.dropped == {"empty": 1}


def test_carriage_returns_alone_end_lines() -> None:
    read = Read("whatsapp", SWEDISH.replace("\n", "\r"))
    assert len(read.turns) == 2
    assert read.changed == {"line ends (CR)": 2}


def test_a_message_with_the_words_of_a_system_line_after_a_new_name_is_a_message() -> None:
    text = "31/12/23, 19:00 - Bela: added salt\n31/12/23, 19:01 - Mira: left\n31/12/23, 19:02 - Bela added Mira\n"
    read = Read("whatsapp", text)
    assert read.turns[0] == ("Bela", "added salt")
    assert list(read.speakers) == ["Bela", "Mira"]
    assert read.dropped == {"system": 1}


def test_a_subject_that_a_group_gets_twice_is_no_speaker() -> None:
    subject = '31/12/23, 19:00 - Ines changed the subject to "a: b"\n'
    text = subject * 3 + "31/12/23, 19:01 - Ines: hi\n31/12/23, 19:02 - Tomo: ho\n"
    assert Read("whatsapp", text).turns == [("Ines", "hi"), ("Tomo", "ho")]


def test_a_group_that_begins_with_many_lines_about_who_joins_is_known_all_the_same() -> None:
    joins = "".join(f"31/12/23, 18:{minute:02} - +49 151 {minute} joined using a link\n" for minute in range(60))
    text = joins + "".join(f"31/12/23, 19:{minute:02} - {'IT'[minute % 2]}: line {minute}\n" for minute in range(20))
    assert found_by(text)[0] == "whatsapp"
    assert Read("whatsapp", text).dropped == {"system": 60}
