"""Files of messengers with made-up words, and what reading them gives."""

from typing import Any

from set_readings import ReadWhole

from menura.corpus.chats.chat_file import ChatFile
from menura.corpus.chats.message import Message, Notes
from menura.corpus.chats.messengers.catalogue import MESSENGERS
from menura.corpus.chats.reading import ChatReading, ReadOptions

FORMATS = {format.name: format for format in MESSENGERS}


class Read(ReadWhole):
    """A file read by the format that is named."""

    def __init__(self, format: str, text: str, name: str = "chat.txt", options: ReadOptions | None = None) -> None:
        super().__init__(ChatReading(ChatFile.of_text(name, text), FORMATS[format], options or ReadOptions()))


def events_of(
    format: str, text: str, beside: dict[str, str] | None = None, name: str = "chat.txt"
) -> tuple[list[Any], Notes]:
    """Return what a reader yields before anything is cleaned, and its notes."""
    plain = ChatFile.of_text(name, text)
    others = {key: ChatFile.of_text(key, value) for key, value in (beside or {}).items()}
    file = ChatFile(plain.name, plain.stem, plain.opener, plain.size, others.get)
    notes = Notes(name)
    return list(FORMATS[format].messages(file, notes)), notes


def said_by(events: list[Any]) -> list[tuple[str, str, str]]:
    return [(event.speaker, event.text, event.dropped) for event in events if isinstance(event, Message)]


def found_by(text: str, name: str = "chat.txt") -> list[str]:
    """Return the names of the formats that take a text for theirs."""
    head = ChatFile.of_text(name, text).head()
    return [format.name for format in MESSENGERS if format.looks_like(head, name)]


WA_ANDROID_DASH = """\
12/1/23, 7:00\u202fPM - Messages and calls are end-to-end encrypted. Tap to learn more.
12/1/23, 7:00\u202fPM - Ines: did you water the fern
12/1/23, 7:01\u202fPM - Tomo: yes twice, it sulks anyway
12/1/23, 7:02\u202fPM - Ines: give it the window spot
12/1/23, 7:03\u202fPM - Tomo: the cat owns the window spot
12/1/23, 7:04\u202fPM - Ines: negotiate with the cat
12/1/23, 7:05\u202fPM - Tomo: she does not negotiate
12/2/23, 7:00\u202fPM - Ines: then buy a second window
12/2/23, 7:01\u202fPM - Tomo: ha, very funny
12/2/23, 7:02\u202fPM - Ines: bring tea at four
12/2/23, 7:03\u202fPM - Tomo: will do, green or black
12/2/23, 7:04\u202fPM - Ines: green please
12/2/23, 7:05\u202fPM - Tomo: noted
12/5/23, 7:00\u202fPM - Ines: did you water the fern
12/5/23, 7:01\u202fPM - Tomo: yes twice, it sulks anyway
12/5/23, 7:02\u202fPM - Ines: give it the window spot
12/5/23, 7:03\u202fPM - Tomo: the cat owns the window spot
12/5/23, 7:04\u202fPM - Ines: negotiate with the cat
12/5/23, 7:05\u202fPM - Tomo: she does not negotiate
12/9/23, 7:00\u202fPM - Ines: then buy a second window
12/9/23, 7:01\u202fPM - Tomo: ha, very funny
12/9/23, 7:02\u202fPM - Ines: bring tea at four
12/9/23, 7:03\u202fPM - Tomo: will do, green or black
12/9/23, 7:04\u202fPM - Ines: green please
12/9/23, 7:05\u202fPM - Tomo: noted
12/9/23, 7:30\u202fPM - Ines: <Media omitted>
12/9/23, 7:31\u202fPM - Tomo: This message was deleted
12/9/23, 7:32\u202fPM - Ines changed the group description
"""
WA_ES_PM = """\
1/6/2017 8:00\xa0p.\xa0m. - Ines: did you water the fern
1/6/2017 8:01\xa0p.\xa0m. - Tomo: yes twice, it sulks anyway
1/6/2017 8:02\xa0p.\xa0m. - Ines: give it the window spot
1/6/2017 8:03\xa0p.\xa0m. - Tomo: the cat owns the window spot
1/6/2017 8:04\xa0p.\xa0m. - Ines: negotiate with the cat
1/6/2017 8:05\xa0p.\xa0m. - Tomo: she does not negotiate
2/6/2017 8:00\xa0p.\xa0m. - Ines: then buy a second window
2/6/2017 8:01\xa0p.\xa0m. - Tomo: ha, very funny
2/6/2017 8:02\xa0p.\xa0m. - Ines: bring tea at four
2/6/2017 8:03\xa0p.\xa0m. - Tomo: will do, green or black
2/6/2017 8:04\xa0p.\xa0m. - Ines: green please
2/6/2017 8:05\xa0p.\xa0m. - Tomo: noted
5/6/2017 8:00\xa0p.\xa0m. - Ines: did you water the fern
5/6/2017 8:01\xa0p.\xa0m. - Tomo: yes twice, it sulks anyway
5/6/2017 8:02\xa0p.\xa0m. - Ines: give it the window spot
5/6/2017 8:03\xa0p.\xa0m. - Tomo: the cat owns the window spot
5/6/2017 8:04\xa0p.\xa0m. - Ines: negotiate with the cat
5/6/2017 8:05\xa0p.\xa0m. - Tomo: she does not negotiate
9/6/2017 8:00\xa0p.\xa0m. - Ines: then buy a second window
9/6/2017 8:01\xa0p.\xa0m. - Tomo: ha, very funny
9/6/2017 8:02\xa0p.\xa0m. - Ines: bring tea at four
9/6/2017 8:03\xa0p.\xa0m. - Tomo: will do, green or black
9/6/2017 8:04\xa0p.\xa0m. - Ines: green please
9/6/2017 8:05\xa0p.\xa0m. - Tomo: noted
"""
WA_IOS_24H = """\
[01/12/2023, 09:00:00] Ines: \u200eMessages and calls are end-to-end encrypted. No one outside of this \
chat can read them.
[01/12/2023, 10:00:12] Ines: did you water the fern
[01/12/2023, 10:01:12] Tomo: yes twice, it sulks anyway
[01/12/2023, 10:02:12] Ines: give it the window spot
[01/12/2023, 10:03:12] Tomo: the cat owns the window spot
[01/12/2023, 10:04:12] Ines: negotiate with the cat
[01/12/2023, 10:05:12] Tomo: she does not negotiate
[02/12/2023, 10:00:12] Ines: then buy a second window
[02/12/2023, 10:01:12] Tomo: ha, very funny
[02/12/2023, 10:02:12] Ines: bring tea at four
[02/12/2023, 10:03:12] Tomo: will do, green or black
[02/12/2023, 10:04:12] Ines: green please
[02/12/2023, 10:05:12] Tomo: noted
[05/12/2023, 10:00:12] Ines: did you water the fern
[05/12/2023, 10:01:12] Tomo: yes twice, it sulks anyway
[05/12/2023, 10:02:12] Ines: give it the window spot
[05/12/2023, 10:03:12] Tomo: the cat owns the window spot
[05/12/2023, 10:04:12] Ines: negotiate with the cat
[05/12/2023, 10:05:12] Tomo: she does not negotiate
[09/12/2023, 10:00:12] Ines: then buy a second window
[09/12/2023, 10:01:12] Tomo: ha, very funny
[09/12/2023, 10:02:12] Ines: bring tea at four
[09/12/2023, 10:03:12] Tomo: will do, green or black
[09/12/2023, 10:04:12] Ines: green please
[09/12/2023, 10:05:12] Tomo: noted
\u200e[09/12/2023, 10:30:00] Ines: \u200eimage omitted
[09/12/2023, 10:31:00] Tomo: first line
second line of the same message
third: with a colon
[09/12/2023, 10:32:00] Ines: fixed now \u200e<This message was edited>
"""
STAMP_CJK = """\
2023年12月31日 10時11分 Ines: did you water the fern
2023年12月31日 10時12分 Tomo: yes twice
2023年12月31日 10時13分 Ines: good
2023年12月31日 10時14分 Tomo: it sulks
2023年12月31日 10時15分 Ines: tea
2023年12月31日 10時16分 Tomo: green
"""
STAMP_AFTER_NAME = """\
Ines (31 Dec, 10.11): did you water the fern
Tomo (31 Dec, 10.12): yes twice
Ines (31 Dec, 10.13): good
Tomo (31 Dec, 10.14): it sulks
Ines (31 Dec, 10.15): tea
Tomo (31 Dec, 10.16): green
"""
DISCORD_EXPORT = """\
==============================================================
Guild: Plants
Channel: general
==============================================================

[01-Dec-23 10:01 AM] ines#1234
did you water the fern

[01-Dec-23 10:02 AM] tomo#5678
yes twice
really: twice

[01-Dec-23 10:03 AM] ines#1234
{Attachments}
https://cdn.example/x.png
"""
IMESSAGE_EXPORTER = """\
Dec 01, 2023 10:01:00 AM (Read by them after 1 minute)
Me
did you water the fern

Dec 01, 2023 10:02:00 AM
Tomo
yes twice

Dec 01, 2023 10:03:00 AM
Me
/Users/ines/Library/Messages/x.heic
"""
TELEGRAM_RESULT = """\
{
 "name": "Tomo",
 "type": "personal_chat",
 "id": 1,
 "messages": [
  {
   "id": 1,
   "type": "service",
   "date": "2023-12-01T10:00:00",
   "actor": "Ines",
   "action": "phone_call",
   "text": ""
  },
  {
   "id": 2,
   "type": "message",
   "date": "2023-12-01T10:01:00",
   "from": "Ines",
   "from_id": "user1",
   "text": "did you water the fern"
  },
  {
   "id": 3,
   "type": "message",
   "date": "2023-12-01T10:02:00",
   "from": "Tomo",
   "from_id": "user2",
   "text": [
    "yes ",
    {
     "type": "bold",
     "text": "twice"
    },
    ", see ",
    {
     "type": "link",
     "text": "https://example.org"
    }
   ]
  },
  {
   "id": 4,
   "type": "message",
   "date": "2023-12-01T10:03:00",
   "from": "Ines",
   "from_id": "user1",
   "photo": "(File not included)",
   "text": ""
  },
  {
   "id": 5,
   "type": "message",
   "date": "2023-12-03T10:03:00",
   "from": "Ines",
   "from_id": "user1",
   "forwarded_from": "News",
   "text": "big news"
  },
  {
   "id": 6,
   "type": "message",
   "date": "2023-12-03T10:04:00",
   "from": null,
   "from_id": "user3",
   "text": "deleted account says hi"
  }
 ]
}\
"""
DISCORD_EXPORT_JSON = """\
{
 "guild": {
  "id": "0",
  "name": "DM"
 },
 "channel": {
  "id": "1",
  "type": "DirectTextChat",
  "name": "tomo"
 },
 "messages": [
  {
   "id": "1",
   "type": "Default",
   "timestamp": "2023-12-01T10:01:00+00:00",
   "content": "did you water the fern",
   "author": {
    "id": "11",
    "name": "ines",
    "nickname": "Ines",
    "isBot": false
   },
   "attachments": []
  },
  {
   "id": "2",
   "type": "Default",
   "timestamp": "2023-12-01T10:02:00+00:00",
   "content": "yes twice",
   "author": {
    "id": "12",
    "name": "tomo",
    "nickname": "Tomo",
    "isBot": false
   },
   "attachments": []
  }
 ],
 "messageCount": 2
}\
"""
FACEBOOK_MESSAGE_1 = """\
{
  "participants": [
    {
      "name": "In\\u00c3\\u00aas"
    },
    {
      "name": "Tomo"
    }
  ],
  "messages": [
    {
      "sender_name": "In\\u00c3\\u00aas",
      "timestamp_ms": 1701424860000,
      "content": "caf\\u00c3\\u00a9 \\u00f0\\u009f\\u0098\\u008a"
    },
    {
      "sender_name": "Tomo",
      "timestamp_ms": 1701424800000,
      "content": "hello there"
    }
  ],
  "title": "Tomo",
  "thread_path": "inbox/tomo_1"
}\
"""
SLACK_DAY = """\
[
 {
  "type": "message",
  "user": "U01",
  "text": "did you water the <@U02> fern",
  "ts": "1701424800.000100"
 },
 {
  "type": "message",
  "subtype": "channel_join",
  "user": "U02",
  "text": "<@U02> has joined",
  "ts": "1701424801.0"
 },
 {
  "type": "message",
  "user": "U02",
  "text": "yes twice",
  "ts": "1701424802.0"
 }
]\
"""
