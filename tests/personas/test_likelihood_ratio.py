"""Of several replies the one is chosen that the persona makes likelier than the un-adapted model does."""

from dataclasses import replace

import pytest
import torch
from made_up import SUPPORT

from menura.adaptation.finetune import Finetune
from menura.adaptation.inner_loop import InnerLoop
from menura.adaptation.weights import swapped_weights
from menura.api.agent import Model, Persona, persona_on
from menura.decoding.candidates import Ranking
from menura.errors import ConfigError
from menura.models.causal_lm.config import CausalLmConfig
from menura.models.layers.adapters import Adapters
from menura.personas.adapt_persona import adapt_persona, encoded
from menura.personas.likelihood_ratio import likelihood_ratio, weights_now
from menura.personas.remembering import remembering
from menura.personas.selection import Selection
from menura.registry import load_model
from menura.tasks.task import Task

BY_PERSONA = Ranking("persona")
LINE = "what is that noise?"


@pytest.fixture(scope="module")
def persona() -> Persona:
    loaded = load_model(CausalLmConfig("tiny", adapters=Adapters("lora", rank=2, layers=1)))
    selection = Selection.first_of(Task("mira", SUPPORT), 2)
    support = encoded(loaded, selection.support, "mira")
    artefact = adapt_persona(loaded, Finetune(InnerLoop(lr=0.1, epochs=6)), selection, name="mira", support=support)
    return persona_on(loaded, remembering(loaded, artefact, (), support))


def test_the_score_is_the_difference_of_log_likelihoods_per_token(persona: Persona) -> None:
    model, encoder = persona.loaded.model, persona.loaded.encoder
    bare = replace(persona, memory=None, cache=None)
    prompt, plain = (agent.prompt(LINE, 60) for agent in (persona, bare))
    assert len(prompt.prefix) > len(plain.prefix), "something is recalled"
    replies = [encoder.reply_ids(text) for text in ("my clocks, all forty.", "no idea.")]
    own, anybodys = (model.batch([replace(context, reply=reply) for reply in replies]) for context in (prompt, plain))
    rank = likelihood_ratio(model, weights_now(model, persona.weights), plain)
    with torch.no_grad():
        with swapped_weights(model, persona.weights), model.using_cache(persona.cache):
            under_persona, scores = model.loss(own).nll, rank(own)
        wanted = (model.loss(anybodys).nll - under_persona) / own.reply_lengths
    torch.testing.assert_close(scores, wanted, rtol=1e-4, atol=1e-4)
    assert scores[0] > scores[1], "what the person said is the persona's rather than anybody's"


def test_the_candidate_with_the_highest_ratio_is_chosen(persona: Persona) -> None:
    found = persona.candidates(LINE, 6, ranking=BY_PERSONA, max_new_tokens=30, seed=3)
    ended = [one.score for one in found]
    assert len(set(ended)) > 1
    assert found[0].score == max(ended)


def test_the_model_is_as_it_was_afterwards(persona: Persona) -> None:
    before = {name: value.clone() for name, value in persona.loaded.model.named_parameters()}
    persona.candidates(LINE, 2, ranking=BY_PERSONA, max_new_tokens=5)
    assert all(torch.equal(before[name], value) for name, value in persona.loaded.model.named_parameters())


def test_personas_are_ranked_so_unless_asked_otherwise_and_a_model_alone_cannot_be(persona: Persona) -> None:
    assert persona.usual_ranking == "persona"
    alone = Model(persona.loaded)
    assert alone.usual_ranking == "lm-norm"
    with pytest.raises(ConfigError, match="un-adapted model.*lm-norm"):
        alone.candidates(LINE, 2, ranking=BY_PERSONA)
