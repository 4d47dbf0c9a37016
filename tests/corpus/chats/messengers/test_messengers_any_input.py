"""Readers of messengers meet whatever a file may hold: they read it or refuse it, and never break."""

import contextlib
import json
from typing import Any

import messenger_cases as cases
import pytest
from counts import count
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from messenger_cases import FORMATS, Read

from menura.corpus.chats.messengers.catalogue import MESSENGERS, NEARLY
from menura.errors import MenuraError

MANY = settings(
    max_examples=count(full_count=10_000, quick_count=30),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
NAMES = [format.name for format in MESSENGERS]
JSON_NAMES = ["telegram", "discord", "messenger", "slack"]

# Pieces of all formats, so that random texts come near to files.
PIECES = [
    *["\n", "\r", "\t", " ", ": ", " - ", "[", "]", "<", ">", '"', ",", "\u200e", "\u202f", "\ufeff", "\x00", "\u2028"],
    *["12/31/23", "31.12.2023", "2023-12-31", "2023年12月31日", "99/99/9999", "0/0/0", "٣١/١٢/٢٠٢٣", "²³/¹/²"],
    *["7:00", "25:61", "10時11分", " PM", " p. m.", "下午", " klo ", "10:11:00", "[10:11] ", "Dec 31, 2023 1:11:00 PM"],
    *["Ines", "Tomo", "Ines: ", "<Tomo> ", "-!- ", "* nick has joined", "--- Log opened Mon Feb 31 10:00:00 2023"],
    *["[LINE]", "2023.12.31 Sunday", "{Attachments}", "=" * 62, "Exported 1 message(s)", "Tapbacks:", "    "],
    *["AuthorID,Author,Date,Content,Attachments,Reactions\n", "From Ines to Everyone : ", "(31 Dec, 10.11)"],
    *[
        '<div class="message default">',
        '<div class="from_name">',
        '<div class="text">',
        "</div>",
        "<br>",
        "&amp;",
        "&#",
        "<!--",
        "<a ",
    ],
]
texts = st.one_of(
    st.text(), st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=3)), max_size=40).map("".join)
)

KEYS = [
    "messages",
    "from",
    "from_id",
    "text",
    "type",
    "date",
    "date_unixtime",
    "forwarded_from",
    "media_type",
    "name",
    "chats",
    "list",
    "left_chats",
    "id",
    "action",
    "content",
    "author",
    "nickname",
    "timestamp",
    "attachments",
    "embeds",
    "isBot",
    "sender_name",
    "timestamp_ms",
    "participants",
    "is_unsent",
    "photos",
    "user",
    "ts",
    "subtype",
    "files",
    "profile",
    "display_name",
    "real_name",
    "username",
    "bot_id",
    "user_profile",
]
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(
        ["message", "service", "Default", "personal_chat", "1e999", "nan", "inf", "2023-12-01T10:00:00", "U01"]
    ),
    st.integers(min_value=10**300, max_value=10**320),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)),
    max_leaves=20,
)
documents = st.one_of(
    values,
    st.lists(values, max_size=5).map(lambda rows: {"name": "x", "type": "personal_chat", "messages": rows}),
    st.lists(values, max_size=5).map(lambda rows: {"chats": {"list": [{"name": "x", "messages": rows}]}}),
    st.lists(st.dictionaries(st.sampled_from(KEYS), values, max_size=8), max_size=5),
)
REAL = {
    "whatsapp": [cases.WA_ANDROID_DASH, cases.WA_ES_PM, cases.WA_IOS_24H],
    "stamped": [cases.STAMP_CJK, cases.WA_IOS_24H],
    "pasted": [cases.STAMP_AFTER_NAME],
    "telegram": [cases.TELEGRAM_RESULT],
    "discord": [cases.DISCORD_EXPORT_JSON],
    "discord_text": [cases.DISCORD_EXPORT],
    "messenger": [cases.FACEBOOK_MESSAGE_1],
    "slack": [cases.SLACK_DAY],
    "imessage": [cases.IMESSAGE_EXPORTER],
}


def read_or_refused(name: str, text: str) -> None:
    """Read a text with a format, and look at it as all formats do; errors that are Menura's are right."""
    for looked in (*(format.looks_like for format in MESSENGERS), *NEARLY):
        looked(text[:65536], "chat.txt")
    with contextlib.suppress(MenuraError):
        Read(name, text)


@pytest.mark.parametrize("name", NAMES)
@MANY
@given(text=texts)
def test_any_text_is_read_or_refused(name: str, text: str) -> None:
    read_or_refused(name, text)


@pytest.mark.parametrize("name", JSON_NAMES)
@MANY
@given(value=documents)
def test_any_json_is_read_or_refused(name: str, value: Any) -> None:
    read_or_refused(name, json.dumps(value))


@pytest.mark.parametrize("name", sorted(REAL))
@MANY
@given(data=st.data())
def test_a_real_file_with_anything_in_it_changed_is_read_or_refused(name: str, data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(REAL[name]))
    for _ in range(data.draw(st.integers(1, 5))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.sampled_from([0, 1, 2, 5, 40])))
        text = text[:start] + data.draw(st.one_of(st.sampled_from(PIECES), st.text(max_size=4))) + text[end:]
    read_or_refused(name, text)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "piece",
    [
        "[",
        "<!--",
        "<a ",
        "12/1/23, ",
        " ",
        ":",
        "Ines ",
        '"',
        "1",
        "\u200e",
        "(",
        "&",
        "{Attachments}\n",
        "[12/1/23, 7:00 PM] ",
    ],
)
def test_half_a_mebibyte_of_one_piece_is_soon_read_or_refused(name: str, piece: str) -> None:
    # A pattern whose time grows with the square of a line would not end here.
    text = piece * (512 * 1024 // len(piece))
    FORMATS[name].looks_like(text[:65536], "chat.txt")
    with contextlib.suppress(MenuraError):
        Read(name, text)


@pytest.mark.parametrize("name", JSON_NAMES)
def test_json_that_is_cut_off_is_refused(name: str) -> None:
    for text in REAL[name]:
        with pytest.raises(MenuraError):
            Read(name, text[: len(text) * 2 // 3])


def test_every_format_has_its_reader() -> None:
    assert set(FORMATS) == set(NAMES)
