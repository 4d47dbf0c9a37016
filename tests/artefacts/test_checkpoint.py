import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from menura.artefacts import checkpoint
from menura.artefacts.checkpoint import Checkpoint, newest, read, write
from menura.errors import DataError

FILES = ("manifest.json", "model.safetensors", "optimizer.safetensors", "state.json")


def made(step: int) -> Checkpoint:
    value = torch.full((3, 2), float(step))
    return Checkpoint(step, {"w": value}, {"w/exp_avg": value + 1, "w/step": torch.tensor(step)}, {"seed": [1, 2]})


def assert_same(found: Checkpoint | None, wanted: Checkpoint) -> None:
    assert found is not None
    assert (found.step, found.state) == (wanted.step, wanted.state)
    for ours, theirs in ((found.weights, wanted.weights), (found.optimizer, wanted.optimizer)):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[n], theirs[n]) for n in ours)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for step in (1, 2, 3):
        write(tmp_path, made(step))
    return tmp_path


def damages() -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Yield ways to damage one generation, each by a name."""
    rng = random.Random(17)
    for name in FILES:
        yield f"{name} deleted", lambda path, name=name: (path / name).unlink()
        yield f"{name} emptied", lambda path, name=name: (path / name).write_bytes(b"")
        for share in (0.3, 0.99):
            yield f"{name} cut", lambda path, name=name, share=share: cut(path / name, share)
        for at in [rng.random() for _ in range(25)]:
            yield f"{name} flipped", lambda path, name=name, at=at: flip(path / name, at)


def cut(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


def flip(path: Path, at: float) -> None:
    """Flip one bit, ``at`` (0..1) of the way through."""
    content = bytearray(path.read_bytes())
    bit = int(at * 8 * len(content))
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def test_the_newest_is_found_and_two_generations_are_kept(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["step_000002", "step_000003"]
    warnings: list[str] = []
    assert_same(newest(folder, warnings.append), made(3))
    assert not warnings


def test_no_checkpoint_is_no_error(tmp_path: Path) -> None:
    assert newest(tmp_path, print) is None
    assert newest(tmp_path / "never", print) is None


def test_any_damage_is_seen_and_the_one_before_is_used_with_one_warning_that_names_it(folder: Path) -> None:
    whole = folder / "kept-aside"
    shutil.copytree(folder / "step_000003", whole)
    for what, damage in damages():
        damage(folder / "step_000003")
        warnings: list[str] = []
        assert_same(newest(folder, warnings.append), made(2))
        assert len(warnings) == 1, what
        assert warnings[0].startswith("step_000003 is damaged ("), what
        shutil.rmtree(folder / "step_000003")
        shutil.copytree(whole, folder / "step_000003")
    assert_same(newest(folder, print), made(3))


def test_when_none_is_whole_it_says_so(folder: Path) -> None:
    flip(folder / "step_000003" / "model.safetensors", 0.9)
    (folder / "step_000002" / "state.json").unlink()
    warnings: list[str] = []
    with pytest.raises(DataError, match="no checkpoint is whole") as caught:
        newest(folder, warnings.append)
    assert (caught.value.exit_code, caught.value.problems[0].place) == (3, str(folder))
    assert [warning.split()[0] for warning in warnings] == ["step_000003", "step_000002"]


def test_a_write_that_fails_leaves_every_generation(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "write_json", stopped)
    with pytest.raises(KeyboardInterrupt):
        write(folder, made(4))
    assert sorted(path.name for path in folder.iterdir()) == ["step_000002", "step_000003"]
    assert_same(newest(folder, print), made(3))


def test_the_manifest_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    real = checkpoint.write_json
    monkeypatch.setattr(
        checkpoint, "write_json", lambda path, content: (written.append(path.name), real(path, content))
    )
    monkeypatch.setattr(checkpoint, "save", lambda path, content: (written.append(path.name), path.touch()))
    write(tmp_path, made(1))
    assert written == ["model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"]


def test_the_same_step_again_replaces_it(folder: Path) -> None:
    other = Checkpoint(3, {"w": torch.zeros(1)}, {}, {})
    write(folder, other)
    assert_same(newest(folder, print), other)


def test_a_million_steps_come_after_fewer(tmp_path: Path) -> None:
    write(tmp_path, made(999_999))
    write(tmp_path, made(1_000_000))
    assert_same(newest(tmp_path, print), made(1_000_000))


def test_an_optimizer_of_many_tensors_can_be_read_again(tmp_path: Path) -> None:
    many = {f"network.model.layers.{i}.self_attn.q_proj.weight/exp_avg_sq": torch.zeros(1) for i in range(1500)}
    path = write(tmp_path, Checkpoint(1, {"w": torch.zeros(1)}, many, {}))
    assert (path / "optimizer.safetensors").stat().st_size > 128 * 1024
    assert len(read(path).optimizer) == 1500


def test_a_manifest_of_other_files_is_refused(folder: Path) -> None:
    (folder / "step_000003" / "manifest.json").write_text('{"../../passwd": "0"}')
    with pytest.raises(DataError, match="not one of ours"):
        read(folder / "step_000003")
