"""A persona remembers its exchanges where that is asked for: they can be read, redacted and deleted."""

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_up import FACTS, SUPPORT, part

from menura.adaptation.finetune import Finetune
from menura.adaptation.inner_loop import InnerLoop
from menura.api.agent import Persona, persona_on
from menura.artefacts.loading import LoadedModel
from menura.artefacts.persona_artefact import PersonaArtefact, read
from menura.artefacts.persona_memory import CACHE, EXCHANGES, RememberedExchanges
from menura.corpus.dialogue import Turn
from menura.decoding.sampling import Greedy
from menura.errors import ConfigError, DataError
from menura.models.causal_lm.config import CausalLmConfig
from menura.models.layers.adapters import Adapters
from menura.personas.adapt_persona import adapt_persona, encoded
from menura.personas.remembering import remembering
from menura.personas.selection import Selection
from menura.registry import load_model
from menura.tasks.task import Task

CONFIG = CausalLmConfig("tiny", adapters=Adapters("lora", rank=2, layers=1))
OLDER = part("s0", "what do you grow?", "parsnips, call 0171 5550199.", facts=FACTS)
TASK = Task("mira", SUPPORT, FACTS)


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return load_model(CONFIG)


@pytest.fixture(scope="module")
def mira(loaded: LoadedModel) -> PersonaArtefact:
    selection = Selection.first_of(TASK, 2)
    support = encoded(loaded, selection.support, selection.speaker)
    bare = adapt_persona(loaded, Finetune(InnerLoop(lr=0.1, epochs=2)), selection, name="mira", support=support)
    return remembering(loaded, bare, list(OLDER.exchanges()), support)


def memory_in(artefact: PersonaArtefact) -> RememberedExchanges:
    assert artefact.memory is not None
    return artefact.memory


def test_all_exchanges_are_remembered_once_and_those_learnt_from_are_cached(
    mira: PersonaArtefact, loaded: LoadedModel
) -> None:
    memory = memory_in(mira)
    said = [exchange.reply.text for exchange in memory.exchanges]
    assert said == ["parsnips, call 0171 5550199.", "tick tock, hello!", "my clocks, all forty.", "fern the goat."]
    assert all(len(exchange.context) == 1 and not exchange.facts for exchange in memory.exchanges)
    assert memory.cache is not None
    assert memory.places is not None
    for place, reply in enumerate(said):
        tokens = memory.cache.tokens[memory.places == place].tolist()
        assert tokens == ([] if not place else list(loaded.encoder.reply_ids(reply)))


def test_a_persona_that_goes_on_keeps_what_it_remembers_and_the_words_of_it(
    mira: PersonaArtefact, loaded: LoadedModel
) -> None:
    more = Task("mira", (part("s9", "and the goat?", "fern eats my clocks."),), FACTS)
    selection = Selection.first_of(more, 1, 0)
    support = encoded(loaded, selection.support, selection.speaker)
    old = memory_in(mira)
    new = memory_in(remembering(loaded, mira, (), support, old))
    assert [exchange.reply.text for exchange in new.exchanges[:-1]] == [one.reply.text for one in old.exchanges]
    assert new.exchanges[-1].reply.text == "fern eats my clocks."
    assert new.cache is not None
    assert old.cache is not None
    assert new.places is not None
    for place, exchange in enumerate(new.exchanges):
        tokens = new.cache.tokens[new.places == place].tolist()
        assert tokens == ([] if not place else list(loaded.encoder.reply_ids(exchange.reply.text)))
    torch.testing.assert_close(new.cache.keys[: len(old.cache.keys)], old.cache.keys)
    forgotten = new.without([1, 2])
    assert len(forgotten.exchanges) == len(new.exchanges) - 2
    assert forgotten.cache is not None


def test_a_persona_that_remembers_comes_back_as_it_was(
    mira: PersonaArtefact, loaded: LoadedModel, tmp_path: Path
) -> None:
    mira.write(tmp_path / "mira.persona")
    again = read(tmp_path / "mira.persona")
    assert memory_in(again).exchanges == memory_in(mira).exchanges
    assert again.packed() == mira.packed()
    line = [Turn("you", "do you have a pet, or a clock?")]
    one, other = (persona_on(loaded, each).reply(line, decoding=Greedy()) for each in (mira, again))
    assert one == other


def test_nothing_that_was_said_leaves_with_a_package_without_memory(mira: PersonaArtefact, tmp_path: Path) -> None:
    whole, alone = mira.packed(), mira.packed(with_memory=False)
    for exchange in memory_in(mira).exchanges:
        assert exchange.reply.text.encode() in whole
        assert exchange.reply.text.encode() not in alone
    (tmp_path / "alone.persona").write_bytes(alone)
    with zipfile.ZipFile(tmp_path / "alone.persona") as archive:
        assert not {EXCHANGES, CACHE} & set(archive.namelist())
    assert read(tmp_path / "alone.persona").memory is None


def test_a_damaged_memory_is_refused(mira: PersonaArtefact, tmp_path: Path) -> None:
    files = memory_in(mira).packed()
    for damage in ({EXCHANGES: b'{"dialogue": 1}\n'}, {EXCHANGES: b"\xff"}, {CACHE: files[CACHE][:-8]}):
        with pytest.raises(DataError):
            RememberedExchanges.read({**files, **damage}, tmp_path)
    content = mira.packed().replace(b"fern the goat", b"fern the boat")
    (tmp_path / "changed.persona").write_bytes(content)
    with pytest.raises(DataError):
        read(tmp_path / "changed.persona")


def test_what_is_forgotten_is_gone_from_the_cache_too(mira: PersonaArtefact) -> None:
    memory = memory_in(mira)
    less = memory.without({0, 2})
    assert [exchange.reply.text for exchange in less.exchanges] == ["tick tock, hello!", "fern the goat."]
    assert less.cache is not None
    assert less.places is not None
    assert memory.cache is not None
    assert memory.places is not None
    for new, old in ((0, 1), (1, 3)):
        assert torch.equal(less.cache.keys[less.places == new], memory.cache.keys[memory.places == old])
    assert set(less.places.tolist()) == {0, 1}
    assert memory.without({1, 2, 3}).cache is None


def test_what_is_redacted_is_gone_from_text_and_cache(mira: PersonaArtefact) -> None:
    memory, changed = memory_in(mira).rewritten(lambda text: text.replace("fern", "<pet>"))
    assert changed == 1
    assert memory.exchanges[-1].reply.text == "<pet> the goat."
    assert memory.places is not None
    assert set(memory.places.tolist()) == {1, 2}
    same, changed = memory_in(mira).rewritten(str)
    assert not changed
    assert same.packed() == memory_in(mira).packed()


def test_what_fits_is_read_before_the_line_within_the_budget(mira: PersonaArtefact, loaded: LoadedModel) -> None:
    persona = persona_on(loaded, mira)
    line = [Turn("you", "do you grow parsnips?")]
    spelled = loaded.encoder.tokenizer.decode(list(persona.prompt(line, 10).prefix))
    assert "parsnips, call" in spelled
    assert spelled.index("parsnips, call") < spelled.index("do you grow parsnips?")
    forgetful = persona.remembering(0)
    assert forgetful.cache is None
    plain = replace(persona, memory=None, cache=None)
    assert forgetful.prompt(line, 10) == plain.prompt(line, 10)
    assert len(persona.remembering(40).prompt(line, 10).prefix) <= len(plain.prompt(line, 10).prefix) + 40


def test_memory_asked_of_a_persona_without_says_how_to_get_one(mira: PersonaArtefact, loaded: LoadedModel) -> None:
    persona: Persona = persona_on(loaded, replace(mira, memory=None))
    with pytest.raises(ConfigError, match="no memory.*--remember"):
        persona.remembering(256)
    assert persona.remembering(0) == persona
    with pytest.raises(ConfigError, match="0 or more"):
        persona.remembering(-1)
