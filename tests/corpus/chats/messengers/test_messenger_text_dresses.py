"""Text of other messengers than WhatsApp in dresses of their own; all words are made up."""

from messenger_cases import Read, events_of, found_by, said_by


def test_stamped_lines_are_read_with_brackets_angle_brackets_bars_and_names_of_months() -> None:
    for text in (
        "[2023-12-31 10:11] Ines: water: it\n[2023-12-31 10:12] Tomo: twice\n",
        "2023-12-31 10:11:00 <Ines> water: it\n2023-12-31 10:12:00 <Tomo> twice\n",
        "2023-12-31T10:11:00 Ines: water: it\n2023-12-31T10:12:00 Tomo: twice\n",
        "31 Dec 2023, 10:11 - Ines: water: it\n31 Dec 2023, 10:12 - Tomo: twice\n",
        "December 31, 2023 10:11 AM | Ines: water: it\nDecember 31, 2023 10:12 AM | Tomo: twice\n",
        "31.12.2023, 10:11: Ines: water: it\n31.12.2023, 10:12: Tomo: twice\n",
        "(12/31/23 10:11 am) Ines: water: it\n(12/31/23 10:12 am) Tomo: twice\n",
        "2023년 12월 31일 10시 11분 Ines: water: it\n2023년 12월 31일 10시 12분 Tomo: twice\n",
    ):
        read = Read("stamped", text)
        assert found_by(text)[-1 if "<" in text else 0] == "stamped", text
        assert read.turns == [("Ines", "water: it"), ("Tomo", "twice")], text
        assert read.notes.first.startswith("2023-12-31T10:11"), text


def test_imessage_leaves_out_reactions_replies_shown_again_and_announcements() -> None:
    text = (
        "Dec 31, 2023  1:11:00 PM\nMe\ndid you water\n\nthe fern\nTapbacks:\n    Loved by Tomo\n\n"
        "    Dec 31, 2023  1:12:00 PM\n    Tomo\n    twice\n\n"
        "Dec 31, 2023  1:12:00 PM\nTomo\ntwice\nThis message responded to an earlier message.\n\n"
        "Dec 31, 2023  1:13:00 PM Tomo named the conversation Ferns\n\n"
        "Dec 31, 2023  1:14:00 PM\nMe\nattachments/12/x.heic\n\n"
    )
    assert found_by(text) == ["imessage"]
    read = Read("imessage", text)
    assert read.turns == [("Me", "did you water\n\nthe fern"), ("Tomo", "twice")]
    assert read.dropped == {"system": 1, "media": 1}
    assert read.notes.first == "2023-12-31T13:11:00"


def test_line_is_read_with_tabs_in_japanese_and_with_blanks_in_english() -> None:
    japanese = (
        "[LINE] 智のトーク履歴\n保存日時：2024/01/01 10:11\n\n2023/12/31(日)\n"
        '午後7:00\t王\tお茶は\n午後7:01\t智\t"はい\n二杯"\n午後7:02\t王\t[写真]\n午後7:03\t王がグループに参加しました。\n'
        "\n2024/01/01(月)\n午前9:00\t王\t好\n午前9:01\t智\t[スタンプ]\n"
    )
    assert found_by(japanese) == ["line"]
    events, _ = events_of("line", japanese)
    assert said_by(events) == [
        ("王", "お茶は", ""),
        ("智", "はい\n二杯", ""),
        ("王", "[写真]", "media"),
        ("", "王がグループに参加しました。\n", ""),
        ("王", "好", ""),
        ("智", "[スタンプ]", "sticker"),
    ]
    assert (events[0].time.date, events[0].time.seconds, events[4].time.date) == (
        (2023, 12, 31),
        19 * 3600,
        (2024, 1, 1),
    )
    english = (
        "[LINE] Chat history with Tomo\nSaved on: 12/31/2023 10:11\n\n2023.12.31 Sunday\n"
        "10:11 Ines Alves did you water\n10:12 Tomo twice\n10:13 Ines Alves good\n10:14 Tomo it sulks\n"
        "10:15 Ines Alves tea\n"
    )
    assert [(who, text) for who, text, _ in said_by(events_of("line", english)[0])] == [
        ("Ines Alves", "did you water"),
        ("Tomo", "twice"),
        ("Ines Alves", "good"),
        ("Tomo", "it sulks"),
        ("Ines Alves", "tea"),
    ]


def test_irc_is_read_with_days_told_by_the_log_and_with_days_counted() -> None:
    irssi = (
        "--- Log opened Sun Dec 31 10:00:00 2023\n10:11 -!- tomo [t@example] has joined #fern\n"
        "10:11 <@ines> did you water\n"
        "10:12 < tomo> twice\n10:13  * tomo waves\n--- Day changed Mon Jan 01 2024\n00:01 <@ines> hi\n"
        "00:02 < tomo> ho\n"
    )
    assert found_by(irssi) == ["irc"]
    events, _ = events_of("irc", irssi)
    assert [(who, dropped) for who, _, dropped in said_by(events)] == [
        ("", "system"),
        ("ines", ""),
        ("tomo", ""),
        ("tomo", ""),
        ("ines", ""),
        ("tomo", ""),
    ]
    assert (events[3].text, events[1].time.date, events[4].time.date) == ("*waves*", (2023, 12, 31), (2024, 1, 1))
    plain = "[23:58] <ines> hi\n[23:59] <tomo> ho\n[00:01] <ines> still up\n[00:02] <tomo> yes\n"
    assert found_by(plain)[0] == "irc"
    events, _ = events_of("irc", plain)
    assert [event.time.date[2] for event in events] == [1, 1, 2, 2]
    hexchat = (
        "**** BEGIN LOGGING AT Sun Dec 31 10:00:00 2023\nDec 31 10:11:00 <ines>\tdid you water\n"
        "Dec 31 10:12:00 <tomo>\ttwice\n"
    )
    assert found_by(hexchat)[0] == "irc"
    assert said_by(events_of("irc", hexchat)[0]) == [("ines", "did you water", ""), ("tomo", "twice", "")]


def test_chats_that_were_copied_from_a_window_are_read() -> None:
    for text in (
        "Ines Alves 10:11\ndid you water\n\nthe fern\nTomo 10:12\ntwice\nInes Alves 10:13\ngood\n",
        "Ines Alves  10:11 AM\ndid you water\n\nthe fern\nTomo  10:12 AM\ntwice\nInes Alves  10:13 AM\ngood\n",
        "[10:11] Ines Alves\ndid you water\n\nthe fern\n[10:12] Tomo\ntwice\n[10:13] Ines Alves\ngood\n",
        "Ines Alves — 31/12/2023 10:11\ndid you water\n\nthe fern\nTomo — 31/12/2023 10:12\ntwice\n"
        "Ines Alves — Today at 10:13\ngood\n",
        "Ines Alves, [31.12.2023 10:11]\ndid you water\n\nthe fern\nTomo, [31.12.2023 10:12]\ntwice\n"
        "Ines Alves, [31.12.2023 10:13]\ngood\n",
        "Ines Alves (10:11): did you water\n\nthe fern\nTomo (10:12): twice\nInes Alves (10:13): good\n",
        "10:11:00\tFrom Ines Alves to Everyone : did you water\n\nthe fern\n10:12:00\tFrom Tomo to Everyone : twice\n"
        "10:13:00\tFrom Ines Alves to Tomo(Direct Message) : good\n",
        "10:11:00 Von Ines Alves an Alle : did you water\n\nthe fern\n"
        "10:12:00 Von Tomo an Alle : twice\n10:13:00 Von Ines Alves an Alle : good\n",
    ):
        assert found_by(text)[0] == "pasted", text
        events, _ = events_of("pasted", text)
        said = [(who, words.strip()) for who, words, _ in said_by(events)]
        assert said == [("Ines Alves", "did you water\n\nthe fern"), ("Tomo", "twice"), ("Ines Alves", "good")], text
        assert events[0].time.seconds == 10 * 3600 + 11 * 60, text


def test_a_line_of_a_message_that_ends_in_a_time_begins_no_message() -> None:
    text = (
        "Ines 10:11\nwhen does it leave\nTomo 10:12\nthe train leaves at 11:11\nInes 10:13\n"
        "then see you at 11:00\nTomo 10:14\nyes\n"
    )
    assert [who for who, _, _ in said_by(events_of("pasted", text)[0])] == ["Ines", "Tomo", "Ines", "Tomo"]
