import json
import random
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from made_up import FACTS, SUPPORT, part

from menura.adaptation.finetune import Finetune
from menura.adaptation.inner_loop import InnerLoop
from menura.adaptation.weights import loss_with
from menura.artefacts import persona_artefact
from menura.artefacts.loading import LoadedModel
from menura.artefacts.persona_artefact import ABOUT, CARD, WEIGHTS, PersonaArtefact, plain_config, read
from menura.artefacts.tensors import content_sha256
from menura.errors import DataError, MismatchError, NumericalError, StorageError, UnsafeError
from menura.models.causal_lm.config import CausalLmConfig
from menura.models.layers.adapters import Adapters
from menura.personas.adapt_persona import adapt_persona
from menura.personas.selection import Selection
from menura.registry import load_model
from menura.tasks.task import Task

CONFIG = CausalLmConfig("tiny", adapters=Adapters("lora", rank=2, layers=1))
TASK = Task("mira", (*SUPPORT, part("held", "and now?", "now i sleep.")), FACTS)


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return load_model(CONFIG)


@pytest.fixture(scope="module")
def mira(loaded: LoadedModel) -> PersonaArtefact:
    return adapt_persona(loaded, Finetune(InnerLoop(lr=0.1, epochs=2)), Selection.first_of(TASK, 2), name="mira")


@pytest.fixture
def package(mira: PersonaArtefact, tmp_path: Path) -> Path:
    mira.write(tmp_path / "mira.persona")
    return tmp_path / "mira.persona"


def repacked(package: Path, **members: bytes | None) -> None:
    """Write the package again with some members exchanged (or left out); a member is named by its suffix."""
    names = {"card": CARD, "about": ABOUT, "weights": WEIGHTS}
    with zipfile.ZipFile(package) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    content |= {names[name]: value for name, value in members.items() if value is not None}
    with zipfile.ZipFile(package, "w") as archive:
        for name, value in content.items():
            if members.get(next(k for k, v in names.items() if v == name), b"") is not None:
                archive.writestr(name, value)


def about_of(package: Path) -> dict[str, Any]:
    with zipfile.ZipFile(package) as archive:
        about: dict[str, Any] = json.loads(archive.read(ABOUT))
    return about


def test_a_package_comes_back_bit_for_bit(mira: PersonaArtefact, package: Path, loaded: LoadedModel) -> None:
    found = read(package)
    assert content_sha256(found.weights) == content_sha256(mira.weights)
    assert replace(found, weights={}) == replace(mira, weights={}, recipe=json.loads(json.dumps(mira.recipe)))
    found.check_fits(loaded)
    batch = loaded.model.batch([e for d in loaded.encoder.dialogues(SUPPORT, "mira") for e in d])
    losses = [loss_with(loaded.model, weights, batch).nll for weights in (mira.weights, found.weights, {})]
    assert torch.equal(losses[0], losses[1])
    assert not torch.equal(losses[0], losses[2])


def test_the_same_persona_is_the_same_file(mira: PersonaArtefact, package: Path, tmp_path: Path) -> None:
    mira.write(tmp_path / "again.persona")
    assert (tmp_path / "again.persona").read_bytes() == package.read_bytes()


def test_a_package_is_a_character_card_that_other_programs_can_open(package: Path) -> None:
    with zipfile.ZipFile(package) as archive:
        assert archive.testzip() is None
        card = json.loads(archive.read("card.json"))
        assert set(archive.namelist()) == {"card.json", ABOUT, WEIGHTS}
    assert (card["spec"], card["spec_version"]) == ("chara_card_v3", "3.0")
    assert card["data"]["name"] == "mira"
    assert card["data"]["description"] == "\n".join(FACTS)
    required = {"name", "description", "tags", "creator", "character_version", "mes_example", "extensions"}
    required |= {"system_prompt", "post_history_instructions", "first_mes", "alternate_greetings", "personality"}
    required |= {"scenario", "creator_notes", "group_only_greetings"}
    assert required <= card["data"].keys()
    own = card["data"]["extensions"]["menura/v1"]
    assert own == {"weights": WEIGHTS, "about": ABOUT, "weights_sha256": content_sha256(read(package).weights)}


def test_no_line_of_the_dialogues_is_in_the_package(package: Path) -> None:
    content = package.read_bytes()
    for shot in TASK.dialogues:
        for turn in shot.dialogue.turns:
            assert turn.text == "hi" or turn.text.encode() not in content, turn.text
    assert FACTS[0].encode() in content, "facts are meant to be there"


def test_no_flipped_bit_goes_unseen_and_none_brings_down_the_reader(mira: PersonaArtefact, package: Path) -> None:
    whole = package.read_bytes()
    with zipfile.ZipFile(package) as archive:
        directory = 8 * archive.start_dir  # from this bit on stands the zip's own table
    rng = random.Random(3)
    places = [*rng.sample(range(directory, 8 * len(whole)), 600), *rng.sample(range(directory), 300)]
    recipe = json.loads(json.dumps(mira.recipe))
    for place in places:
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        package.write_bytes(flipped)
        with suppress(DataError, UnsafeError, StorageError):
            found = read(package)
            assert content_sha256(found.weights) == content_sha256(mira.weights)
            assert (found.name, found.facts, found.recipe) == (mira.name, mira.facts, recipe)


def test_damaged_weights_are_seen_even_where_the_zip_is_whole(mira: PersonaArtefact, package: Path) -> None:
    with zipfile.ZipFile(package) as archive:
        weights = bytearray(archive.read(WEIGHTS))
    weights[-1] ^= 1
    repacked(package, weights=bytes(weights))
    with pytest.raises(DataError, match="the weights are damaged") as caught:
        read(package)
    assert (caught.value.exit_code, caught.value.problems[0].code) == (3, "persona_damaged")
    assert caught.value.problems[0].place == str(package)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.999])
def test_a_package_cut_short_is_refused(package: Path, share: float) -> None:
    content = package.read_bytes()
    package.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match="not a whole persona package"):
        read(package)


@pytest.mark.parametrize("member", ["about", "weights"])
def test_a_package_without_one_of_its_parts_is_refused(package: Path, member: str) -> None:
    repacked(package, **{member: None})
    with pytest.raises(DataError, match="not a whole persona package"):
        read(package)


@pytest.mark.parametrize(
    "change",
    [
        lambda about: [],
        lambda about: "text",
        lambda about: {**about, "schema": "one"},
        lambda about: {key: value for key, value in about.items() if key != "weights_sha256"},
        lambda about: {key: value for key, value in about.items() if key != "facts"},
        lambda about: {**about, "facts": 3},
    ],
)
def test_a_description_that_is_not_ours_is_refused(package: Path, change: Callable[[Any], Any]) -> None:
    repacked(package, about=json.dumps(change(about_of(package))).encode())
    with pytest.raises(DataError):
        read(package)


def test_a_newer_package_is_refused_with_both_numbers(package: Path) -> None:
    repacked(package, about=json.dumps({**about_of(package), "schema": 4}).encode())
    with pytest.raises(DataError, match=r"newer Menura \(schema 4, this reads 3\)"):
        read(package)


def test_a_package_that_would_unpack_too_large_is_refused(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(persona_artefact, "LARGEST", 100)
    with pytest.raises(UnsafeError, match=r"unpacks to \d+ bytes, limit 100") as caught:
        read(package)
    assert (caught.value.exit_code, caught.value.problems[0].code) == (4, "card_bomb")
    repacked(package, about=b" " * (persona_artefact.LARGEST_TEXT + 1))
    with pytest.raises(UnsafeError, match="larger than"):
        read(package)


def test_a_pickle_in_the_place_of_weights_is_refused(package: Path) -> None:
    repacked(package, weights=b"\x80\x04K\x01.")
    with pytest.raises(UnsafeError, match="pickle"):
        read(package)


def test_a_missing_package_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        read(tmp_path / "none.persona")


def test_a_persona_of_another_base_does_not_fit(mira: PersonaArtefact, loaded: LoadedModel) -> None:
    for what, other in (
        ("base", replace(mira, base_sha256="ab" * 32)),
        ("start", replace(mira, init_sha256="cd" * 32)),
    ):
        with pytest.raises(MismatchError, match=f"was made for {what} (abab|cdcd)") as caught:
            other.check_fits(loaded)
        assert (caught.value.exit_code, caught.value.problems[0].code) == (3, "base_mismatch")


@pytest.mark.parametrize(
    "adapters",
    [
        Adapters("lora", rank=3, layers=1),
        Adapters("lora", rank=2, layers=2),
        Adapters("houlsby", bottleneck=2, layers=1),
    ],
)
def test_a_persona_of_other_modules_does_not_fit(mira: PersonaArtefact, adapters: Adapters) -> None:
    with pytest.raises(MismatchError, match="persona 'mira'"):
        mira.check_fits(load_model(replace(CONFIG, adapters=adapters)))


def test_weights_that_are_not_finite_do_not_fit(mira: PersonaArtefact, loaded: LoadedModel) -> None:
    name, value = next(iter(mira.weights.items()))
    with pytest.raises(NumericalError, match="not finite"):
        replace(mira, weights={**mira.weights, name: value * float("nan")}).check_fits(loaded)


def test_the_settings_of_the_model_are_kept_as_plain_data(mira: PersonaArtefact, loaded: LoadedModel) -> None:
    assert mira.model == plain_config(loaded)
    assert mira.model["adapters"] == {
        "kind": "lora",
        "bottleneck": 64,
        "rank": 2,
        "num_virtual_tokens": 64,
        "layers": 1,
        "init": "identity",
        "target_modules": "query_value",
    }


def test_weights_do_not_show_when_a_persona_is_printed(mira: PersonaArtefact) -> None:
    assert "tensor" not in repr(mira)


def test_a_persona_of_another_chat_format_is_refused(mira: PersonaArtefact, loaded: LoadedModel, package: Path) -> None:
    read(package).check_fits(loaded)
    plain = load_model(replace(CONFIG, chat_format="plain"))
    with pytest.raises(MismatchError, match="learnt in another chat format") as caught:
        mira.check_fits(plain)
    assert caught.value.problems[0].code == "chat_format"


def test_a_persona_from_before_formats_were_kept_is_read_but_for_the_plain_text_of_then(
    mira: PersonaArtefact, loaded: LoadedModel
) -> None:
    old = replace(mira, chat_format_sha256="")
    old.check_fits(loaded)
    with pytest.raises(MismatchError, match="learnt in another chat format"):
        replace(old, model={**old.model, "chat_format": "plain"}).check_fits(loaded)
