from dataclasses import replace

import pytest
import torch
from made_up import FACTS, QUERY, SUPPORT, VARIANTS, Toy, part
from torch import Tensor, nn

from menura.adaptation.finetune import support_and_query_loss
from menura.adaptation.weights import adaptable_parameters
from menura.artefacts.loading import LoadOptions
from menura.artefacts.word_vocabulary import WordVocabulary
from menura.batches.encode import EncodedEpisode, EncodedExchange
from menura.decoding.beam import Beam
from menura.decoding.generate import generate
from menura.decoding.sampling import Greedy
from menura.models.recurrent.hierarchical import Hierarchical, HierarchicalConfig
from menura.models.recurrent.ivae_mi import IvaeMiConfig
from menura.models.recurrent.word_decoder import WordDecoderModel
from menura.registry import load_model

LONG = part("long", "one", "two", "three", "four", "five", "six", facts=FACTS)
BOTH = ["hierarchical", "ivae-mi"]


def exchanges_of(toy: Toy) -> list[EncodedExchange]:
    return [exchange for dialogue in toy.dialogues((*SUPPORT, *QUERY, LONG)) for exchange in dialogue]


def final(lstm: nn.Module, vectors: list[Tensor]) -> tuple[list[Tensor], Tensor]:
    """Return the top layer's states at each of some vectors, and the last one, by a loop of our own."""
    layer = vectors
    for cell in lstm.cells:
        hidden = memory = torch.zeros(6, dtype=torch.float64)
        out = []
        for vector in layer:
            i, f, g, o = (cell.given(vector) + cell.recurrent(hidden)).chunk(4)
            memory = f.sigmoid() * memory + i.sigmoid() * g.tanh()
            hidden = o.sigmoid() * memory.tanh()
            out.append(hidden)
        layer = out
    return layer, layer[-1] if layer else torch.zeros(6, dtype=torch.float64)


def attended(attention: nn.Module, question: Tensor, memory: list[Tensor]) -> Tensor:
    if not memory:
        return torch.zeros(6, dtype=torch.float64)
    scores = [attention.weighing((attention.asking(question) + attention.asked(one)).tanh()) for one in memory]
    return torch.stack([w * m for w, m in zip(torch.cat(scores).softmax(0), memory, strict=True)]).sum(0)


def by_hand(model: Hierarchical, exchange: EncodedExchange) -> float:
    """Return the nats of one reply, an exchange at a time and a step at a time."""
    table = model.decoder.embedding.weight
    turns, start = [], 0
    for _, count in exchange.turns:
        turns.append([table[token] for token in exchange.context[start : start + count]])
        start += count
    question = final(model.question, turns[-1] if turns else [])[1]
    said = [final(model.turn, words)[1] for words in turns[:-1]]
    memories = [final(model.history, said)[0], final(model.facts, [table[token] for token in exchange.facts])[0]]
    found = [attended(a, question, m) for a, m in zip((model.in_history, model.in_facts), memories, strict=True)]
    fusion = model.fusion
    scores = [fusion.weighing((fusion.asking(question) + fusion.asked[n](found[n])).tanh()) for n in range(2)]
    there = [n for n in range(2) if memories[n]]
    joined = torch.zeros(6, dtype=torch.float64)
    if there:
        weights = torch.cat([scores[n] for n in there]).softmax(0)
        joined = (
            torch.stack([w * fusion.mapped[n](found[n]) for w, n in zip(weights, there, strict=True)]).sum(0).tanh()
        )
    hidden, memory, word, nll = model.bridge(question).tanh(), torch.zeros(6).double(), exchange.prefix[-1], 0.0
    for token in exchange.reply:
        given = model.decoder.cell.given(torch.cat([table[word], question, joined]))
        i, f, g, o = (given + model.decoder.cell.recurrent(hidden)).chunk(4)
        memory = f.sigmoid() * memory + i.sigmoid() * g.tanh()
        hidden = o.sigmoid() * memory.tanh()
        nll -= float((table @ hidden + model.decoder.bias).log_softmax(0)[token])
        word = token
    return nll


def test_the_loss_is_that_of_the_formulas() -> None:
    toy = VARIANTS["hierarchical"].toy(double=True)
    rows = exchanges_of(toy)
    bare = replace(rows[0], context=rows[0].context[-1:], turns=(), facts=())
    assert any(row.facts and len(row.turns) > 2 for row in rows)
    with torch.no_grad():
        found = toy.model.loss(toy.model.batch([*rows, bare])).nll.tolist()
        wanted = [by_hand(toy.model, row) for row in [*rows, bare]]
    assert found == pytest.approx(wanted, rel=1e-10)


def test_every_weight_learns() -> None:
    toy = VARIANTS["hierarchical"].toy(double=True)
    loss = toy.model.loss(toy.model.batch(exchanges_of(toy)))
    gradients = torch.autograd.grad(loss.total, list(adaptable_parameters(toy.model).values()))
    assert all(bool(gradient.any()) for gradient in gradients)


def test_each_turn_is_read_once() -> None:
    toy = VARIANTS["hierarchical"].toy()
    (dialogue,) = toy.dialogues((part("d", *(f"{n} is a line" for n in range(12))),))
    read: list[int] = []
    toy.model.turn.register_forward_hook(lambda module, given, out: read.append(given[0].shape[1]))
    toy.model.loss(toy.model.batch(dialogue))
    assert read == [11], "twelve turns, the last of which is in no context"


@pytest.mark.parametrize("name", BOTH)
def test_no_reply_holds_what_is_never_to_be_said(name: str) -> None:
    toy = VARIANTS[name].toy(double=True)
    batch = toy.model.batch(exchanges_of(toy))

    def said(choice: Greedy | Beam) -> set[int]:
        replies = generate(toy.model, batch, choice, end=toy.end, max_new_tokens=8, seeds=range(len(batch)))
        return {token for reply in replies for token in reply}

    suppress_ids = said(Greedy()) | said(Beam(3))
    assert suppress_ids
    toy.model.suppress_ids = tuple(suppress_ids)
    assert (said(Greedy()) | said(Beam(3))).isdisjoint(suppress_ids)


@pytest.mark.parametrize("name", BOTH)
def test_units_are_left_out_only_in_pooled_training_and_the_same_ones_for_the_same_episode(name: str) -> None:
    toy = VARIANTS[name].toy()
    episode = EncodedEpisode("mira", toy.dialogues(SUPPORT), toy.dialogues(QUERY))
    before = torch.get_rng_state()
    first, again = (support_and_query_loss(toy.model, episode).total.item() for _ in range(2))
    assert first == again
    assert torch.equal(before, torch.get_rng_state())
    plain = toy.model.loss(toy.model.batch([e for d in episode.support + episode.query for e in d])).total.item()
    assert plain != first
    assert not toy.model.training


@pytest.mark.parametrize(
    "config", [HierarchicalConfig(hidden_size=6, num_layers=1), IvaeMiConfig(hidden_size=6, latent_size=3)]
)
def test_a_run_over_words_says_no_token_of_control_but_the_end_and_begins_at_known_vectors(
    config: HierarchicalConfig | IvaeMiConfig, tmp_path: object
) -> None:
    path = f"{tmp_path}/vectors.txt"
    with open(path, "w", encoding="utf-8") as file:
        file.write("b 1 2 3 4 5 6\n")
    model = load_model(replace(config, word_vectors=path), LoadOptions(vocabulary=WordVocabulary(("a", "b"), ()))).model
    assert isinstance(model, WordDecoderModel)
    assert model.suppress_ids == (0, 1, 3)
    assert model.decoder.embedding.weight[5].tolist() == [1, 2, 3, 4, 5, 6]
    assert model.decoder.embedding.weight[4].abs().max().item() < 0.1
