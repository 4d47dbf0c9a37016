import pytest
import torch
from made_up import QUERY, SUPPORT, VARIANTS, Toy, assert_same_bits, snapshot

from menura.adaptation.alternating import Alternating, HasPhases
from menura.adaptation.finetune import PretrainOnly
from menura.adaptation.inner_loop import InnerLoop
from menura.adaptation.weights import adaptable_parameters, loss_with
from menura.batches.encode import EncodedEpisode
from menura.errors import ConfigError


def given() -> tuple[Toy, EncodedEpisode]:
    toy = VARIANTS["ivae-mi"].toy(double=True)
    return toy, EncodedEpisode("mira", toy.dialogues(SUPPORT), toy.dialogues(QUERY))


def test_a_step_reconstructs_then_generates_then_judges_five_times() -> None:
    toy, episode = given()
    method = Alternating(generator_lr_scale=0.5, critic_lr_scale=0.1)
    assert isinstance(method, HasPhases)
    assert not isinstance(PretrainOnly(), HasPhases)
    turns = list(method.phases())
    assert [turn.lr_scale for turn in turns] == [0.5, *[0.1] * 5]
    told = [set(turn.objective(toy.model, episode, 0.0).parts) for turn in turns]
    assert told == [{"kl_generator"}, *[{"kl_critic"}] * 5]
    assert not method.objective(toy.model, episode, 0.0).parts


def test_what_is_drawn_changes_with_progress_and_turn_but_not_with_what_was_drawn_before() -> None:
    toy, episode = given()
    method = Alternating(critic_steps=2)
    before = snapshot(toy.model)

    def totals(progress: float) -> list[float]:
        objectives = [method.objective, *(turn.objective for turn in method.phases())]
        return [objective(toy.model, episode, progress).total.item() for objective in objectives]

    first, other = totals(0.25), totals(0.5)
    assert totals(0.25) == first
    assert all(one != two for one, two in zip(first, other, strict=True))
    assert first[2] != first[3], "two turns of the critic draw anew"
    assert_same_bits(toy.model, before, "a turn")


def test_the_critic_learns_to_tell_and_the_generators_to_hide() -> None:
    toy, episode = given()
    method = Alternating()
    optimizer = torch.optim.Adam(list(adaptable_parameters(toy.model).values()), lr=1e-2)

    def go(turn: int, steps: int) -> list[float]:
        """Take some steps of one turn; return its estimates of the divergence."""
        found = []
        for step in range(steps):
            optimizer.zero_grad()
            loss = list(method.phases())[turn].objective(toy.model, episode, step / 1000)
            loss.total.backward()
            optimizer.step()
            found.append(float(*loss.parts.values()))
        return found

    told = go(1, 60)
    assert sum(told[-20:]) > sum(told[:20]) + 10
    hidden = go(0, 60)
    assert sum(hidden[-20:]) < sum(hidden[:20]) - 10


def test_a_persona_is_learnt_by_the_mixture() -> None:
    toy, episode = given()
    support = toy.batch(SUPPORT)
    weights = Alternating(InnerLoop(lr=0.05, epochs=4, batch_size=2)).adapt(toy.model, episode.support)
    before, after = (loss_with(toy.model, w, support).total.item() for w in ({}, weights))
    assert after < before - 0.01


def test_a_model_that_does_not_learn_in_turns_is_refused() -> None:
    with pytest.raises(ConfigError, match="Seq2Seq does not learn in turns"):
        Alternating().attach(VARIANTS["seq2seq"].toy().model)
    Alternating().attach(VARIANTS["ivae-mi"].toy().model)


@pytest.mark.parametrize(
    "settings", [{"critic_steps": 0}, {"generator_steps": 0}, {"critic_lr_scale": 0.0}, {"generator_lr_scale": -1}]
)
def test_turns_that_are_none_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"method.{next(iter(settings))}"):
        Alternating(**settings)  # type: ignore[arg-type]  # one of four numbers
