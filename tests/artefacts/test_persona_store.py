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
    path = persona_store.save(persona(name)).path
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


def test_saving_again_keeps_the_persona_before_as_an_earlier_version(empty_workspace: Path) -> None:
    saved = [persona_store.save(persona("anna", value)) for value in (1.0, 2.0, 3.0)]
    assert [one.earlier for one in saved] == ["", "anna@1", "anna@2"]
    values = [persona_store.load(name).weights["w"].item() for name in ("anna@1", "anna@2", "anna")]
    assert values == [1.0, 2.0, 3.0]
    assert persona_store.names() == ["anna"]
    assert persona_store.versions("anna") == ["anna@1", "anna@2"]


def test_the_same_persona_again_is_no_new_version(empty_workspace: Path) -> None:
    persona_store.save(persona("anna"))
    assert not persona_store.save(persona("anna")).changed
    assert persona_store.versions("anna") == []


def test_replacing_discards_all_versions(empty_workspace: Path) -> None:
    for value in (1.0, 2.0):
        persona_store.save(persona("anna", value))
    persona_store.save(persona("anna", 3.0), replace_old=True)
    assert [path.name for path in (empty_workspace / "personas").iterdir()] == ["anna.persona"]
    assert persona_store.load("anna").weights["w"].item() == 3.0


@pytest.mark.parametrize("name", ["shipped", "smollm2-135m", "tiny", "anna@1"])
def test_a_name_that_means_something_else_is_refused_for_a_new_persona(name: str) -> None:
    with pytest.raises(ConfigError, match="choose another name"):
        persona_store.check_new(name)
    persona_store.check_new("anna")


def test_removing_takes_the_earlier_versions_along(empty_workspace: Path) -> None:
    for value in (1.0, 2.0):
        persona_store.save(persona("anna", value))
    persona_store.remove("anna")
    assert not list((empty_workspace / "personas").iterdir())


def test_a_package_anywhere_is_loaded_by_its_path(tmp_path: Path) -> None:
    persona("anna").write(tmp_path / "from-a-friend.persona")
    assert persona_store.load(str(tmp_path / "from-a-friend.persona")).name == "anna"


def test_removing_twice_is_no_error() -> None:
    persona_store.save(persona("anna"))
    persona_store.remove("anna")
    persona_store.remove("anna")
    assert persona_store.names() == []


def test_a_damaged_persona_is_a_data_error() -> None:
    persona_store.save(persona("anna")).path.write_bytes(b"PK")
    with pytest.raises(DataError, match="not a whole persona package"):
        persona_store.load("anna")
