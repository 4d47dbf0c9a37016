from pathlib import Path

import pytest
import torch

from menura.artefacts import persona_store
from menura.artefacts.persona_artefact import PersonaArtefact
from menura.errors import ConfigError, DataError


def persona(name: str, value: float = 1.0) -> PersonaArtefact:
    return PersonaArtefact(name, {"w": torch.tensor([value])}, "b", "", {}, (), {})


pytestmark = pytest.mark.usefixtures("empty_workspace")


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "a\\b", "/etc/passwd", "a.persona", "-x", "_x", "a b", "ä", "a\n", "a\0", "x" * 65],
)
def test_a_name_that_could_be_anything_else_is_refused(name: str, empty_workspace: Path) -> None:
    for use in (persona_store.path_of, persona_store.load, persona_store.remove):
        with pytest.raises(ConfigError, match="letters, digits") as caught:
            use(name)
        assert (caught.value.exit_code, caught.value.problems[0].code) == (2, "bad_name")
    with pytest.raises(ConfigError):
        persona_store.save(persona(name))
    assert not list(empty_workspace.iterdir())


def test_a_long_name_is_shown_in_part_and_control_characters_escaped() -> None:
    with pytest.raises(ConfigError) as caught:
        persona_store.path_of("\x1b[31m" + "y" * 5000)
    assert len(str(caught.value)) < 300
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("name", ["a", "Anna-2", "9_lives", "x" * 64])
def test_a_plain_name_is_a_file_in_the_workspace(name: str, empty_workspace: Path) -> None:
    path = persona_store.save(persona(name))
    assert path == persona_store.path_of(name) == empty_workspace / "personas" / f"{name}.persona"
    assert persona_store.load(name).name == name
    assert persona_store.names() == [name]


def test_names_are_sorted_and_foreign_files_are_left_out(empty_workspace: Path) -> None:
    assert persona_store.names() == []
    for name in ("b", "a", "c"):
        persona_store.save(persona(name))
    (empty_workspace / "personas" / "notes.txt").touch()
    assert persona_store.names() == ["a", "b", "c"]


def test_an_unknown_name_tells_the_nearest() -> None:
    persona_store.save(persona("annabel"))
    with pytest.raises(ConfigError, match="unknown persona 'anabel'") as caught:
        persona_store.load("anabel")
    assert caught.value.problems[0].hint == "did you mean annabel?"
    assert caught.value.problems[0].code == "model_not_found"
    with pytest.raises(ConfigError, match="menura persona list"):
        persona_store.load("zzz")


def test_saving_again_replaces_in_one_step(empty_workspace: Path) -> None:
    persona_store.save(persona("anna", 1.0))
    persona_store.save(persona("anna", 2.0))
    assert persona_store.load("anna").weights["w"].item() == 2.0
    assert [path.name for path in (empty_workspace / "personas").iterdir()] == ["anna.persona"]


def test_a_package_anywhere_is_loaded_by_its_path(tmp_path: Path) -> None:
    persona("anna").write(tmp_path / "from-a-friend.persona")
    assert persona_store.load(str(tmp_path / "from-a-friend.persona")).name == "anna"


def test_removing_twice_is_no_error() -> None:
    persona_store.save(persona("anna"))
    persona_store.remove("anna")
    persona_store.remove("anna")
    assert persona_store.names() == []


def test_a_damaged_persona_is_a_data_error() -> None:
    persona_store.save(persona("anna")).write_bytes(b"PK")
    with pytest.raises(DataError, match="not a whole persona package"):
        persona_store.load("anna")
