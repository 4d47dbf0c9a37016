from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from made_up import QUERY, SUPPORT, VARIANTS, part, stir
from torch import nn

from menura.adaptation.finetune import support_and_query_loss
from menura.adaptation.weights import adaptable_parameters
from menura.artefacts.loading import LoadOptions
from menura.artefacts.word_vocabulary import WordVocabulary
from menura.batches.encode import EncodedEpisode, EncodedExchange
from menura.decoding.beam import Beam
from menura.decoding.generate import Decoding, generate
from menura.decoding.sampling import Greedy, Nucleus
from menura.errors import ConfigError
from menura.models.catalogue import MODELS
from menura.models.recurrent.rnn import Lstm
from menura.models.recurrent.seq2seq import Seq2Seq, Seq2SeqConfig
from menura.models.recurrent.seq2spg import Seq2Spg, Seq2SpgConfig, private_sizes
from menura.models.recurrent.speaker import Speaker, SpeakerConfig
from menura.registry import load_model

OVER_WORDS = [name for name, variant in VARIANTS.items() if issubclass(MODELS[variant.model].model, Seq2Seq)]


def encoders(layers: int = 3) -> tuple[Lstm, nn.LSTM]:
    """Return ours and torch's own with the same weights, in float64."""
    torch.manual_seed(0)
    ours, theirs = Lstm(5, 7, layers, 0.0).double(), nn.LSTM(5, 7, layers).double()
    with torch.no_grad():
        for layer, cell in enumerate(ours.cells):
            for kind in ("weight", "bias"):
                getattr(theirs, f"{kind}_ih_l{layer}").copy_(getattr(cell.given, kind))
                getattr(theirs, f"{kind}_hh_l{layer}").copy_(getattr(cell.recurrent, kind))
    return ours, theirs


def test_the_encoder_is_torchs_own_lstm_at_every_end_of_rows_of_unequal_length() -> None:
    ours, theirs = encoders()
    rows = [torch.randn(length, 5).double() for length in (6, 4, 4, 1)]
    states, cells = ours(nn.utils.rnn.pad_sequence(rows))
    for place, row in enumerate(rows):
        for end in range(1, len(row) + 1):
            wanted, (_, cell) = theirs(row[:end])
            torch.testing.assert_close(states[:end, place], wanted, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(cells[end - 1, place], cell[-1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
def test_the_encoder_has_the_second_derivative_of_its_formulas(precision: torch.dtype) -> None:
    """In float32 the library takes another way than in float64."""
    ours, _ = encoders(2)
    inputs = torch.randn(4, 2, 5).double()
    wanted, found = (
        curvature(ours.to(kind), inputs.to(kind).requires_grad_(), run)
        for kind, run in ((torch.float64, by_steps), (precision, Lstm.__call__))
    )
    for one, other in zip(wanted, found, strict=True):
        torch.testing.assert_close(other.double(), one, rtol=1e-4 if precision == torch.float32 else 1e-11, atol=1e-7)


def curvature(
    model: Lstm, inputs: torch.Tensor, run: Callable[[Lstm, torch.Tensor], tuple[torch.Tensor, ...]]
) -> list[torch.Tensor]:
    """Return the gradient of the squared length of a gradient."""
    free = [inputs, *model.parameters()]
    states, cells = run(model, inputs)
    slope = torch.autograd.grad((states**2).sum() + (cells[-1] ** 3).sum(), free, create_graph=True)
    return list(torch.autograd.grad(torch.stack([(part**2).sum() for part in slope]).sum(), free))


def by_steps(model: Lstm, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Run the layers a step at a time."""
    states = inputs
    for cell in model.cells:
        hidden = memory = inputs.new_zeros((inputs.shape[1], 7))
        out, memories = [], []
        for now in states:
            hidden, memory = lstm(cell, now, hidden, memory)
            out.append(hidden)
            memories.append(memory)
        states = torch.stack(out)
    return states, torch.stack(memories)


def by_the_formulas(model: Seq2Seq, exchange: EncodedExchange) -> float:
    """Return the nats of one reply from the equations of spec 2.1 to 2.3, written for one exchange and a loop."""
    table = model.embedding.weight
    layers = [table[torch.tensor(exchange.prefix[:-1])]]
    for cell in model.encoder.cells:
        hidden = memory = table.new_zeros((1, table.shape[1]))
        out = []
        for word in layers[-1]:
            hidden, memory = lstm(cell, word[None], hidden, memory)
            out.append(hidden[0])
        layers.append(torch.stack(out))
    read = layers[-1]
    hidden = (model.bridge.weight @ read[-1] + model.bridge.bias).tanh()[None]
    nll, word = 0.0, exchange.prefix[-1]
    for token in exchange.reply:
        before, vector = hidden, table[word][None]
        speaker = [] if not isinstance(model, Speaker) else [model.users.weight[:1]]
        hidden, memory = lstm(model.decoder, torch.cat([vector, *speaker], -1), hidden, memory)
        weights = (read @ (model.asking.weight @ hidden[0])).softmax(0)
        hidden = (model.joining.weight @ torch.cat([weights @ read, hidden[0]])).tanh()[None]
        said = hidden if not isinstance(model, Seq2Spg) else gated(model, hidden, vector, before)
        nll -= float((table @ said[0] + model.bias).log_softmax(-1)[token])
        word = token
    return nll


def lstm(cell: nn.Module, word: torch.Tensor, hidden: torch.Tensor, memory: torch.Tensor) -> tuple[torch.Tensor, ...]:
    gates = cell.given(word) + cell.recurrent(hidden)
    i, f, g, o = gates.chunk(4, -1)
    memory = f.sigmoid() * memory + i.sigmoid() * g.tanh()
    return o.sigmoid() * memory.tanh(), memory


def gated(model: Seq2Spg, hidden: torch.Tensor, word: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    given = torch.cat([word, before], -1) if model.private[0].in_features == 2 * hidden.shape[1] else before
    for layer in list(model.private)[:-1]:
        given = layer(given).clamp(min=0)
    private = model.private[-1](given).tanh()
    gate, size = model.gate, hidden.shape[1]
    if gate.shared.in_features == 2 * size:
        both = torch.cat([hidden, private], -1)
        return gate.shared(both).tanh() * hidden + gate.private(both).tanh() * private
    summed = (gate.shared(hidden) + gate.private(private)).sigmoid()
    return (summed[:, :size] * hidden + summed[:, size:] * private).tanh()


@pytest.mark.parametrize("name", OVER_WORDS)
def test_the_loss_is_that_of_the_papers_formulas(name: str) -> None:
    toy = VARIANTS[name].toy(double=True)
    exchanges = [exchange for dialogue in toy.dialogues(SUPPORT + QUERY) for exchange in dialogue]
    with torch.no_grad():
        found = toy.model.loss(toy.model.batch(exchanges)).nll.tolist()
        wanted = [by_the_formulas(toy.model, exchange) for exchange in exchanges]
    assert found == pytest.approx(wanted, rel=1e-10)


@pytest.mark.parametrize("name", OVER_WORDS)
def test_a_reply_to_nothing_is_possible(name: str) -> None:
    toy = VARIANTS[name].toy(double=True)
    (exchange, *_) = toy.dialogues(SUPPORT)[0]
    alone = replace(exchange, context=exchange.context[-1:])
    nll = toy.model.loss(toy.model.batch([alone, exchange])).nll
    assert bool(torch.isfinite(nll).all())
    assert nll[0].item() == pytest.approx(toy.model.loss(toy.model.batch([alone])).nll.item(), rel=1e-12)


@pytest.mark.parametrize("name", OVER_WORDS)
def test_every_weight_learns(name: str) -> None:
    toy = VARIANTS[name].toy(double=True)
    loss = toy.model.loss(toy.batch(SUPPORT))
    gradients = torch.autograd.grad(loss.total, list(adaptable_parameters(toy.model).values()))
    assert all(bool(gradient.any()) for gradient in gradients)


def test_units_are_left_out_only_in_pooled_training_and_the_same_ones_for_the_same_episode() -> None:
    config = Seq2SeqConfig(263, hidden_size=8, num_layers=3, dropout=0.5)
    toy = VARIANTS["seq2seq"].toy()
    model = Seq2Seq(config).eval()
    stir(model, size=0.5)
    episode = EncodedEpisode("mira", toy.dialogues(SUPPORT), toy.dialogues(QUERY))
    before = torch.get_rng_state()
    first, again = (support_and_query_loss(model, episode).total.item() for _ in range(2))
    assert first == again
    assert torch.equal(before, torch.get_rng_state())
    plain = model.loss(model.batch([e for d in episode.support + episode.query for e in d])).total.item()
    assert plain != first
    assert not model.encoder.training


def test_a_speaker_who_was_trained_on_speaks_with_a_vector_of_its_own_and_all_others_share_one() -> None:
    toy = VARIANTS["speaker"].toy(double=True)
    (dialogue,) = toy.dialogues(SUPPORT[1:])
    known, *others = (replace(dialogue[0], persona_id=name) for name in ("mira", "bo", "cy"))
    nll = toy.model.loss(toy.model.batch([known, *others])).nll.tolist()
    assert nll[1] == nll[2]
    assert abs(nll[0] - nll[1]) > 1e-6


def test_the_gate_of_the_public_program_sees_nothing_of_a_private_module_that_says_nothing() -> None:
    """Spec B4: a last private layer of zeros gives m = 0, and nothing below it gets a gradient."""
    model = Seq2Spg(Seq2SpgConfig(263, hidden_size=6, num_layers=1, gate="repo")).eval()
    toy = VARIANTS["seq2spg"].toy()
    batch = toy.batch(SUPPORT)
    with torch.no_grad():
        model.private[-1].weight.zero_()
        model.private[-1].bias.zero_()
    assert not model.private(torch.randn(3, 12)).any()
    before = model.loss(batch).total
    gradients = torch.autograd.grad(before, lower(model))
    assert not any(bool(gradient.any()) for gradient in gradients)
    with torch.no_grad():
        model.private[0].weight += 1.0
    assert model.loss(batch).total.item() == before.item()


def lower(model: Seq2Spg) -> list[nn.Parameter]:
    return [parameter for layer in list(model.private)[:-1] for parameter in layer.parameters()]


@pytest.mark.parametrize(
    ("reads", "sizes"), [("word_and_state", (600, 600, 500, 400, 300)), ("state", (300, 300, 200, 100, 300))]
)
def test_the_private_module_has_the_papers_sizes(reads: str, sizes: tuple[int, ...]) -> None:
    assert private_sizes(300, reads) == sizes  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"hidden_size": 1}, "model.hidden_size"),
        ({"num_layers": 0}, "model.num_layers"),
        ({"dropout": 1.0}, "model.dropout"),
    ],
)
def test_sizes_that_make_no_network_are_refused(settings: dict[str, float], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        Seq2SeqConfig(10, **settings)  # type: ignore[arg-type]


def test_a_table_without_a_row_is_refused() -> None:
    with pytest.raises(ConfigError, match="model.num_users"):
        SpeakerConfig(10, num_users=0)


def test_contexts_of_one_dialogue_are_encoded_once() -> None:
    toy = VARIANTS["seq2seq"].toy()
    long = toy.batch([part("d", *(f"line {n}" for n in range(12)))])
    assert len(long) == 6
    assert len(long.source.rows) == 1
    assert long.source.padded.shape == (len(long.exchanges[-1].prefix) - 1, 1)


@pytest.mark.parametrize("choice", [Greedy(), Nucleus(1.0), Beam(4)], ids=lambda choice: choice.signature)
def test_no_reply_holds_what_is_never_to_be_said(choice: Decoding) -> None:
    toy = VARIANTS["seq2seq"].toy(double=True)
    batch = toy.batch((*SUPPORT, *QUERY))

    def said() -> set[int]:
        replies = generate(toy.model, batch, choice, end=toy.end, max_new_tokens=12, seeds=range(len(batch)))
        return {token for reply in replies for token in reply}

    suppress_ids = tuple(said())[:3]
    assert suppress_ids
    assert isinstance(toy.model, Seq2Seq)
    toy.model.suppress_ids = suppress_ids
    assert said().isdisjoint(suppress_ids)


def test_a_run_over_words_says_no_token_of_control_but_the_end() -> None:
    model = load_model(
        Seq2SeqConfig(hidden_size=4, num_layers=1), LoadOptions(vocabulary=WordVocabulary(("a", "b"), ()))
    ).model
    assert isinstance(model, Seq2Seq)
    assert model.suppress_ids == (0, 1, 3)
