"""JSON, HTML and CSV of other messengers than WhatsApp in dresses of their own; all words are made up."""

import io
import json
from typing import Any

from messenger_cases import FORMATS, Read, events_of, found_by, said_by

from menura.corpus.chats.chat_file import ChatFile
from menura.corpus.chats.message import Notes, Start


def test_an_account_of_telegram_gives_each_chat_its_own_dialogues() -> None:
    def row(name: str, text: object, minute: int) -> dict[str, Any]:
        return {
            "type": "message",
            "date": f"2023-12-01T10:{minute:02}:00",
            "from": name,
            "from_id": "user1",
            "text": text,
        }

    account = {
        "about": "Here is the data you requested",
        "personal_information": {"first_name": "Ines"},
        "chats": {
            "list": [
                {
                    "name": "Tomo",
                    "type": "personal_chat",
                    "id": 1,
                    "messages": [row("Ines", "hi", 1), row("Tomo", "ho", 2)],
                },
                {"type": "saved_messages", "id": 2, "messages": [row("Ines", "note", 3)]},
                {
                    "name": "Bela",
                    "type": "personal_chat",
                    "id": 3,
                    "messages": [row("Bela", "hi", 3), row("Ines", "ho", 4)],
                },
            ]
        },
        "left_chats": {
            "list": [{"name": "G", "id": 4, "messages": [row("Mira", ["a", {"type": "bold", "text": "b"}], 5)]}]
        },
    }
    text = json.dumps(account)
    assert found_by(text) == ["telegram"]
    events, notes = events_of("telegram", text)
    assert [type(event) for event in events].count(Start) == 4
    assert notes.persona == ""
    read = Read("telegram", text)
    assert read.turns == [("Ines", "hi"), ("Tomo", "ho"), ("Bela", "hi"), ("Ines", "ho")]
    assert read.dropped == {"dialogue of one person": 2}


def test_telegram_rows_that_nobody_wrote_are_told_apart() -> None:
    rows = [
        {"type": "service", "action": "pin_message", "actor": "Ines", "date": "2023-12-01T10:00:00", "text": ""},
        {"type": "message", "from": "Ines", "text": "", "media_type": "sticker", "date": "2023-12-01T10:00:00"},
        {"type": "message", "from": "Ines", "text": "", "media_type": "voice_message", "file": "a.ogg"},
        {"type": "message", "from": "Ines", "text": "gif", "via_bot": "@gif"},
        {
            "type": "message",
            "from": "Ines",
            "text": "seen here",
            "photo": "a.jpg",
            "date": "x",
            "date_unixtime": "1701424800",
        },
        {"type": "message", "from": None, "from_id": "user9", "text": "hi"},
    ]
    events, notes = events_of("telegram", json.dumps({"type": "private_group", "name": "G", "messages": rows}))
    assert said_by(events) == [
        ("", "", "system"),
        ("Ines", "", "sticker"),
        ("Ines", "", "media"),
        ("Ines", "gif", "bot"),
        ("Ines", "seen here", ""),
        ("deleted account user9", "hi", ""),
    ]
    assert events[4].time.date == (2023, 12, 1)
    assert (notes.persona, notes.labels) == ("", {"deleted account user9"})


TELEGRAM_PAGE = """<!DOCTYPE html>
<html><head><title>Exported Data</title></head><body><div class="page_wrap">
<div class="page_header"><div class="content"><div class="text bold">
Tomo
</div></div></div>
<div class="page_body chat_page"><div class="history">
<div class="message service" id="message-1"><div class="body details">
31 December 2023
</div></div>
<div class="message default clearfix" id="message1">
 <div class="pull_left userpic_wrap"><div class="userpic userpic1"><div class="initials">I</div></div></div>
 <div class="body">
  <div class="pull_right date details" title="31.12.2023 10:11:12 UTC+01:00">10:11</div>
  <div class="from_name">
Ines
  </div>
  <div class="text">
did you <strong>water</strong> the fern<br>&amp;lt; &quot;now&quot;
  </div>
 </div>
</div>
<div class="message default clearfix joined" id="message2"><div class="body">
  <div class="pull_right date details" title="31.12.2023 10:12:12 UTC+01:00">10:12</div>
  <div class="media_wrap clearfix"><a class="photo_wrap clearfix pull_left" href="photos/a.jpg"></a></div>
</div></div>
<div class="message default clearfix" id="message3"><div class="body">
  <div class="pull_right date details" title="31.12.2023 10:13:12 UTC+01:00">10:13</div>
  <div class="from_name">Tomo</div>
  <div class="reply_to details">In reply to <a href="#go_to_message1">this message</a></div>
  <div class="text">twice</div>
</div></div>
<div class="message default clearfix joined" id="message4"><div class="body">
  <div class="pull_right date details" title="31.12.2023 10:14:12 UTC+01:00">10:14</div>
  <div class="text">really</div>
</div></div>
<div class="message default clearfix" id="message5"><div class="body">
  <div class="pull_right date details" title="31.12.2023 10:15:12 UTC+01:00">10:15</div>
  <div class="from_name">Ines</div>
  <div class="forwarded body">
  <div class="from_name">News <span class="date details" title="30.12.2023 09:00:00"></span></div>
  <div class="text">big news</div></div>
</div></div>
<div class="message service" id="message6"><div class="body details">Tomo pinned a message</div></div>
<div class="message default clearfix" id="message7"><div class="body">
  <div class="from_name">Ines</div>
  <div class="media_wrap clearfix"><div class="media clearfix pull_left media_call success"><div class="body">
   <div class="title bold">Tomo</div><div class="status details">Outgoing (12 seconds)</div></div></div></div>
</div></div>
<div class="message default clearfix joined" id="message8"><div class="body"><div class="text">bye</div></div></div>
</div></div></div></body></html>
"""


def test_telegram_s_page_is_read_with_joined_messages_and_entities_decoded_once() -> None:
    assert found_by(TELEGRAM_PAGE, "messages.html") == ["telegram_html"]
    events, notes = events_of("telegram_html", TELEGRAM_PAGE)
    assert [(speaker, text.strip(), dropped) for speaker, text, dropped in said_by(events)] == [
        ("Ines", "did you water the fern\n&amp;lt; &quot;now&quot;", ""),
        ("Ines", "", "media"),
        ("Tomo", "twice", ""),
        ("Tomo", "really", ""),
        ("Ines", "big news", "forward"),
        ("", "", "system"),
        ("Ines", "", "call"),
        ("Ines", "bye", ""),
    ]
    read = Read("telegram_html", TELEGRAM_PAGE)
    assert read.turns[0] == ("Ines", 'did you water the fern\n&lt; "now"')
    assert (read.notes.first, read.notes.order) == ("2023-12-31T10:11:12", "")
    assert notes.persona == "Tomo"


def test_discord_rows_that_nobody_wrote_are_told_apart_and_offsets_become_utc() -> None:
    author = {"id": "1", "name": "ines", "nickname": None, "isBot": False}
    rows = [
        {"type": "GuildMemberJoin", "timestamp": "2023-12-01T10:00:00+00:00", "content": "Joined", "author": author},
        {"type": "Call", "timestamp": "2023-12-01T10:00:00+00:00", "content": "Started a call", "author": author},
        {"type": "Reply", "timestamp": "2023-12-01T10:00:00.123+02:00", "content": "hi", "author": author},
        {"type": "Default", "timestamp": "2023-12-01T10:00:00Z", "content": "", "attachments": [{}], "author": author},
        {"type": "Default", "timestamp": "2023-12-01T10:00:00Z", "content": "", "stickers": [{}], "author": author},
        {
            "type": "Default",
            "timestamp": "2023-12-01T10:00:00Z",
            "content": "beep",
            "author": {"name": "", "id": "7", "isBot": True},
        },
    ]
    text = json.dumps({"guild": {"name": "x"}, "channel": {}, "messages": rows})
    assert found_by(text) == ["discord"]
    events, notes = events_of("discord", text)
    assert said_by(events) == [
        ("", "", "system"),
        ("", "", "call"),
        ("ines", "hi", ""),
        ("ines", "", "media"),
        ("ines", "", "sticker"),
        ("7", "beep", ""),
    ]
    assert events[2].time.seconds == 8 * 3600
    assert [problem.code for problem in notes.problems] == ["unnamed_sender"]


def test_discord_s_text_keeps_rules_that_people_type_and_leaves_out_its_own_end() -> None:
    rule = "=" * 62
    text = (
        f"{rule}\nGuild: Plants\nChannel: general / fern\nTopic: ferns\n{rule}\n\n"
        f"[12/31/2023 10:11 AM] ines (pinned)\nhi\n\n{rule}\nstill hi\n\n{{Reactions}}\n👍 (2)\n\n"
        f"[12/31/2023 10:12 AM] tomo\nho\n\n{{Embed}}\nhttps://example.org\n\n"
        f"[12/31/2023 10:13 AM] ines\n\n{{Stickers}}\nhttps://example.org/s.png\n\n"
        f"{rule}\nExported 3 message(s)\n{rule}\n"
    )
    assert found_by(text)[0] == "discord_text"
    read = Read("discord_text", text)
    assert read.turns == [("ines", f"hi\n\n{rule}\nstill hi"), ("tomo", "ho")]
    assert read.dropped == {"sticker": 1}
    assert read.notes.order.startswith("month-first")


def test_discord_s_csv_is_read_with_line_breaks_inside_quotation_marks() -> None:
    text = (
        "AuthorID,Author,Date,Content,Attachments,Reactions\n"
        '"1","ines","2023-12-31T10:11:00.0000000+00:00","did you ""water""\n\nthe fern","",""\n'
        '"2","tomo","2023-12-31T10:12:00.0000000+00:00","twice, really","",""\n'
        '"1","ines","2023-12-31T10:13:00.0000000+00:00","","https://example.org/x.png",""\n'
    )
    assert found_by(text, "fern.csv") == ["discord_csv"]
    read = Read("discord_csv", text)
    assert read.turns == [("ines", 'did you "water"\n\nthe fern'), ("tomo", "twice, really")]
    assert read.dropped == {"media": 1}


def test_messenger_rows_that_nobody_wrote_are_told_apart_and_the_newer_export_is_read_too() -> None:
    rows: list[dict[str, Any]] = [
        {"sender_name": "Ines", "timestamp_ms": 1701424800000 - index, **fields}
        for index, fields in enumerate(
            [
                {"content": "hi", "photos": [{"uri": "a.jpg"}]},
                {"photos": [{"uri": "a.jpg"}]},
                {"sticker": {"uri": "a.png"}},
                {"content": "Reacted 😊 to your message "},
                {"content": "Ines sent an attachment."},
                {"content": "You called Tomo.", "call_duration": 7},
                {"is_unsent": True, "content": "oops"},
                {"content": "they sent a letter.", "type": "Generic"},
            ]
        )
    ]
    old, _ = events_of("messenger", json.dumps({"participants": [], "messages": rows}))
    assert said_by(old)[::-1] == [
        ("Ines", "hi", ""),
        ("Ines", "", "media"),
        ("Ines", "", "sticker"),
        ("Ines", "Reacted 😊 to your message ", "reaction"),
        ("Ines", "Ines sent an attachment.", "media"),
        ("Ines", "You called Tomo.", "call"),
        ("Ines", "oops", "deleted"),
        ("Ines", "they sent a letter.", ""),
    ]
    newer = {
        "participants": ["Ines", "Tomo"],
        "threadName": "Tomo_1",
        "messages": [
            {
                "senderName": "Ines",
                "text": "hi",
                "timestamp": 1701424800000,
                "type": "text",
                "isUnsent": False,
                "media": [],
            },
            {
                "senderName": "Tomo",
                "text": "ho",
                "timestamp": 1701424900000,
                "type": "text",
                "isUnsent": False,
                "media": [],
            },
        ],
    }
    assert found_by(json.dumps(newer)) == ["messenger"]
    assert said_by(events_of("messenger", json.dumps(newer))[0]) == [("Ines", "hi", ""), ("Tomo", "ho", "")]


def test_slack_calls_people_by_users_json_beside_the_file_and_puts_threads_in_order() -> None:
    users = [
        {"id": "U01", "name": "ines", "profile": {"display_name": "", "real_name": "Ines Alves"}},
        {"id": "U02", "name": "tomo", "real_name": "T", "profile": {"display_name": "Tomo"}},
    ]
    rows = [
        {
            "type": "message",
            "user": "U01",
            "text": "hi <@U02> see <https://example.org/|this> &amp; <#C01|plants>",
            "ts": "1701424800.1",
        },
        {"type": "message", "user": "U01", "text": "", "files": [{"name": "a.png"}], "ts": "1701424805.1"},
        {
            "type": "message",
            "user": "U02",
            "text": "ho <https://example.org>",
            "ts": "1701424801.1",
            "thread_ts": "1701424800.1",
        },
        {
            "type": "message",
            "subtype": "bot_message",
            "username": "fernbot",
            "text": "dry <@U09>",
            "ts": "1701424806.1",
        },
        {"type": "message", "subtype": "channel_topic", "user": "U01", "text": "set the topic", "ts": "1701424807.1"},
        {
            "type": "message",
            "user": "U09",
            "text": "new",
            "ts": "1701424808.1",
            "user_profile": {"display_name": "Mira"},
        },
    ]
    text = json.dumps(rows)
    assert found_by(text) == ["slack"]
    events, notes = events_of("slack", text, {"users.json": json.dumps(users)})
    assert said_by(events) == [
        ("Ines Alves", "hi @Tomo see this &amp; plants", ""),
        ("Tomo", "ho https://example.org", ""),
        ("Ines Alves", "", "media"),
        ("fernbot", "dry <@U09>", ""),
        ("", "", "system"),
        ("Mira", "new", ""),
    ]
    assert notes.problems == []


def test_slack_is_read_without_names_where_users_json_is_damaged() -> None:
    events, notes = events_of(
        "slack", '[{"type": "message", "user": "U01", "text": "hi", "ts": "1701424800"}]', {"users.json": "[{"}
    )
    assert said_by(events) == [("U01", "hi", "")]
    assert [problem.code for problem in notes.problems] == ["unnamed_id", "unnamed_id"]
    assert not notes.errors


def test_a_large_json_export_is_streamed_to_the_same_messages() -> None:
    rows = [{"type": "message", "from": "Ines", "date": "2023-12-01T10:01:00", "text": f"line {i}"} for i in range(50)]
    text = json.dumps({"name": "Tomo", "type": "personal_chat", "id": 1, "messages": rows})
    whole, _ = events_of("telegram", text)
    content = text.encode()
    large = ChatFile("result.json", "result", lambda: io.BytesIO(content), 2**31)
    assert list(FORMATS["telegram"].messages(large, Notes("result.json"))) == whole
