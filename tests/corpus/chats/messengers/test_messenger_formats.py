"""What must come out of one file of each messenger, worked out by hand; the files' words are made up."""

import json

import messenger_cases as cases
import pytest
from messenger_cases import FORMATS, Read, found_by

from menura.corpus.chats.messengers.catalogue import MESSENGERS, NEARLY
from menura.errors import DataError

FERN = ("Ines", "did you water the fern")


def test_whatsapp_of_android_is_read_month_first_and_cut_by_silence() -> None:
    read = Read("whatsapp", cases.WA_ANDROID_DASH)
    assert read.speakers == {"Ines": 12, "Tomo": 12}
    assert read.sizes == [6, 6, 6, 6]
    assert read.dropped == {"system": 2, "media": 1, "deleted": 1}
    assert read.changed == {}
    assert read.notes.order.startswith("month-first")
    assert (read.notes.first, read.notes.last) == ("2023-12-01T19:00:00", "2023-12-09T19:05:00")
    assert read.warnings == {"duplicate": 2}
    assert (read.turns[0], read.turns[-1]) == (FERN, ("Tomo", "noted"))


def test_whatsapp_with_p_m_and_no_break_spaces_loses_no_line() -> None:
    read = Read("whatsapp", cases.WA_ES_PM)
    assert read.speakers == {"Ines": 12, "Tomo": 12}
    assert read.sizes == [6, 6, 6, 6]
    assert read.dropped == {}
    assert read.notes.order.startswith("day-first")
    assert (read.notes.first, read.notes.last) == ("2017-06-01T20:00:00", "2017-06-09T20:05:00")
    assert (read.turns[0], read.turns[-1]) == (FERN, ("Tomo", "noted"))


def test_whatsapp_of_ios_keeps_the_lines_of_a_message_together() -> None:
    read = Read("whatsapp", cases.WA_IOS_24H)
    assert read.speakers == {"Ines": 13, "Tomo": 12}
    assert read.sizes == [6, 6, 6, 7]
    assert read.dropped == {"system": 1, "media": 1}
    assert read.changed == {"invisible characters": 4, "edited marks": 1}
    assert read.notes.order.startswith("day-first")
    assert (read.notes.first, read.notes.last) == ("2023-12-01T10:00:12", "2023-12-09T10:32:00")
    assert read.warnings == {"duplicate": 1}
    assert (read.turns[0], read.turns[-1]) == (FERN, ("Ines", "fixed now"))
    assert read.turns[23][1] == "noted\nfirst line\nsecond line of the same message\nthird: with a colon"


def test_stamps_with_east_asian_words_are_dates() -> None:
    read = Read("stamped", cases.STAMP_CJK)
    assert (read.speakers, read.sizes, read.dropped) == ({"Ines": 3, "Tomo": 3}, [6], {})
    assert (read.notes.first, read.notes.last) == ("2023-12-31T10:11:00", "2023-12-31T10:16:00")
    assert read.warnings == {"few": 1}
    assert (read.turns[0], read.turns[-1]) == (FERN, ("Tomo", "green"))


def test_a_stamp_after_the_name_has_no_year_and_counts_all_the_same() -> None:
    read = Read("pasted", cases.STAMP_AFTER_NAME)
    assert (read.speakers, read.sizes, read.dropped) == ({"Ines": 3, "Tomo": 3}, [6], {})
    assert (read.notes.first, read.notes.last) == ("12-31T10:11:00", "12-31T10:16:00")
    assert read.warnings == {"few": 1}
    assert (read.turns[0], read.turns[-1]) == (FERN, ("Tomo", "green"))


def test_telegram_calls_media_and_forwards_are_no_turns_and_the_chat_is_the_persona_s() -> None:
    read = Read("telegram", cases.TELEGRAM_RESULT, "result.json")
    assert (read.speakers, read.sizes) == ({"Ines": 1, "Tomo": 1}, [2])
    assert read.dropped == {"call": 1, "media": 1, "forward": 1, "dialogue of one person": 1}
    assert read.notes.persona == "Tomo"
    assert read.notes.first == "2023-12-01T10:01:00"
    assert read.warnings == {"few": 1, "links": 1, "unnamed_sender": 1}
    assert any("user3" in problem.message for problem in read.notes.problems)
    assert read.turns == [FERN, ("Tomo", "yes twice, see https://example.org")]


def test_discord_s_json_calls_people_by_their_nicknames() -> None:
    read = Read("discord", cases.DISCORD_EXPORT_JSON, "discord.json")
    assert (read.speakers, read.sizes, read.dropped) == ({"Ines": 1, "Tomo": 1}, [2], {})
    assert (read.notes.first, read.notes.last) == ("2023-12-01T10:01:00", "2023-12-01T10:02:00")
    assert read.warnings == {"few": 1}
    assert read.turns == [FERN, ("Tomo", "yes twice")]


def test_discord_s_text_keeps_lines_together_and_an_attachment_takes_its_link_with_it() -> None:
    read = Read("discord_text", cases.DISCORD_EXPORT)
    assert (read.speakers, read.sizes) == ({"ines#1234": 1, "tomo#5678": 1}, [2])
    assert read.dropped == {"media": 1}
    assert (read.notes.first, read.notes.last) == ("2023-12-01T10:01:00", "2023-12-01T10:02:00")
    assert read.warnings == {"few": 1}
    assert read.turns == [("ines#1234", FERN[1]), ("tomo#5678", "yes twice\nreally: twice")]


def test_messenger_s_file_is_turned_round_and_its_letters_are_mended() -> None:
    read = Read("messenger", cases.FACEBOOK_MESSAGE_1, "message_1.json")
    assert (read.speakers, read.sizes, read.dropped) == ({"Tomo": 1, "Inês": 1}, [2], {})
    assert read.changed == {"mojibake": 3}
    assert (read.notes.first, read.notes.last) == ("2023-12-01T10:00:00", "2023-12-01T10:01:00")
    assert read.warnings == {"few": 1, "mojibake": 3}
    assert read.turns == [("Tomo", "hello there"), ("Inês", "café 😊")]


def test_slack_s_ids_without_names_stay_as_they_stand() -> None:
    read = Read("slack", cases.SLACK_DAY, "2023-12-01.json")
    assert (read.speakers, read.sizes, read.dropped) == ({"U01": 1, "U02": 1}, [2], {"system (join)": 1})
    assert (read.notes.first, read.notes.last) == ("2023-12-01T10:00:00", "2023-12-01T10:00:02")
    assert set(read.warnings) == {"few", "unnamed_id"}
    named = " ".join(problem.message + problem.hint for problem in read.notes.problems)
    assert all(said in named for said in ("U01", "U02", "users.json"))
    assert read.turns == [("U01", "did you water the <@U02> fern"), ("U02", "yes twice")]


def test_imessage_s_paths_are_media_and_marks_of_reading_no_text() -> None:
    read = Read("imessage", cases.IMESSAGE_EXPORTER)
    assert (read.speakers, read.sizes, read.dropped) == ({"Me": 1, "Tomo": 1}, [2], {"media": 1})
    assert (read.notes.first, read.notes.last) == ("2023-12-01T10:01:00", "2023-12-01T10:02:00")
    assert read.warnings == {"few": 1}
    assert read.turns == [("Me", FERN[1]), ("Tomo", "yes twice")]


@pytest.mark.parametrize(
    ("text", "name", "format"),
    [
        (cases.WA_ANDROID_DASH, "chat.txt", "whatsapp"),
        (cases.WA_ES_PM, "chat.txt", "whatsapp"),
        (cases.WA_IOS_24H, "_chat.txt", "whatsapp"),
        (cases.STAMP_CJK, "chat.txt", "stamped"),
        (cases.STAMP_AFTER_NAME, "chat.txt", "pasted"),
        (cases.TELEGRAM_RESULT, "result.json", "telegram"),
        (cases.DISCORD_EXPORT_JSON, "plants.json", "discord"),
        (cases.DISCORD_EXPORT, "plants.txt", "discord_text"),
        (cases.FACEBOOK_MESSAGE_1, "message_1.json", "messenger"),
        (cases.SLACK_DAY, "2023-12-01.json", "slack"),
        (cases.IMESSAGE_EXPORTER, "tomo.txt", "imessage"),
    ],
)
def test_the_first_format_that_takes_a_file_is_its_own(text: str, name: str, format: str) -> None:
    assert found_by(text, name)[0] == format


@pytest.mark.parametrize(
    "text",
    [
        "Ines: did you water the fern\nTomo: yes twice\n",
        "Ines: <Media omitted>\nTomo: yes twice at 10:11\nInes: see you 12/12/2023\n",
        "title: plants\nauthor: Ines\ndate: 2023-12-31\n\nInes: did you water the fern\nTomo: yes twice\n",
        "1. Ines: did you water the fern\n2. Tomo: yes twice\n",
        "1\n00:00:01,000 --> 00:00:02,000\nINES: did you water the fern?\n",
        "1 your persona: i grow ferns.\n2 hello , tea ?\tgladly .\n",
        '[{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "it sulks"}]}]',
        '{"messages": [{"role": "user", "content": "is the fern well"}]}\n',
        '[{"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]}]',
        '{"user_name": "Ines", "character_name": "Tomo"}\n{"name": "Tomo", "mes": "hi", "send_date": "x"}\n',
        '{"name": "Tomo", "description": "a gardener", "mes_example": "<START>", "data": {}}',
        "speaker,text\nInes,did you water the fern\n",
        "The train leaves at 10:11\nand the next one at 11:11\nin the evening at 12:11\n",
        "",
    ],
)
def test_no_messenger_takes_a_file_of_another_kind(text: str) -> None:
    assert found_by(text) == []


def test_names_and_titles_of_formats_are_all_different() -> None:
    assert len({format.name for format in MESSENGERS}) == len({format.title for format in MESSENGERS}) == 13
    assert all(format.timed for format in MESSENGERS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("12/1/23, 7:00 PM - did you water the fern\n12/1/23, 7:01 PM - yes twice\n", "WhatsApp"),
        ('{"about": "x", "personal_information": {"first_name": "Ines"}, "frequent_contacts": {}}', "Telegram"),
        ("ID,Timestamp,Contents,Attachments\n1,2023-12-01 10:00:00,hi,\n", "Discord"),
        ('[{"id": "U01", "team_id": "T1", "name": "ines", "real_name": "Ines"}]', "Slack"),
        ("<html><head><title>Exported Data</title></head><body></body></html>", "Telegram"),
    ],
)
def test_a_file_that_is_nearly_an_export_is_named(text: str, said: str) -> None:
    assert found_by(text) == []
    found = [near for nearly in NEARLY if (near := nearly(text, "chat.txt"))]
    assert said in found[0][0]
    assert found[0][1]


def test_a_telegram_export_without_messages_is_refused_with_what_to_do() -> None:
    empty = json.dumps({"name": "Tomo", "type": "personal_chat", "id": 1, "messages": []})
    with pytest.raises(DataError, match="without messages.*JSON"):
        Read("telegram", empty)


def test_equal_faults_of_rows_are_one_problem_with_a_count() -> None:
    rows = [{"type": "message", "from": "Ines", "text": 7, "date": 7}] * 50
    with pytest.raises(DataError) as caught:
        Read("telegram", json.dumps({"type": "personal_chat", "messages": rows}))
    assert sorted((problem.message, problem.count) for problem in caught.value.problems) == [
        ("messages[].date is a number, must be text", 50),
        ("messages[].text is a number, must be text or a list", 50),
    ]


def test_messages_of_more_than_a_mebibyte_are_refused_before_they_fill_memory() -> None:
    text = "12/1/23, 7:00 PM - Ines: hi\n" + "and on\n" * 200_000
    with pytest.raises(DataError, match="longer than 1 MiB"):
        Read("whatsapp", text)
    assert FORMATS["whatsapp"].looks_like(text[:65536], "chat.txt")
