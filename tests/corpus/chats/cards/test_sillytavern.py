"""SillyTavern's chats: names, placeholders, swipes and times."""

import json

from set_readings import Read

SILLYTAVERN = """{"user_name": "Ines", "character_name": "Tomo", "create_date": "2023-12-1", "chat_metadata": {}}
{"name": "Tomo", "is_user": false, "send_date": "December 1, 2023 10:00am", "mes": "*waters the fern* Hello, \
{{user}}.", "swipes": ["a", "b"]}
{"name": "Ines", "is_user": true, "send_date": "x", "mes": "is it well?"}
{"name": "Tomo", "is_user": false, "mes": "It sulks."}
"""


def test_sillytavern_has_a_head_names_for_placeholders_and_no_swipes() -> None:
    read = Read(SILLYTAVERN, "sillytavern", "talk.jsonl")
    assert read.turns == [
        ("Tomo", "*waters the fern* Hello, Ines."),
        ("Ines", "is it well?"),
        ("Tomo", "It sulks."),
    ]
    assert read.changed == {"{{char}} and {{user}} by names": 1}
    assert read.notes.persona == "Tomo"
    assert read.warnings == {"few": 1, "times": 2}


def test_sillytavern_finds_names_that_the_head_does_not_have_and_leaves_out_what_is_hidden() -> None:
    lines = [
        {"chat_metadata": {}, "user_name": "unused", "character_name": "unused"},
        {
            "name": "Tomo",
            "is_user": False,
            "mes": "Hi <USER>, {{char}} here",
            "send_date": "2023-12-1 @10h 30m 5s 123ms",
        },
        {"name": "Ines", "is_user": True, "mes": "hm", "send_date": 1701426700000},
        {"name": "System", "is_system": True, "mes": "joined"},
        {"name": "Tomo", "is_user": False, "mes": "", "extra": {"image": "x.png"}},
        {"name": "Tomo", "is_user": False, "mes": "ok", "send_date": "2023-12-01T10:40:00.123Z"},
        {"name": "Ines", "is_user": True, "mes": "later", "send_date": "December 3, 2023 1:05pm"},
        {"name": "Tomo", "is_user": False, "mes": "now", "send_date": "1701610000000"},
    ]
    read = Read("\n".join(map(json.dumps, lines)), "sillytavern")
    assert read.turns[0] == ("Tomo", "Hi Ines, Tomo here")
    assert read.sizes == [3, 2]
    assert read.dropped == {"system": 1, "media": 1}
    assert (read.notes.first, read.notes.last) == ("2023-12-01T10:30:05", "2023-12-03T13:26:40")
