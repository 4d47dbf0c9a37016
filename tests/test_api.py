import inspect
from dataclasses import replace
from pathlib import Path

import pytest
from made_up_chat import name_of, write

import menura
from menura import api
from menura.artefacts import persona_store
from menura.artefacts.loaders.causal_lm import settings_for
from menura.corpus import jsonl
from menura.corpus.dialogue import Turn
from menura.decoding.sampling import Greedy
from menura.errors import ConfigError, DataError, EpisodeError, MismatchError
from menura.evaluation.settings import EvaluateConfig
from menura.registry import load_model

WHO = name_of(3)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("corpus") / "chat.jsonl", people=6)


@pytest.fixture(scope="module")
def model() -> menura.Model:
    return menura.load("tiny")


@pytest.fixture(scope="module")
def persona(model: menura.Model, corpus: Path) -> menura.Persona:
    return model.adapt(corpus, speaker=WHO, k=2)


def test_a_file_becomes_a_persona_that_replies(persona: menura.Persona) -> None:
    assert persona.name == WHO
    assert persona.check is not None
    assert persona.check.dialogues == 2
    assert isinstance(persona.reply("what do you do?", max_new_tokens=8), str)


def test_dialogues_at_hand_give_the_same_persona_as_their_file(
    model: menura.Model, persona: menura.Persona, corpus: Path
) -> None:
    other = model.adapt(list(jsonl.read(corpus)), speaker=WHO, k=2)
    assert other.artefact.recipe == persona.artefact.recipe
    assert all(value.equal(other.artefact.weights[name]) for name, value in persona.artefact.weights.items())


def test_the_same_seed_gives_the_same_reply(persona: menura.Persona) -> None:
    assert persona.reply("and today?", seed=4, max_new_tokens=12) == persona.reply(
        "and today?", seed=4, max_new_tokens=12
    )
    assert len({persona.reply("and today?", seed=seed, max_new_tokens=12) for seed in range(4)}) > 1


@pytest.mark.parametrize("seed", range(4))
def test_the_pieces_of_a_stream_are_the_reply(persona: menura.Persona, seed: int) -> None:
    pieces = list(persona.stream("is it hard?", seed=seed, max_new_tokens=24))
    assert "".join(pieces).strip() == persona.reply("is it hard?", seed=seed, max_new_tokens=24).strip()


def test_candidates_stand_in_order_of_likelihood_and_hold_the_reply(persona: menura.Persona) -> None:
    found = persona.candidates("is it hard?", 4, seed=7, max_new_tokens=10)
    assert len(found) == 4
    assert [one.nll for one in found] == sorted(one.nll for one in found)
    alone = [persona.reply("is it hard?", seed=seed, max_new_tokens=10) for seed in range(7, 11)]
    assert sorted(one.text for one in found) == sorted(alone)


def test_a_dialogue_so_far_is_replied_to(persona: menura.Persona) -> None:
    said = [Turn("you", "what do you do?"), Turn("persona", "i mend clocks."), Turn("you", "many?")]
    whole = persona.candidates(said, 1, decoding=Greedy(), max_new_tokens=6)[0]
    last = persona.candidates(said[2].text, 1, decoding=Greedy(), max_new_tokens=6)[0]
    assert whole != last


def test_nothing_cannot_be_replied_to(persona: menura.Persona) -> None:
    with pytest.raises(DataError, match="the context is empty"):
        persona.reply([])


def test_a_persona_speaks_otherwise_than_its_model_and_leaves_it_alone(
    model: menura.Model, persona: menura.Persona
) -> None:
    before = model.candidates("and today?", 1, decoding=Greedy(), max_new_tokens=6)
    likely = persona.candidates("and today?", 1, decoding=Greedy(), max_new_tokens=6)
    assert model.candidates("and today?", 1, decoding=Greedy(), max_new_tokens=6) == before
    assert likely != before
    assert api.without_persona(persona).candidates("and today?", 1, decoding=Greedy(), max_new_tokens=6) == before


def test_a_saved_persona_says_the_same(model: menura.Model, persona: menura.Persona, tmp_path: Path) -> None:
    path = persona.save(tmp_path / "noa.persona")
    wanted = persona.candidates("who taught you?", 2, max_new_tokens=8)
    for loaded in (menura.Persona.load(path), menura.Persona.load(path, base=model)):
        assert loaded.name == WHO
        assert loaded.candidates("who taught you?", 2, max_new_tokens=8) == wanted


def test_a_persona_is_found_by_name(persona: menura.Persona) -> None:
    persona_store.save(persona.artefact)
    assert menura.Persona.load(WHO).artefact.recipe == persona.artefact.recipe
    agents = api.agents([WHO, "tiny", WHO])
    assert list(agents) == [WHO, "tiny"]
    with pytest.raises(ConfigError, match="unknown persona 'nobody'"):
        menura.Persona.load("nobody")


def test_a_persona_of_another_model_is_refused(persona: menura.Persona, tmp_path: Path) -> None:
    path = persona.save(tmp_path / "noa.persona")
    other = api.Model(load_model(settings_for("tiny")))
    menura.Persona.load(path, base=other)  # the same settings are the same model
    smaller = replace(other.loaded.config, adapters=replace(other.loaded.config.adapters, rank=4))
    with pytest.raises(MismatchError, match="wanted"):
        menura.Persona.load(path, base=api.Model(load_model(smaller)))


def test_a_speaker_must_be_named_where_several_reply(model: menura.Model, corpus: Path) -> None:
    with pytest.raises(ConfigError, match="whose persona.*type one of --speaker person-00"):
        model.adapt(corpus)
    with pytest.raises(ConfigError, match="no replies of 'nobody'"):
        model.adapt(corpus, speaker="nobody")


@pytest.mark.parametrize(("shots", "kind"), [(0, ConfigError), (-1, ConfigError), (7, EpisodeError)])
def test_shots_that_cannot_be_meant_are_refused(
    model: menura.Model, corpus: Path, shots: int, kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        model.adapt(corpus, speaker=WHO, k=shots)


def test_held_out_people_of_a_file_become_a_table(model: menura.Model, tmp_path: Path) -> None:
    path = write(tmp_path / "chat.jsonl", people=4)
    settings = EvaluateConfig(queries=1, replies=1, candidates=2, max_new_tokens=4, metrics=("ppl", "hits@1"))
    found = menura.evaluate(model, data=path, k=(1, 2), settings=settings)
    assert [row.label for row in found.results.rows][0] == "un-adapted"
    assert len(found.results.rows) == 5
    assert "adapted, K=2" in found.table()
    written = found.save(tmp_path / "out")
    names = {"table.md", "scores.csv", "scores.json", "statistics.json", "predictions.jsonl", "likelihoods.jsonl"}
    assert {file.name for file in written} == names
    assert all(file.exists() for file in written)


@pytest.mark.parametrize("name", menura.__all__)
def test_every_public_method_explains_itself(name: str) -> None:
    for attribute, found in vars(getattr(menura, name)).items() if inspect.isclass(getattr(menura, name)) else ():
        if callable(found) and not attribute.startswith("_"):
            assert inspect.getdoc(found), f"{name}.{attribute}"


def test_a_list_of_texts_in_place_of_turns_is_told(persona: menura.Persona) -> None:
    with pytest.raises(DataError, match="a str in the context where a Turn was wanted"):
        persona.reply(["hello"])  # type: ignore[list-item]


def test_plain_data_in_place_of_dialogues_is_told(model: menura.Model) -> None:
    with pytest.raises(DataError, match="a dict where a Dialogue was wanted"):
        model.adapt([{"turns": []}])  # type: ignore[list-item]


def test_half_of_a_surrogate_pair_in_a_line_stops_no_reply(persona: menura.Persona) -> None:
    assert isinstance(persona.reply("a\ud800b", max_new_tokens=2), str)
