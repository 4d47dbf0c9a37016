from collections.abc import Sequence

import pytest
import torch
from made_up import QUERY, SUPPORT, VARIANTS, Voice, part
from torch import Tensor

from menura.adaptation.weights import adaptable, holding
from menura.decoding.choice import Greedy
from menura.decoding.generate import generate
from menura.errors import ConfigError, MismatchError
from menura.models.parts.bank import Bank
from menura.models.parts.lean import NetworkReading

KINDS = ["houlsby", "houlsby-upper", "lora", "ia3", "gpt2-houlsby", "gpt2-lora", "gpt2-ia3"]
PARTS = (*SUPPORT, *QUERY, part("x", "a very long thing to say about goats", "no", "why?", "because"))
WHOSE = (2, 0, 0, 1, 2, 1, 1)  # of the seven exchanges in PARTS

Personas = list[dict[str, Tensor]]


def personas(voice: Voice, count: int = 3) -> Personas:
    """Make weights far enough apart that each persona says something else."""
    stream = torch.Generator().manual_seed(11)
    return [
        {
            n: v.detach() + 0.5 * torch.randn(v.shape, generator=stream).to(v.dtype)
            for n, v in adaptable(voice.model).items()
        }
        for _ in range(count)
    ]


def apart(voice: Voice, spoken: Personas, whose: Sequence[int]) -> list[list[int]]:
    """Let one row after the other speak, its persona held in the model."""
    replies = []
    for exchange, persona in zip(voice.batch(PARTS).exchanges, whose, strict=True):
        with holding(voice.model, spoken[persona]):
            one = voice.model.batch([exchange])
            replies += generate(voice.model, one, Greedy(), end=voice.end, limit=10, seeds=[0])
    return replies


def together(voice: Voice, bank: Bank, whose: Sequence[int]) -> list[list[int]]:
    batch = voice.batch(PARTS)
    with voice.model.speaking_as(bank, whose):
        return generate(voice.model, batch, Greedy(), end=voice.end, limit=10, seeds=range(len(batch)))


@pytest.mark.parametrize("own_network", [False, True], ids=["lean", "fallback"])
@pytest.mark.parametrize("name", KINDS)
def test_personas_in_one_batch_say_what_each_says_alone(name: str, *, own_network: bool) -> None:
    voice = VARIANTS[name].voice(double=True)
    if own_network:
        voice.model._reading = NetworkReading(voice.model.network, voice.model._blocks, voice.model._first)
    spoken = personas(voice)
    wanted = apart(voice, spoken, WHOSE)
    assert together(voice, Bank.of(spoken), WHOSE) == wanted
    assert apart(voice, spoken, (0,) * len(WHOSE)) != wanted, "personas that say the same would show nothing"


@pytest.mark.parametrize("name", KINDS)
def test_personas_in_one_batch_have_the_log_probabilities_they_have_alone(name: str) -> None:
    voice = VARIANTS[name].voice()
    spoken, batch = personas(voice), voice.batch(PARTS)
    chosen = torch.tensor([5, 1, 1, 0])
    with torch.no_grad(), voice.model.speaking_as(Bank.of(spoken), WHOSE):
        log_probs, state = voice.model.advance(voice.model.begin(batch), batch.prefix.ids[:, -1])
        later, _ = voice.model.advance(voice.model.select_rows(state, chosen), torch.tensor([70, 71, 72, 73]))
    for row, persona in enumerate(WHOSE):
        with torch.no_grad(), holding(voice.model, spoken[persona]):
            one = voice.model.batch([batch.exchanges[row]])
            wanted, state = voice.model.advance(voice.model.begin(one), one.prefix.ids[:, -1])
            assert torch.allclose(log_probs[row], wanted[0], atol=1e-5)
            for place in (chosen == row).nonzero()[:, 0].tolist():
                one_state = voice.model.select_rows(state, torch.tensor([0]))
                wanted, _ = voice.model.advance(one_state, torch.tensor([70 + place]))
                assert torch.allclose(later[place], wanted[0], atol=1e-5)


def test_a_parameter_in_which_personas_do_not_differ_is_the_models_own() -> None:
    voice = VARIANTS["houlsby"].voice(double=True)
    spoken = [{n: v for n, v in weights.items() if n.endswith("up.bias")} for weights in personas(voice)]
    assert together(voice, Bank.of(spoken), WHOSE) == apart(voice, spoken, WHOSE)


@pytest.mark.parametrize("whose", [range(7), (6, 5, 4, 3, 2, 1, 0), (0, 1, 2, 3, 4, 5, 5)], ids=["all", "back", "most"])
def test_a_bank_is_copied_only_where_its_personas_do_not_speak_in_its_order(whose: Sequence[int]) -> None:
    voice = VARIANTS["gpt2-lora"].voice(double=True)
    spoken, batch = personas(voice, 7), voice.batch(PARTS)
    bank = Bank.of(spoken)
    assert together(voice, bank, whose) == apart(voice, spoken, whose)
    with torch.no_grad(), voice.model.speaking_as(bank, whose):
        voice.model.begin(batch)
        held = voice.model._speaking._gathered
        shared = [held[name].data_ptr() == bank.stacked[name].data_ptr() for name in held]
    assert set(shared) == {list(whose) == list(range(7))}


@pytest.mark.parametrize("name", KINDS)
def test_personas_begin_to_scores_as_they_begin_and_step(name: str) -> None:
    voice = VARIANTS[name].voice(double=True)
    bank, whole = Bank.of(personas(voice)), voice.batch(PARTS)
    even = voice.model.batch([whole.exchanges[2]] * len(whole))
    for batch in (whole, even):
        with torch.no_grad(), voice.model.speaking_as(bank, WHOSE):
            wanted, _ = voice.model.advance(voice.model.begin(batch), batch.prefix.ids[:, -1])
            scores, _ = voice.model.begin_to_scores(batch)
        assert torch.allclose(scores.log_softmax(-1), wanted, rtol=0, atol=1e-12)


def test_the_model_is_itself_again_after_a_bank_spoke() -> None:
    voice = VARIANTS["houlsby"].voice()
    before = {name: value.clone() for name, value in voice.model.state_dict().items()}
    wanted = voice.model.loss(voice.batch(PARTS)).nats
    bank = Bank.of(personas(voice))
    together(voice, bank, WHOSE)
    with pytest.raises(ZeroDivisionError), voice.model.speaking_as(bank, WHOSE):
        _ = 1 / 0
    assert torch.equal(voice.model.loss(voice.batch(PARTS)).nats, wanted)
    assert all(torch.equal(value, before[name]) for name, value in voice.model.state_dict().items())


def test_a_bank_that_does_not_fit_is_refused() -> None:
    voice = VARIANTS["houlsby"].voice()
    spoken = personas(voice)
    with pytest.raises(MismatchError, match="persona 1 and persona 0 do not have the same weights: adapters"):
        Bank.of([spoken[0], dict(list(spoken[1].items())[1:])])
    for name, value in {"adapters.0.attention.up.bias": torch.zeros(3), "network.x": torch.zeros(3)}.items():
        with pytest.raises(MismatchError, match=name), voice.model.speaking_as(Bank.of([{name: value}]), [0]):
            pass
    prompt = VARIANTS["prompt"].voice()
    with pytest.raises(ConfigError, match="PromptVectors: cannot speak as several"):
        together(prompt, Bank.of(personas(prompt)), WHOSE)
    assert len(Bank.of(spoken)) == 3


def test_what_cannot_be_done_as_several_personas_is_not_done_as_none() -> None:
    voice = VARIANTS["houlsby"].voice()
    bank, batch = Bank.of(personas(voice)), voice.batch(PARTS)
    with voice.model.speaking_as(bank, WHOSE):
        state = voice.model.begin(batch)
        with pytest.raises(AssertionError, match="only begin and advance"):
            voice.model.loss(batch)
        with pytest.raises(AssertionError, match="1 rows are read, personas given for 7"):
            voice.model.begin(voice.model.batch(batch.exchanges[:1]))
    with pytest.raises(AssertionError, match="begun as several personas"):
        voice.model.advance(state, batch.prefix.ids[:, -1])
