from dataclasses import replace

import pytest
import torch
from made_up import QUERY, SUPPORT, VARIANTS, Toy

from menura.adaptation.weights import swapped_weights
from menura.batches.batch import Batch
from menura.decoding.beam import Beam
from menura.decoding.candidates import RankedReply, Ranking, candidates
from menura.decoding.generate import generate
from menura.decoding.sampling import Greedy, Nucleus
from menura.errors import ConfigError
from menura.models.plato.model import Plato

PARTS = (*SUPPORT, *QUERY)
LIMIT = 12
BY_SELECTION = Ranking()


def found(toy: Toy, ranking: Ranking = BY_SELECTION, **options: object) -> list[list[RankedReply]]:
    prompts = [replace(exchange, reply=()) for exchange in toy.batch(PARTS).exchanges]
    settings = {"end": toy.end, "max_new_tokens": LIMIT, "seeds": range(len(prompts)), **options}
    return candidates(toy.model, prompts, settings.pop("choice", Greedy()), ranking, **settings)  # type: ignore[arg-type]


def plato(**settings: object) -> Toy:
    toy = replace(VARIANTS["plato"], settings=settings).toy(double=True)
    assert isinstance(toy.model, Plato)
    return toy


@pytest.mark.parametrize("visibility", ["response_only", "prefix"])
def test_each_candidate_is_what_its_latent_says_alone(visibility: str) -> None:
    toy = plato(visibility=visibility)
    for exchange, ranked in zip(toy.batch(PARTS).exchanges, found(toy), strict=True):
        prompt = toy.model.batch([replace(exchange, reply=())])
        assert sorted(one.latent for one in ranked) == list(range(toy.model.latents))
        for one in ranked:
            begun = toy.model.prefill_latents(prompt, [one.latent])
            alone = generate(toy.model, prompt, Greedy(), end=toy.end, max_new_tokens=LIMIT, seeds=[0], prefilled=begun)
            assert alone == [list(one.ids)]


def test_the_score_of_response_selection_is_that_of_the_pair() -> None:
    toy = plato()
    exchange, ranked = toy.batch(PARTS).exchanges[0], found(toy)[0]
    for one in ranked:
        pair = toy.model.batch([replace(exchange, reply=(*one.ids, toy.end))])
        assert one.score == pytest.approx(toy.model.reply_scores(pair).item(), abs=1e-10)
        assert one.coherence == one.score


def test_likelihood_is_that_under_the_candidates_own_latent() -> None:
    toy = plato()
    exchange = toy.batch(PARTS).exchanges[0]
    for by in ("lm", "lm-norm"):
        for one in found(toy, Ranking(by))[0]:
            told = toy.model.latent_nll(toy.model.batch([replace(exchange, reply=(*one.ids, toy.end))]))
            nll = told.nll[0, one.latent].item()
            assert one.nll == pytest.approx(nll, abs=1e-9)
            assert one.score == pytest.approx(-nll / (len(one.ids) + 1 if by == "lm-norm" else 1), abs=1e-9)


def test_the_mixture_ranks_by_what_all_latents_give_together() -> None:
    toy = plato()
    exchange = toy.batch(PARTS).exchanges[0]
    for one in found(toy, Ranking("mixture"))[0]:
        loss = toy.model.loss(toy.model.batch([replace(exchange, reply=(*one.ids, toy.end))]))
        assert one.score == pytest.approx(-loss.nll.item() / (len(one.ids) + 1), abs=1e-9)


def test_those_that_score_alike_stand_in_the_order_of_their_latents() -> None:
    toy = plato()
    alike = toy.model.latent.detach()[:1].expand_as(toy.model.latent).clone()
    with swapped_weights(toy.model, {"latent": alike}):
        ranked = found(toy)[0]
    assert [one.latent for one in ranked] == list(range(toy.model.latents))
    assert len({one.ids for one in ranked}) == 1


def test_whoever_never_ends_or_says_nothing_stands_last() -> None:
    toy = plato()
    for ranked in found(toy, rank=lambda spoken: torch.arange(len(spoken), dtype=torch.float64)):
        spoilt = [not one.ended or not one.ids for one in ranked]
        assert spoilt == sorted(spoilt)
        assert any(spoilt)


def test_a_reply_that_repeats_itself_stands_behind_one_that_does_not() -> None:
    toy = plato()
    for ranked in found(toy, Ranking(repeats=1), choice=Nucleus(0.9)):
        whole = [one for one in ranked if one.ended and one.ids]
        repeats = [len(set(one.ids)) < len(one.ids) for one in whole]
        assert repeats == sorted(repeats)


def test_a_ranker_of_ones_own_chooses() -> None:
    toy = plato()

    def shortest(spoken: Batch) -> torch.Tensor:
        return -spoken.reply_lengths.double()

    for ranked in found(toy, rank=shortest):
        lengths = [len(one.ids) for one in ranked if one.ended and one.ids]
        assert lengths == sorted(lengths)


def test_the_likeliest_latents_by_the_prior_can_be_taken_alone() -> None:
    toy = plato()
    exchange = toy.batch(PARTS).exchanges[0]
    log_prior = toy.model.latent_prior(toy.model.batch([exchange]))[0]
    assert {one.latent for one in found(toy, Ranking(top=2))[0]} == set(log_prior.topk(2).indices.tolist())


def test_neighbours_change_no_candidate() -> None:
    toy = plato()
    prompts = [replace(exchange, reply=()) for exchange in toy.batch(PARTS).exchanges]
    together = found(toy, choice=Nucleus(0.9))
    alone = candidates(toy.model, prompts[1:2], Nucleus(0.9), Ranking(), end=toy.end, max_new_tokens=LIMIT, seeds=[1])
    assert [one.ids for one in together[1]] == [one.ids for one in alone[0]]


def test_several_replies_of_a_latent_differ_where_they_are_drawn() -> None:
    ranked = found(plato(), Ranking(each=3), choice=Nucleus(1.0, 2.0))[0]
    own = [one.ids for one in ranked if one.latent == 0]
    assert len(own) == 3
    assert len(set(own)) > 1


def test_a_beam_gives_each_latent_its_best_reply() -> None:
    ranked = found(plato(), choice=Beam(3))[0]
    assert len(ranked) == 5


def test_a_model_without_latents_gives_replies_drawn_one_by_one() -> None:
    toy = plato(num_latents=0)
    ranked = found(toy, Ranking("lm-norm", each=4), choice=Nucleus(1.0))[0]
    assert [one.latent for one in ranked] == [None] * 4
    assert len({one.ids for one in ranked}) > 1


def test_ranking_by_selection_without_latents_is_refused_with_what_to_do() -> None:
    with pytest.raises(ConfigError, match="no response selection.*lm-norm"):
        found(plato(num_latents=0))


def test_ranking_by_likelihood_is_cautioned_against() -> None:
    assert "do not compare" in Ranking("lm").caution
    assert not Ranking("mixture").caution


@pytest.mark.parametrize("settings", [{"top": -1}, {"each": 0}, {"repeats": -1}])
def test_rankings_without_candidates_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        Ranking(**settings)  # type: ignore[arg-type]
