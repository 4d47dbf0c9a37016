import errno
import json
import os
import pickle
import struct
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from counts import count
from hypothesis import given, settings
from hypothesis import strategies as st

from menura.artefacts import tensors
from menura.errors import DataError, MismatchError, NumericalError, StorageError, UnsafeError

SOME = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.tensor([1.5, -2.0]).half(), "none": torch.zeros(0)}


def file_of(header: Any, body: bytes = b"") -> bytes:
    """Make a file with this header, written as JSON unless it is bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


@pytest.fixture
def file(tmp_path: Path) -> Path:
    tensors.save(tmp_path / "some.safetensors", SOME, {"by": "mira"})
    return tmp_path / "some.safetensors"


def test_tensors_and_notes_come_back_bit_for_bit(file: Path) -> None:
    found = tensors.load(file)
    assert found.keys() == SOME.keys()
    assert all(torch.equal(found[n], SOME[n]) and found[n].dtype == SOME[n].dtype for n in SOME)
    assert tensors.metadata(file) == {"by": "mira"}
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_view_and_a_gradient_are_written_as_plain_values(tmp_path: Path) -> None:
    table = torch.arange(12.0).reshape(3, 4).requires_grad_()
    tensors.save(tmp_path / "t", {"turned": table.T})
    assert torch.equal(tensors.load(tmp_path / "t")["turned"], table.detach().T)


def test_a_file_cut_short_anywhere_is_refused(file: Path) -> None:
    whole = file.read_bytes()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        with pytest.raises(DataError) as caught:
            tensors.load(file)
        assert caught.value.problems[0].code == "delta_format"
        assert caught.value.problems[0].place == str(file)


def test_a_file_with_something_behind_it_is_refused(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(DataError, match="damaged"):
        tensors.load(file)


def test_no_flipped_bit_brings_down_the_reader(file: Path) -> None:
    whole = file.read_bytes()
    for place in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        with suppress(DataError, UnsafeError):  # a flip among the values is for checksums to find
            tensors.parsed(bytes(flipped), file)


@settings(max_examples=count(full_count=10_000, quick_count=40))
@given(st.binary(max_size=60))
def test_no_bytes_bring_down_the_reader(content: bytes) -> None:
    for given_bytes in (content, file_of(b"{" + content), file_of({"a": 1}, content)):
        with pytest.raises((DataError, UnsafeError)):
            tensors.parsed(given_bytes + b"\1", Path("x"))


def test_pickles_and_zips_are_refused_unread(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("new.pt", "old.pt", "plain.pkl", "a.zip")]
    torch.save(SOME, paths[0])
    torch.save(SOME, paths[1], _use_new_zipfile_serialization=False)
    paths[2].write_bytes(pickle.dumps({"a": 1}))
    with zipfile.ZipFile(paths[3], "w") as archive:
        archive.writestr("a", "b" * 100)
    for path in paths:
        for read in (tensors.load, tensors.metadata):
            with pytest.raises(UnsafeError, match="pickle files can run code") as caught:
                read(path)  # type: ignore[operator]
            assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
            "twice",
        ),
        (b'{"__metadata__":{"a":"1","a":"2"}}', "twice"),
        (b'{"a":', "not valid JSON"),
        (b'{"a":"\xff"}', "not valid JSON"),
        (b"{" + b'"a":{' * 12_000, "not valid JSON"),
        (b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,9]}}', "damaged"),
        (b'{"a":{"dtype":"X9","shape":[1],"data_offsets":[0,1]}}', "damaged"),
        (b'{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}', "damaged"),
        (b'["a"]', "not a whole safetensors file"),
    ],
    ids=["names", "notes", "cut", "no-utf8", "deep", "beyond", "format", "shape", "list"],
)
def test_a_header_that_lies_is_refused(tmp_path: Path, header: bytes, message: str) -> None:
    (tmp_path / "t").write_bytes(file_of(header, b"\1"))
    with pytest.raises(DataError, match=message):
        tensors.load(tmp_path / "t")


def test_tensors_that_overlap_or_leave_a_hole_are_refused() -> None:
    def entry(start: int, end: int) -> dict[str, Any]:
        return {"dtype": "U8", "shape": [end - start], "data_offsets": [start, end]}

    for header in ({"a": entry(0, 2), "b": entry(1, 3)}, {"a": entry(0, 1), "b": entry(2, 3)}):
        with pytest.raises(DataError, match="damaged"):
            tensors.parsed(file_of(header, b"abc"), Path("x"))


def test_lora_on_all_maps_of_a_deep_base_is_read(tmp_path: Path) -> None:
    names = [
        f"base_model.model.model.layers.{layer}.{part}.lora_{which}.weight"
        for layer in range(48)
        for part in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
        + ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
        for which in "AB"
    ]
    tensors.save(tmp_path / "t", {name: torch.full((1, 4), 0.5) for name in names})
    assert struct.unpack("<Q", (tmp_path / "t").read_bytes()[:8])[0] > 64 * 1024
    assert tensors.load(tmp_path / "t").keys() == set(names)


def test_a_huge_header_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "t").open("wb") as file:
        file.write(struct.pack("<Q", 100 << 20) + b"{")
        file.truncate(8 + (100 << 20))  # zeros, which take no place on the disk
    tracemalloc.start()
    for read in (tensors.load, tensors.metadata):
        with pytest.raises(DataError, match="a header of 104,857,600 bytes, limit 1,048,576"):
            read(tmp_path / "t")  # type: ignore[operator]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20
    (tmp_path / "t").write_bytes(struct.pack("<Q", 2**63) + b"{}")
    with pytest.raises(DataError, match="not a whole safetensors file"):
        tensors.load(tmp_path / "t")


def test_a_caller_may_take_a_longer_header(tmp_path: Path) -> None:
    header = json.dumps({"__metadata__": {"a": "x" * tensors.HEADER_LIMIT}}).encode()
    (tmp_path / "t").write_bytes(file_of(header))
    with pytest.raises(DataError, match="a header of "):
        tensors.load(tmp_path / "t")
    assert tensors.load(tmp_path / "t", header_limit=2 * tensors.HEADER_LIMIT) == {}


def test_a_full_disk_is_a_storage_error_and_leaves_the_old_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    before = file.read_bytes()
    with pytest.raises(StorageError, match="No space left on device") as caught:
        tensors.save(file, {"a": torch.zeros(3)})
    assert caught.value.problems[0].code == "storage_full"
    assert {path.name: path.read_bytes() for path in file.parent.iterdir()} == {file.name: before}


@pytest.mark.parametrize("notes", [None, {}])
def test_no_tensors_at_all_can_be_written_and_read(tmp_path: Path, notes: dict[str, str] | None) -> None:
    tensors.save(tmp_path / "t", {}, notes)
    assert tensors.load(tmp_path / "t") == {}
    assert tensors.metadata(tmp_path / "t") == {}


def test_names_and_shapes_must_be_those_wanted() -> None:
    wanted = {"a": torch.zeros(2), "b": torch.zeros(2, 3)}
    tensors.check_same_shape(wanted, wanted, "these")
    with pytest.raises(MismatchError, match=r"these: 1 tensors missing, 0 unknown \(missing a\)"):
        tensors.check_same_shape({"b": wanted["b"]}, wanted, "these")
    with pytest.raises(MismatchError, match=r"0 tensors missing, 1 unknown \(unknown c\)"):
        tensors.check_same_shape({**wanted, "c": torch.zeros(1)}, wanted, "these")
    with pytest.raises(MismatchError, match=r"b is \(3, 2\), wanted \(2, 3\)"):
        tensors.check_same_shape({"a": wanted["a"], "b": torch.zeros(3, 2)}, wanted, "these")
    for bad in (float("nan"), float("inf")):
        with pytest.raises(NumericalError, match="1 value is not finite in a") as caught:
            tensors.check_same_shape({**wanted, "a": torch.tensor([0.0, bad])}, wanted, "these")
        assert caught.value.exit_code == 6


def test_the_hash_is_of_the_content_and_of_nothing_else(file: Path) -> None:
    same = tensors.content_sha256(SOME)
    assert tensors.content_sha256(tensors.load(file)) == same
    assert tensors.content_sha256({n: SOME[n] for n in reversed(SOME)}) == same
    changed = [
        {**SOME, "a": SOME["a"] + 1},
        {**SOME, "a": SOME["a"].float()},
        {**SOME, "b": SOME["b"].reshape(3, 2)},
        {n: SOME[n] for n in ("a", "b")},
        {"c" if n == "b" else n: v for n, v in SOME.items()},
    ]
    assert len({same, *(tensors.content_sha256(c) for c in changed)}) == 6


def test_a_single_number_has_a_hash() -> None:
    assert tensors.content_sha256({"steps": torch.tensor(3.0)}) != tensors.content_sha256({"steps": torch.tensor(4.0)})
