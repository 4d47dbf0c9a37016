from dataclasses import replace

import pytest
import torch
from made_up import FACTS, QUERY, SUPPORT, VARIANTS, Toy, part
from torch import Tensor, nn

from menura.adaptation.finetune import support_and_query_loss
from menura.adaptation.weights import adaptable_parameters
from menura.batches.encode import EncodedEpisode, EncodedExchange
from menura.errors import ConfigError
from menura.models.layers.transformer import Sizes
from menura.models.lic import Lic, LicConfig, LicState
from menura.registry import load_model

HEADS = 2


def exchanges_of(toy: Toy) -> list[EncodedExchange]:
    long = part("long", "one", "two", "three", "four", "five", "six", facts=FACTS)
    return [exchange for dialogue in toy.dialogues((*SUPPORT, *QUERY, long)) for exchange in dialogue]


def lic(**settings: object) -> Toy:
    return replace(VARIANTS["lic"], settings=settings).toy(double=True)


def split_heads(x: Tensor) -> Tensor:
    return torch.stack(x.chunk(HEADS, -1))  # (H, tokens, d)


def looked(queries: Tensor, keys: Tensor, values: Tensor, *, causal: bool) -> Tensor:
    """Return (tokens, D) by softmax written out."""
    scores = split_heads(queries) @ split_heads(keys).transpose(1, 2) / (queries.shape[-1] / HEADS) ** 0.5
    if causal:
        scores = scores.masked_fill(torch.ones(scores.shape[1:]).triu(1).bool(), -torch.inf)
    return torch.cat(list(scores.softmax(-1) @ split_heads(values)), -1)


def layers(model: Lic, x: Tensor, memories: list[Tensor]) -> Tensor:
    """Return (tokens, D) above all layers: the same attention three times, its output averaged, then BERT's order."""
    for block in model.body.blocks:
        maps = [nn.functional.linear(one, block.qkv.weight, block.qkv.bias).chunk(3, -1) for one in (x, *memories)]
        found = [block.out(looked(maps[0][0], maps[0][1], maps[0][2], causal=True))]
        found += [block.out(looked(maps[0][0], keys, values, causal=False)) for _, keys, values in maps[1:]]
        x = block.attention_norm(x + torch.stack(found).mean(0))
        x = block.output_norm(x + block.outer(nn.functional.gelu(block.inner(x))))
    return x


def embedded(model: Lic, ids: list[int], roles: list[int]) -> Tensor:
    table, width = model.embeddings, model.embeddings.token.weight.shape[1]
    places = torch.arange(1, 1 + len(ids))
    return table.norm(table.token.weight[ids] * width**0.5 + table.role.weight[roles] + table.position.weight[places])


def by_hand(model: Lic, exchange: EncodedExchange) -> float:
    """Return the nats of one reply, an exchange at a time, nothing kept and nothing shared."""
    roles = [0 if own else 1 for own, count in exchange.turns for _ in range(count)]
    read = [(list(exchange.facts), [2] * len(exchange.facts)), (list(exchange.context[: len(roles)]), roles)]
    memories = [layers(model, embedded(model, *one), []) for one in read if one[0]]
    said = [exchange.prefix[-1], *exchange.reply[:-1]]
    states = layers(model, embedded(model, said, [0] * len(said)), memories)
    chances = (states @ model.embeddings.token.weight.T).log_softmax(-1)
    return -float(sum(chances[place, token] for place, token in enumerate(exchange.reply)))


def test_the_loss_is_that_of_the_mean_of_three_attentions_written_out() -> None:
    toy = lic()
    rows = exchanges_of(toy)
    bare = replace(rows[0], context=rows[0].context[-1:], turns=(), facts=())
    no_history = replace(bare, facts=rows[0].facts)
    with torch.no_grad():
        found = toy.model.loss(toy.model.batch([*rows, bare, no_history])).nll.tolist()
        wanted = [by_hand(toy.model, row) for row in (*rows, bare, no_history)]
    assert any(row.facts and row.turns for row in rows)
    assert any(row.turns and not row.facts for row in rows)
    assert found == pytest.approx(wanted, rel=1e-10)


def test_what_is_read_sees_nothing_to_its_right() -> None:
    """The quirk of the published program, which lets weights of a language model read."""
    toy = lic()
    row = exchanges_of(toy)[-1]
    changed = replace(row, context=(*row.context[:-3], 70, *row.context[-2:]))
    with torch.no_grad():
        one, other = (toy.model._read([each])[1] for each in (row, changed))
    assert torch.equal(one.states[:, : row.turns[0][1]], other.states[:, : row.turns[0][1]])
    assert not torch.equal(one.states, other.states)


def test_contexts_that_begin_alike_are_read_once() -> None:
    toy = lic()
    (dialogue,) = toy.dialogues((part("d", *(f"{n} is a line" for n in range(8)), facts=FACTS),))
    state = toy.model.prefill(toy.model.batch(dialogue))
    assert isinstance(state, LicState)
    assert [memory.kept[0][0].shape[0] for memory in state.memories] == [1, 1]
    assert [memory.row.tolist() for memory in state.memories] == [[0] * 4] * 2


def test_encoder_and_decoder_are_the_same_weights() -> None:
    toy = lic()
    names = {name.partition(".")[0] for name, _ in toy.model.named_parameters()}
    assert names == {"embeddings", "body"}
    states = []
    with torch.no_grad():
        for _ in range(2):
            batch = toy.model.batch(exchanges_of(toy))
            states.append((toy.model.prefill(batch).memories[1].kept[-1][0], toy.model.loss(batch).nll))
            toy.model.body.blocks[0].inner.weight[0] += 1.0
    assert not torch.equal(states[0][0], states[1][0])
    assert not torch.equal(states[0][1], states[1][1])


@pytest.mark.parametrize("head", ["tied", "bert_mlm"])
def test_every_weight_learns_but_the_rows_of_places_that_nothing_stands_at(head: str) -> None:
    toy = lic(lm_head=head)
    loss = toy.model.loss(toy.model.batch(exchanges_of(toy)))
    weights = adaptable_parameters(toy.model)
    gradients = dict(zip(weights, torch.autograd.grad(loss.total, list(weights.values())), strict=True))
    assert all(bool(gradient.any()) for gradient in gradients.values())
    assert not gradients["embeddings.position.weight"][0].any(), "place 0 is that of nothing"
    assert bool(gradients["embeddings.position.weight"][1].any())


def test_in_pooled_training_labels_are_smoothed_and_what_is_read_is_learnt_too() -> None:
    def totals(**settings: float) -> tuple[float, float, float]:
        toy = lic(dropout=0.0, **settings)
        episode = EncodedEpisode("mira", toy.dialogues(SUPPORT), toy.dialogues(QUERY))
        loss = support_and_query_loss(toy.model, episode)
        nll = loss.nll.sum().item() / loss.tokens.sum().item()
        return loss.total.item(), nll, float(loss.parts.get("reading", torch.tensor(0.0)))

    plain, nll, _ = totals(label_smoothing=0.0, lm_loss_weight=0.0)
    assert plain == pytest.approx(nll, rel=1e-12)
    total, same, reading = totals(label_smoothing=0.0, lm_loss_weight=0.5)
    assert same == pytest.approx(nll, rel=1e-12)
    assert total == pytest.approx(nll + 0.5 * reading, rel=1e-12)
    assert reading > 1
    assert totals(label_smoothing=0.1, lm_loss_weight=0.0)[0] > plain


def test_smoothing_is_the_librarys_own() -> None:
    toy = lic(dropout=0.0, label_smoothing=0.1, lm_loss_weight=0.0)
    batch = toy.model.batch(exchanges_of(toy)[:1])
    with torch.no_grad(), toy.model.dropout(0):
        found = toy.model.loss(batch).total.item()
    states, labels = [], batch.exchanges[0].reply
    with torch.no_grad():
        state, last = toy.model.prefill(batch), batch.prefix.ids[:, -1]
        for token in labels:
            scores, state = toy.model.step(state, last)
            states.append(scores[0])
            last = torch.tensor([token])
    wanted = nn.functional.cross_entropy(torch.stack(states), torch.tensor(labels), label_smoothing=0.1)
    assert found == pytest.approx(wanted.item(), rel=1e-10)


def test_units_are_left_out_only_in_pooled_training_and_the_same_ones_for_the_same_episode() -> None:
    toy = lic(label_smoothing=0.0, lm_loss_weight=0.0)
    episode = EncodedEpisode("mira", toy.dialogues(SUPPORT), toy.dialogues(QUERY))
    before = torch.get_rng_state()
    first, again = (support_and_query_loss(toy.model, episode).total.item() for _ in range(2))
    assert first == again
    assert torch.equal(before, torch.get_rng_state())
    plain = toy.model.loss(toy.model.batch([e for d in episode.support + episode.query for e in d])).total.item()
    assert plain != first
    assert not toy.model.training


def test_rows_that_were_chosen_share_what_was_read() -> None:
    toy = lic()
    batch = toy.model.batch(exchanges_of(toy))
    state = toy.model.prefill(batch)
    chosen = toy.model.reorder_cache(state, torch.tensor([1, 1, 0]))
    assert chosen.memories[1].kept is state.memories[1].kept


def test_a_run_says_no_token_of_control_but_the_end() -> None:
    loaded = load_model(
        LicConfig(base="tiny", init="random", hidden_size=16, num_layers=1, num_heads=2, intermediate_size=16)
    )
    model = loaded.model
    assert isinstance(model, Lic)
    assert loaded.encoder.chat_format.end not in model.suppress_ids
    assert loaded.encoder.chat_format.reply_open[0] in model.suppress_ids
    assert model.embeddings.scale == 4.0


def test_with_a_bases_weights_its_table_stands_as_it_was_trained() -> None:
    model = Lic(LicConfig(), Sizes(7, 8, 1, 2, 8, 16))
    assert model.embeddings.scale == 1.0


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"num_layers": -1}, "model.num_layers"),
        ({"max_length": 3}, "model.max_length"),
        ({"label_smoothing": 1.0}, "model.label_smoothing"),
        ({"lm_loss_weight": -0.5}, "model.lm_loss_weight"),
        ({"hidden_size": 12}, "model.hidden_size"),
    ],
)
def test_settings_that_make_no_network_are_refused(settings: dict[str, float], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        LicConfig(**settings)  # type: ignore[arg-type]  # a number each
