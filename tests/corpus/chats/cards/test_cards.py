"""Character cards: what is read out of JSON, PNG and CHARX, what is refused, and what is written unchanged."""

import base64
import io
import json
import re
import struct
import zipfile
import zlib
from typing import Any

import pytest
import tavern_card
from counts import count
from hypothesis import given, settings
from hypothesis import strategies as st

from menura.corpus.chats.cards.card import Card, looks_like_card, read_card
from menura.corpus.chats.cards.containers import plain_png, png_chunks
from menura.corpus.chats.cards.writing import V2_NOTICE, as_v3, card_charx, card_json, card_png, new_card
from menura.errors import DataError, MenuraError, UnsafeError

TEXTS = {"description": "a gardener", "personality": "dry", "scenario": "greenhouse", "first_mes": "Hello."}
TALK = "<START>\n{{user}}: is the fern well?\n{{char}}: It sulks.\n<START>\n{{user}}: tea?\n{{char}}: Green.\nAlways."
V1 = {"name": "Tomo", **TEXTS, "mes_example": TALK}
V2: dict[str, Any] = {
    "spec": "chara_card_v2",
    "spec_version": "2.0",
    "data": {**V1, "creator_notes": "", "alternate_greetings": ["Oh, {{user}}."], "extensions": {"a": 1.0, "b": 1}},
}
V3: dict[str, Any] = {
    "spec": "chara_card_v3",
    "spec_version": "3.0",
    "data": {**V2["data"], "nickname": "Tom", "group_only_greetings": [], "modification_date": 0},
}


def read(card: object, name: str = "card.json") -> Card:
    return read_card(json.dumps(card).encode(), name)


def told(card: Card) -> tuple[object, ...]:
    return card.name, card.character, card.facts, card.greetings, card.examples


def with_data(base: dict[str, Any] = V2, **fields: object) -> dict[str, Any]:
    return {**base, "data": {**base["data"], **fields}}


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(*chunks: bytes, width: int = 1, height: int = 1) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"\0\0"))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + pixels + chunk(b"IEND", b"")


def packed(card: object) -> bytes:
    return base64.b64encode(json.dumps(card).encode())


def text_chunk(keyword: str, text: bytes) -> bytes:
    return chunk(b"tEXt", keyword.encode() + b"\0" + text)


def zipped(*members: tuple[zipfile.ZipInfo | str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w", compression) as archive:
        for member, content in members:
            archive.writestr(member, content)
    return package.getvalue()


def refused(content: bytes, name: str = "card") -> tuple[type[MenuraError], str, str]:
    with pytest.raises(MenuraError) as caught:
        read_card(content, name)
    return type(caught.value), caught.value.problems[0].code, str(caught.value)


def test_a_v2_card_gives_facts_greetings_and_examples_with_names() -> None:
    card = read(with_data(alternate_greetings=[], description="a gardener\n\n likes ferns "))
    assert card.name == card.character == "Tomo"
    assert card.facts == ("a gardener", "likes ferns", "dry", "greenhouse")
    assert card.greetings == ("Hello.",)
    assert card.examples == (
        (("user", "is the fern well?"), ("Tomo", "It sulks.")),
        (("user", "tea?"), ("Tomo", "Green.\nAlways.")),
    )
    assert (card.spec, card.replaced, card.warnings) == ("v2", 4, ())


@pytest.mark.parametrize(("card", "spec"), [(V1, "v1"), (V2, "v2"), (V3, "v3")])
def test_each_version_is_told_apart_and_its_object_is_kept_as_it_was(card: dict[str, Any], spec: str) -> None:
    ours = read(card)
    assert ours.spec == spec
    assert json.dumps(ours.raw) == json.dumps(card)


def test_all_ways_to_write_a_placeholder_are_replaced_and_counted() -> None:
    card = read(with_data(scenario="{{CHAR}} <bot> <Char> meets {{ user }} <USER>", mes_example=""))
    assert card.facts[-1] == "Tomo Tomo Tomo meets user user"
    assert card.greetings == ("Hello.", "Oh, user.")
    assert card.replaced == 6


def test_a_nickname_is_what_the_examples_call_the_character_in_v3_only() -> None:
    talk = "{{char}}: one\nTomo: two\nTom: three"
    assert read(with_data(V3, mes_example=talk)).examples == ((("Tom", "one"), ("Tom", "two"), ("Tom", "three")),)
    assert read(with_data(V3, mes_example=talk)).name == "Tomo"
    assert read(with_data(V2, nickname="Tom")).character == "Tomo"


def test_blank_blocks_are_dropped_and_lines_before_any_speaker_are_counted() -> None:
    talk = "a wet day\n<start>\n\n<START>\n<BOT>：hi\n\n  there\n<START>\n{{char}}:\n"
    card = read(with_data(mes_example=talk))
    assert card.examples == ((("Tomo", "hi\n\n  there"),),)
    assert [warning.code for warning in card.warnings] == ["card_examples"]
    assert "left out: 1" in card.warnings[0].message


def test_a_longer_name_wins_over_a_shorter_one_that_begins_alike() -> None:
    card = read(with_data(V3, name="Tom: II", nickname="Tom", mes_example="Tom: II: hi"))
    assert card.examples == ((("Tom", "hi"),),)


def test_links_to_other_places_are_kept_counted_and_said_once() -> None:
    assets = [{"type": "icon", "uri": "https://a.example/x.png", "name": "main", "ext": "png"}]
    first = "![me](http://a.example/1.png) <img src='https://a.example/2.png'> see https://a.example"
    card = read({**with_data(V3, assets=assets, first_mes=first), "avatar": "https://a.example/3.png"})
    assert card.greetings[0] == first
    assert [(warning.code, warning.level) for warning in card.warnings] == [("remote_links", "warn")]
    assert card.warnings[0].message.endswith(": 4")


def test_a_newer_v3_is_read_with_a_warning() -> None:
    assert [warning.code for warning in read({**V3, "spec_version": "3.1"}).warnings] == ["card_version"]
    assert read({**V3, "spec_version": "new"}).warnings == ()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_card_with_a_byte_order_mark_is_read(encoding: str) -> None:
    assert read_card(json.dumps(V2).encode(encoding), "card.json").name == "Tomo"


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (b"", "card_missing", "no PNG, CHARX or JSON"),
        (b"\xff\xd8\xff\xe0", "card_missing", "a JPEG"),
        (b"[]", "card_missing", "no object"),
        (b'{"name": "menura", "description": "a bird"}', "card_missing", "JSON has no character data"),
        (b'{"spec": "chara_card_v9"}', "card_version", "spec 'chara_card_v9' unknown; v1-v3 supported"),
        (b'{"spec": 2}', "card_version", "spec int unknown"),
        (b'{"spec": "chara_card_v2", "data": []}', "card_syntax", "data: an object is required, is a list"),
        (b'{"name": "a",\n x}', "card_syntax", "card:2:2: not valid JSON"),
        (b'{"name": "a", "first_mes": NaN}', "card_syntax", "first_mes: NaN is not allowed"),
        (b'{"name": "a", "name": "b", "first_mes": ""}', "card_syntax", "the key stands twice"),
        (b'{"a": ' + b"[" * 50_000, "card_syntax", "nested deeper than 32 levels"),
        (b'{"name": "\\ud800", "first_mes": ""}', "card_syntax", "half of a surrogate pair"),
        (b'{"name": "\xff"}', "card_syntax", "byte 10: not UTF-8"),
        (b'{"name": "a", "first_mes": 1, "scenario": [], "alternate_greetings": [1]}', "card_syntax", "must be text"),
        (b'{"name": "a\\u001bb", "first_mes": ""}', "bad_name", "control character at position 2"),
        (b'{"name": " ", "first_mes": ""}', "bad_name", "name: is empty"),
        (b'{"first_mes": "", "name": "%s"}' % (b"a" * 129), "bad_name", "129 characters, limit 128"),
    ],
)
def test_what_is_no_good_card_is_refused_with_its_place(content: bytes, code: str, message: str) -> None:
    kind, found, text = refused(content)
    assert (kind, found) == (DataError, code)
    assert message in text
    assert "\x1b" not in text


def test_every_field_of_a_wrong_type_is_named_at_once() -> None:
    text = refused(json.dumps(with_data(name=1, first_mes=[], alternate_greetings=[2])).encode())[2]
    assert [line.split(": ")[2] for line in text.splitlines()] == ["name", "first_mes", "alternate_greetings[0]"]


def test_a_name_of_128_characters_is_read() -> None:
    assert len(read(with_data(name="é" * 128)).name) == 128


def test_json_beyond_a_mebibyte_or_ten_thousand_keys_is_refused() -> None:
    long = json.dumps(with_data(description="a" * 2**20)).encode()
    many = json.dumps(with_data(extensions={str(number): 0 for number in range(10_000)})).encode()
    assert refused(long)[:2] == (UnsafeError, "card_bomb")
    assert refused(many)[:2] == (UnsafeError, "card_bomb")


@pytest.mark.parametrize("keyword", ["ccv3", "chara", "Chara"])
@pytest.mark.parametrize("kind", ["tEXt", "zTXt", "iTXt", "packed iTXt"])
def test_a_card_is_read_from_each_kind_of_text_chunk(keyword: str, kind: str) -> None:
    bodies = {
        "tEXt": packed(V2),
        "zTXt": b"\0" + zlib.compress(packed(V2)),
        "iTXt": b"\0\0en\0word\0" + packed(V2),
        "packed iTXt": b"\1\0\0\0" + zlib.compress(packed(V2)),
    }
    content = png(chunk(kind[-4:].encode(), keyword.encode() + b"\0" + bodies[kind]))
    assert read_card(content, "card.png").raw == V2


def test_ccv3_wins_over_chara_and_only_a_difference_is_said() -> None:
    unlike = with_data(description="a baker")
    both = read_card(png(text_chunk("chara", packed(unlike)), text_chunk("ccv3", packed(V2))), "card.png")
    assert both.facts[0] == "a gardener"
    assert [warning.code for warning in both.warnings] == ["card_chunks"]
    alike = with_data(creator_notes=V2_NOTICE)
    assert read_card(png(text_chunk("chara", packed(alike)), text_chunk("ccv3", packed(V2))), "c").warnings == ()
    broken = read_card(png(text_chunk("chara", b"?"), text_chunk("ccv3", packed(V2))), "card.png")
    assert [warning.code for warning in broken.warnings] == ["card_chunks"]


def test_a_png_without_a_card_is_refused() -> None:
    kind, code, text = refused(plain_png(), "a.png")
    assert (kind, code) == (DataError, "card_missing")
    assert 'a.png: PNG has no character data (no "chara" or "ccv3" text chunk)' in text


def test_a_damaged_png_is_refused() -> None:
    good = png(text_chunk("chara", packed(V2)))
    at = good.index(b"tEXt") + 20
    changed = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
    assert "wrong checksum" in refused(changed)[2]
    for length in range(8, len(good)):
        assert refused(good[:length])[1] == "card_missing"
    huge = good.replace(struct.pack(">I4s", 13, b"IHDR"), struct.pack(">I4s", 2**31, b"IHDR"))
    assert "cut off" in refused(huge)[2]
    assert "IHDR" in refused(good[:8] + good[33:])[2]
    assert "0 pixels" in refused(png(text_chunk("chara", packed(V2)), width=0))[2]


def test_what_a_png_holds_is_refused_with_its_place() -> None:
    assert "a.png:chara: not base64 (byte 2)" in refused(png(text_chunk("chara", b"ab!=")), "a.png")[2]
    assert "not base64" in refused(png(text_chunk("chara", b"abcde")))[2]
    assert "a.png:ccv3:1:2" in refused(png(text_chunk("ccv3", base64.b64encode(b"{x"))), "a.png")[2]
    assert refused(png(chunk(b"zTXt", b"chara\0\0" + zlib.compress(packed(V2))[:-1])))[1] == "card_syntax"
    assert refused(png(chunk(b"zTXt", b"chara\0\0nonsense")))[1] == "card_syntax"


@pytest.mark.parametrize(
    "content",
    [
        png(chunk(b"zTXt", b"chara\0\0" + zlib.compress(b"A" * 2**26))),
        png(chunk(b"iTXt", b"ccv3\0\1\0\0\0" + zlib.compress(b"A" * (2**20 + 1)))),
        png(chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"A" * (2**20 + 1))), text_chunk("chara", packed(V2))),
        png(text_chunk("chara", b"A" * (2**20 + 1))),
        png(text_chunk("chara", packed(V2)), *[text_chunk("a", b"")] * 256),
        png(text_chunk("chara", packed(V2)), *[chunk(b"IDAT", b"")] * 100_000),
        png(text_chunk("chara", packed(V2)), width=4097),
        png(text_chunk("chara", packed(V2)), height=2**31),
        png(text_chunk("chara", packed(V2)), chunk(b"IDAT", bytes(2**24))),
    ],
    ids=["zTXt", "iTXt", "other text", "tEXt", "text chunks", "chunks", "width", "height", "file"],
)
def test_a_png_beyond_a_limit_is_refused_as_unsafe(content: bytes) -> None:
    assert refused(content)[:2] == (UnsafeError, "card_bomb")


def test_a_png_at_the_limits_is_read() -> None:
    content = png(text_chunk("chara", packed(V2)), *[text_chunk("a", b"")] * 255, width=4096, height=4096)
    assert read_card(content, "card.png").name == "Tomo"


def test_a_charx_is_read() -> None:
    content = zipped(("card.json", json.dumps(V3).encode()), ("assets/icon/images/a.png", plain_png()))
    assert read_card(content, "card.charx").raw == V3


def test_a_zip_without_a_card_is_refused() -> None:
    assert refused(zipped(("a/card.json", b"{}")))[:2] == (DataError, "card_missing")
    assert refused(zipped())[:2] == (DataError, "card_missing")


@pytest.mark.parametrize("path", ["../a", "a/../../b", "/a", "a\\..\\b", "\\a", "C:\\a", "c:a"])
def test_a_zip_with_a_path_out_of_it_is_refused_as_unsafe(path: str) -> None:
    content = zipped(("card.json", json.dumps(V3).encode()), (zipfile.ZipInfo(path), b""))
    assert refused(content)[:2] == (UnsafeError, "unsafe_format")


def test_a_zip_with_a_link_is_refused_as_unsafe() -> None:
    link = zipfile.ZipInfo("a")
    link.external_attr = 0o120777 << 16
    content = zipped(("card.json", json.dumps(V3).encode()), (link, b"/etc/passwd"))
    assert refused(content)[:2] == (UnsafeError, "unsafe_format")


def test_a_zip_that_unpacks_to_too_much_is_refused_as_unsafe() -> None:
    bomb = zipped(("card.json", b" " * 2**26))
    assert refused(bomb)[:2] == (UnsafeError, "card_bomb")
    # A size that the zip tells wrongly does not help it.
    size = struct.pack("<I", 2**26)
    assert refused(bomb.replace(size, struct.pack("<I", 100)))[1] in ("card_bomb", "card_syntax")
    members = zipped(*[(str(number), b"") for number in range(5000)])
    assert refused(members)[:2] == (UnsafeError, "card_bomb")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_damaged_encrypted_or_doubtful_zip_is_refused() -> None:
    good = zipped(("card.json", json.dumps(V3).encode()))
    encrypted = bytearray(good)
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        encrypted[good.index(header) + flags] |= 1
    assert "encrypted" in refused(bytes(encrypted))[2]
    assert refused(good[:-1])[1] == "card_syntax"
    assert refused(good.replace(b"PK\x01\x02", b"PK\x01\x09"))[1] == "card_syntax"
    assert "twice" in refused(zipped(("card.json", b"{}"), ("card.json", b"{}")))[2]
    lzma = zipped(("card.json", json.dumps(V3).encode()), compression=zipfile.ZIP_LZMA)
    assert refused(lzma)[1] == "card_syntax"


def test_a_cards_start_is_known_by_its_spec_its_keys_or_its_first_member() -> None:
    assert looks_like_card(json.dumps(V2))
    assert looks_like_card("\ufeff \n" + json.dumps(V3, indent=1)[:60])
    assert looks_like_card(json.dumps(V1).encode("utf-16"))
    assert looks_like_card(card_charx(V3, {})[:64])
    assert looks_like_card(card_png(V2)) == ""
    assert looks_like_card('{"name": "menura", "description": "a bird"}') == ""
    assert looks_like_card("text that says " + json.dumps(V2)) == ""
    assert looks_like_card(b"PK\x03\x04") == ""


# Writing


@pytest.mark.parametrize("card", [V1, V2, V3])
def test_a_card_is_written_as_json_as_it_is(card: dict[str, Any]) -> None:
    odd = {**card, "unknown": [1.0, 1, None, "é\u2028 ★"], "z": {}, "a": {"1": 2.50}}
    again = read_card(card_json(odd), "card.json").raw
    assert json.dumps(again, ensure_ascii=False) == json.dumps(odd, ensure_ascii=False)
    assert "★".encode() in card_json(odd)


def test_a_card_that_only_indents_make_too_large_is_written_without_them() -> None:
    card = with_data(extensions={"a": [0] * 150_000})
    assert read_card(card_json(card), "card.json").raw == card


@pytest.mark.parametrize("wrong", [float("nan"), "\ud800"])
def test_what_could_not_be_read_again_is_not_written(wrong: object) -> None:
    for write in (card_json, card_png, lambda card: card_charx(card, {})):
        with pytest.raises(DataError):
            write(with_data(extensions={"a": wrong}))


def test_as_v3_keeps_every_key_of_v2_in_its_place_and_adds_what_is_required() -> None:
    book = {"entries": [{"keys": ["a"], "content": "b", "use_regex": True}, {"keys": [], "content": ""}], "x": 1.0}
    card = read({"avatar": "none", **with_data(character_book=book, own="kept")})
    newest = as_v3(card)
    assert list(newest) == ["avatar", "spec", "spec_version", "data"]
    assert (newest["spec"], newest["spec_version"]) == ("chara_card_v3", "3.0")
    old = card.raw["data"]
    assert list(newest["data"])[: len(old)] == list(old)
    assert {key: newest["data"][key] for key in old if key != "character_book"} == {
        key: value for key, value in old.items() if key != "character_book"
    }
    assert [entry["use_regex"] for entry in newest["data"]["character_book"]["entries"]] == [True, False]
    assert newest["data"]["group_only_greetings"] == []
    assert "assets" not in newest["data"]
    assert told(read(newest)) == told(card)
    newest["data"]["extensions"]["a"] = 2
    assert card.raw["data"]["extensions"]["a"] == 1.0


def test_as_v3_holds_the_whole_of_a_v1_card_as_its_data() -> None:
    card = read({**V1, "talkativeness": "0.5", "data": 1})
    newest = as_v3(card)
    assert newest["data"]["talkativeness"] == "0.5"
    assert newest["data"]["data"] == 1
    assert told(read(newest)) == told(card)


def test_as_v3_leaves_a_v3_card_as_it_is() -> None:
    whole = as_v3(read(V3))
    assert whole["data"] | V3["data"] == whole["data"]
    newer = with_data({**whole, "spec_version": "3.1"}, character_book={"entries": [{"keys": []}]})
    assert json.dumps(as_v3(read(newer))) == json.dumps(newer)


def test_a_png_gets_the_card_in_both_versions_before_its_pixels_and_keeps_its_other_chunks() -> None:
    other = [text_chunk("Comment", b"mine"), chunk(b"pHYs", bytes(9))]
    image = png(text_chunk("chara", b"old"), other[0], chunk(b"zTXt", b"ccv3\0\0old"), other[1]) + b"after the end"
    chunks = png_chunks(card_png(V3, image), "card.png")
    assert [each.kind for each in chunks] == [b"IHDR", b"tEXt", b"pHYs", b"tEXt", b"tEXt", b"IDAT", b"IEND"]
    assert [each.whole for each in chunks[1:3]] == other
    newer, older = (json.loads(base64.b64decode(each.body.partition(b"\0")[2])) for each in chunks[3:5])
    assert [each.body.partition(b"\0")[0] for each in chunks[3:5]] == [b"ccv3", b"chara"]
    assert newer["data"] | V3["data"] == newer["data"]
    assert (older["spec"], older["spec_version"]) == ("chara_card_v2", "2.0")
    assert older["data"] == newer["data"] | {"creator_notes": V2_NOTICE}
    assert read_card(card_png(V3, image), "card.png").warnings == ()


def test_a_v2_card_in_a_png_has_no_notice_that_it_is_v3() -> None:
    assert V2_NOTICE not in str(tavern_card.parse_png_card(card_png(V2)))
    older = png_chunks(card_png(V2), "card.png")[2].body.partition(b"\0")[2]
    assert json.loads(base64.b64decode(older))["data"]["creator_notes"] == ""


def test_a_picture_that_is_none_gets_no_card() -> None:
    with pytest.raises(DataError, match="not a PNG"):
        card_png(V2, b"GIF89a")


def test_a_charx_begins_with_its_card_and_names_its_files_as_assets() -> None:
    files = {
        "assets/icon/images/b.png": b"b",
        "assets/icon/images/a.png": b"a",
        "assets/x_adapter/ai/adapter_model.safetensors": b"w",
        "menura.json": b"{}",
    }
    content = card_charx(V3, files)
    assert content == card_charx(V3, dict(reversed(files.items())))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == ["card.json", *sorted(files)]
        assert all(archive.read(path) == body for path, body in files.items())
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
    assert read_card(content, "card.charx").raw["data"]["assets"] == [
        {"type": "icon", "uri": "embeded://assets/icon/images/a.png", "name": "main", "ext": "png"},
        {"type": "icon", "uri": "embeded://assets/icon/images/b.png", "name": "b", "ext": "png"},
        {
            "type": "x_adapter",
            "uri": "embeded://assets/x_adapter/ai/adapter_model.safetensors",
            "name": "adapter_model",
            "ext": "safetensors",
        },
    ]


def test_a_charx_without_an_icon_names_the_default_one() -> None:
    assets = read_card(card_charx(V3, {"assets/x_adapter/ai/a": b""}), "c").raw["data"]["assets"]
    assert [(asset["uri"], asset["name"], asset["ext"]) for asset in assets] == [
        ("ccdefault:", "main", "png"),
        ("embeded://assets/x_adapter/ai/a", "a", "unknown"),
    ]
    assert "assets" not in read_card(card_charx(V3, {"menura.json": b"{}"}), "c").raw["data"]


def test_a_charx_keeps_the_assets_that_its_card_names() -> None:
    named = {"type": "icon", "uri": "embeded://assets/icon/images/a.png", "name": "main", "ext": "png"}
    files = {"assets/icon/images/a.png": b"a", "assets/icon/images/main.png": b"b"}
    assets = read_card(card_charx(with_data(V3, assets=[named]), files), "c").raw["data"]["assets"]
    assert assets[0] == named
    assert [asset["name"] for asset in assets] == ["main", "main.png"]


@pytest.mark.parametrize(("path", "kind"), [("../a", UnsafeError), ("/a", UnsafeError), ("card.json", DataError)])
def test_a_charx_takes_no_path_out_of_it_and_no_second_card(path: str, kind: type[MenuraError]) -> None:
    with pytest.raises(kind):
        card_charx(V3, {path: b""})


def test_a_new_card_reads_as_what_it_was_made_of() -> None:
    examples = ((("Ann", "tea?"), ("Tomo", "Green.\nAlways.")), (("Tomo", "hm"),))
    extensions = {"menura/v1": {"sha256": "ab", "weight": 1.0}}
    made = new_card("Tomo", ["a gardener", "dry"], ["Hello.", "Oh."], examples, extensions)
    card = read(made)
    assert (card.spec, card.name, card.facts, card.greetings) == (
        "v3",
        "Tomo",
        ("a gardener", "dry"),
        ("Hello.", "Oh."),
    )
    assert card.examples == ((("user", "tea?"), ("Tomo", "Green.\nAlways.")), (("Tomo", "hm"),))
    assert json.dumps(card.raw["data"]["extensions"]) == json.dumps(extensions)
    assert json.dumps(as_v3(card)) == json.dumps(made)
    assert read(new_card("Tomo", [], [], [], {})).greetings == ()


# The other program: tavern-card


def test_tavern_card_reads_what_is_written_here() -> None:
    theirs = tavern_card.parse_card(card_json(V2))
    fields = {key: theirs["data"][key] for key in V2["data"]}
    assert (theirs["spec"], fields) == ("chara_card_v2", V2["data"])
    png_fields = tavern_card.parse_png_card(card_png(V2, plain_png()))["data"]
    assert {key: png_fields[key] for key in V2["data"]} == V2["data"]
    only_chara = [each.whole for each in png_chunks(card_png(V2), "c") if not each.body.startswith(b"ccv3")]
    chara = tavern_card.parse_png_card(b"\x89PNG\r\n\x1a\n" + b"".join(only_chara))
    assert chara["spec"] == "chara_card_v2"
    assert {key: chara["data"][key] for key in V2["data"]} == V2["data"]


def test_what_tavern_card_writes_is_read_here() -> None:
    for card in (V1, V2):
        theirs = tavern_card.parse_card(card)
        assert told(read_card(tavern_card.write_png_card(theirs, plain_png()), "card.png")) == told(read(card))
        assert told(read(theirs)) == told(read(card))
    assert read_card(tavern_card.write_png_card(V2), "card.png").raw == V2


# Anything


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20).filter(str.strip)
MARKED = st.lists(st.sampled_from(["{{char}}", "<USER>", ":", "<START>", "\n", "a"]) | TEXT, max_size=8).map("".join)
KNOWN = {*V3["data"], "assets", "character_book", "avatar"}
DATA = st.builds(
    lambda unknown, known: {key: value for key, value in unknown.items() if key not in KNOWN} | known,
    st.dictionaries(TEXT, VALUES, max_size=3),
    st.fixed_dictionaries(
        {"name": NAMES, "first_mes": MARKED, "mes_example": MARKED},
        optional={
            "description": MARKED,
            "extensions": st.dictionaries(TEXT, VALUES, max_size=3),
            "alternate_greetings": st.lists(MARKED, max_size=2),
            "nickname": NAMES | st.just(""),
        },
    ),
)
CARDS = DATA.filter(lambda data: "spec" not in data) | st.builds(
    lambda version, data, more: {
        **more,
        "spec": f"chara_card_v{version}",
        "spec_version": f"{version}.0",
        "data": data,
    },
    st.sampled_from([2, 3]),
    DATA,
    st.dictionaries(TEXT.filter(lambda key: key not in ("spec", "spec_version", "data", "avatar")), VALUES, max_size=2),
)


@settings(max_examples=count(full_count=10_000, quick_count=40), deadline=None)
@given(CARDS)
def test_a_card_comes_back_from_each_file_as_it_went_in(card: dict[str, Any]) -> None:
    ours = read(card)
    assert json.dumps(read_card(card_json(card), "card.json").raw) == json.dumps(card)
    newest = json.dumps(as_v3(ours))
    for content in (card_png(card), card_charx(card, {"assets/other/a.bin": b""})):
        again = read_card(content, "card")
        again.raw["data"].pop("assets", None)
        assert json.dumps(again.raw) == newest
    data = card["data"] if "spec" in card else card
    extensions = again.raw["data"]["extensions"]
    assert json.dumps(extensions, ensure_ascii=False) == json.dumps(data.get("extensions", {}), ensure_ascii=False)


@settings(max_examples=count(full_count=10_000, quick_count=40), deadline=None)
@given(CARDS)
def test_no_placeholder_is_left_in_what_is_learnt(card: dict[str, Any]) -> None:
    ours = read({**card, "data": {**card["data"], "name": "Tomo"}} if "spec" in card else {**card, "name": "Tomo"})
    if ours.character == "Tomo":
        told = json.dumps([ours.facts, ours.greetings, ours.examples])
        assert re.search(r"\{\{(char|user)\}\}|<user>", told, re.IGNORECASE) is None
    assert all(turns and all(text.strip() for _, text in turns) for turns in ours.examples)
    assert {speaker for turns in ours.examples for speaker, _ in turns} <= {ours.character, "user"}


SEEDS = [json.dumps(V2).encode(), card_png(V3), card_charx(V3, {"assets/icon/images/a.png": b"a"})]
SEEDS += [png(chunk(b"zTXt", b"chara\0\0" + zlib.compress(packed(V2)))), zipped(("card.json", json.dumps(V3).encode()))]


@settings(max_examples=count(full_count=10_000, quick_count=40), deadline=None)
@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"PK\x03\x04", b"PK\x05\x06", b"{", b"[", b"\xff\xfe"]),
)
def test_random_bytes_end_in_no_other_error_than_ours(content: bytes, start: bytes) -> None:
    looks_like_card(start + content)
    with pytest.raises(MenuraError):
        read_card(start + content, "card")


@settings(max_examples=count(full_count=10_000, quick_count=100), deadline=None)
@given(st.data())
def test_a_card_changed_anywhere_ends_in_no_other_error_than_ours(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        piece = data.draw(st.binary(max_size=4) | st.sampled_from([b"\xff\xff\xff\xff", b"\0\0\0\0", b"PK\x01\x02"]))
        content[at : at + data.draw(st.integers(0, 4))] = piece
    try:
        card = read_card(bytes(content), "card")
    except MenuraError:
        return
    assert card.name


@settings(max_examples=count(full_count=10_000, quick_count=40), deadline=None)
@given(st.dictionaries(st.sampled_from(["spec", "spec_version", "data", *V3["data"], "avatar"]), VALUES), st.booleans())
def test_fields_of_any_type_end_in_no_other_error_than_ours(fields: dict[str, Any], nested: bool) -> None:
    card = with_data(V3, **fields) if nested else {**V1, **fields}
    try:
        ours = read(card)
    except MenuraError:
        return
    assert card_json(as_v3(ours))
