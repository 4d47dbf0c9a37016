"""Acceptance checks A6 and A7 of AR and AR+: the memory of a persona's pairs, and what it is asked."""

from dataclasses import replace

import pytest
import torch
from made_up import Toy
from small_routing import exchanges_of, routing
from torch import Tensor

from menura.batches.encode import EncodedExchange
from menura.batches.speaker_profile import Slots
from menura.batches.speaker_profile_batch import Profiles, asked_places
from menura.models.attention_routing.memory import Pairs, PersonaMemory, Query, as_tokens

CPU = torch.device("cpu")
WIDTH, WORDS, EXACT = 6, 20, {"rtol": 0.0, "atol": 1e-10}
PROFILE: Slots = ((2, (10, 11)), (3, (12,)), (4, (13, 14, 15)))


def numbers(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def memory(hops: int = 3, *, amplified: bool = False, layer_wise: bool = False) -> PersonaMemory:
    made = PersonaMemory(WORDS, WIDTH, hops, amplified=amplified, layer_wise=layer_wise).double()
    with torch.no_grad():
        for seed, table in enumerate(made.tables):
            table.weight.copy_(numbers(WORDS, WIDTH, seed=seed))  # type: ignore[union-attr,operator]  # an embedding's
            table.weight[0] = 0  # type: ignore[union-attr,index,operator]  # the same
    return made


@torch.no_grad()
def found_by(made: PersonaMemory, *profiles: Slots, asked: Tensor, places: Tensor | None = None) -> Tensor:
    """Return what is found (R, D) where one context (S, D) asks of each of some profiles."""
    rows = len(profiles)
    if places is None:
        places = torch.arange(1, len(asked) + 1)
    query = Query(places.expand(rows, -1))
    return made(Pairs.of(profiles, CPU), torch.arange(rows), query, asked.expand(rows, -1, -1))[0]


def weights(count: int) -> Tensor:
    """Return l_jk (J, D), each number by itself."""
    return torch.tensor(
        [
            [(1 - j / count) - (k / WIDTH) * (1 - 2 * j / count) for k in range(1, WIDTH + 1)]
            for j in range(1, count + 1)
        ],
        dtype=torch.float64,
    )


# A6


@pytest.mark.parametrize("count", [1, 2, 7, 105])
def test_a6_the_columns_of_the_position_encoding_sum_up_as_they_should(count: int) -> None:
    query = Query(torch.arange(1, count + 1)[None])
    ones = torch.ones(1, count, WIDTH, dtype=torch.float64)
    wanted = torch.tensor([(count - 1) / 2 + k / WIDTH for k in range(1, WIDTH + 1)], dtype=torch.float64)
    torch.testing.assert_close(query.pooled(ones)[0], wanted, **EXACT)
    torch.testing.assert_close(query.sums(ones)[0], wanted, **EXACT)
    asked = numbers(count, WIDTH)
    torch.testing.assert_close(query.pooled(asked[None])[0], (weights(count) * asked).sum(0), **EXACT)


@pytest.mark.parametrize("amplified", [False, True])
@torch.no_grad()
def test_a6_hops_address_by_key_and_value_and_go_on_from_what_they_found(*, amplified: bool) -> None:
    made, asked = memory(amplified=amplified), numbers(5, WIDTH, seed=9)
    tables = [numbers(WORDS, WIDTH, seed=seed) for seed in range(4)]
    assert len(made.tables) == 4
    first = u = (weights(5) * asked).sum(0)
    for hop in range(3):
        addressed, read = tables[hop], tables[hop + 1]  # A_{k+1} is C_k
        m = torch.stack([addressed[key] + addressed[list(value)].mean(0) for key, value in PROFILE])
        c = torch.stack([read[list(value)].mean(0) for _, value in PROFILE])
        o = (m @ u).softmax(0) @ c
        amplifies = 2.0 + torch.arange(1, WIDTH + 1) / WIDTH if amplified else 1.0  # (J − 1)/2 + k/D
        u = u + amplifies * o
    torch.testing.assert_close(found_by(made, PROFILE, asked=asked)[0], o if amplified else u - first, **EXACT)


@pytest.mark.parametrize("hops", [1, 3])
@torch.no_grad()
def test_hops_that_are_tied_layer_wise_address_one_table_and_read_another(hops: int) -> None:
    made, asked = memory(hops, layer_wise=True), numbers(5, WIDTH, seed=9)
    addressed, read = (numbers(WORDS, WIDTH, seed=seed) for seed in range(2))
    assert len(made.tables) == 2
    assert made.onward is not None
    w = numbers(WIDTH, WIDTH, seed=7)
    made.onward.weight.copy_(w)
    m = torch.stack([addressed[key] + addressed[list(value)].mean(0) for key, value in PROFILE])
    c = torch.stack([read[list(value)].mean(0) for _, value in PROFILE])
    u = (weights(5) * asked).sum(0)
    for _ in range(hops):
        o = (m @ u).softmax(0) @ c
        u = w @ u + o
    torch.testing.assert_close(found_by(made, PROFILE, asked=asked)[0], o, **EXACT)


@torch.no_grad()
def test_a6_the_release_adds_what_it_found_to_each_place_and_pools_again() -> None:
    asked, table = numbers(5, WIDTH, seed=9), memory(2, amplified=True)
    one = memory(1, amplified=True)
    o = found_by(one, PROFILE, asked=asked)[0]
    second = PersonaMemory(WORDS, WIDTH, 1, amplified=True).double()
    for to, by in zip(second.tables, list(table.tables)[1:], strict=True):
        to.load_state_dict(by.state_dict())
    wanted = found_by(second, PROFILE, asked=asked + o)
    torch.testing.assert_close(found_by(table, PROFILE, asked=asked), wanted, **EXACT)


def test_a6_the_order_of_pairs_and_padding_change_nothing() -> None:
    made, asked = memory(), numbers(5, WIDTH, seed=9)
    wanted = found_by(made, PROFILE, asked=asked)[0]
    torch.testing.assert_close(found_by(made, PROFILE[::-1], asked=asked)[0], wanted, **EXACT)
    long: Slots = (*PROFILE, (5, (16, 17, 18, 19)), (2, (9,)))
    torch.testing.assert_close(found_by(made, long, PROFILE, asked=asked)[1], wanted, **EXACT)
    around = torch.cat([numbers(3, WIDTH, seed=3), asked, numbers(2, WIDTH, seed=4)])
    places = torch.tensor([0, 0, 0, 1, 2, 3, 4, 5, 0, 0])
    torch.testing.assert_close(found_by(made, PROFILE, asked=around, places=places)[0], wanted, **EXACT)


def test_a6_keys_and_values_are_not_the_same_thing() -> None:
    made, asked = memory(), numbers(5, WIDTH, seed=9)
    swapped: Slots = ((10, (2,)), (12, (3,)))
    straight: Slots = ((2, (10,)), (3, (12,)))
    found, other = found_by(made, straight, asked=asked), found_by(made, swapped, asked=asked)
    assert float((found - other).abs().max()) > 1e-3


def test_a6_a_single_slot_is_given_whatever_was_asked() -> None:
    made = memory(1)
    value = numbers(WORDS, WIDTH, seed=1)[[13, 14]].mean(0)
    for seed in (5, 6):
        found = found_by(made, ((4, (13, 14)),), asked=numbers(5, WIDTH, seed=seed))[0]
        torch.testing.assert_close(found, value, **EXACT)


@pytest.mark.parametrize("layer_wise", [False, True])
def test_a6_of_nothing_nothing_is_found(*, layer_wise: bool) -> None:
    made, asked = memory(layer_wise=layer_wise), numbers(5, WIDTH, seed=9)
    for profiles in [((),), ((), PROFILE)]:
        assert not found_by(made, *profiles, asked=asked)[0].any()


@torch.no_grad()
def test_a6_one_who_says_nothing_asks_nothing() -> None:
    for amplified in (False, True):
        made = memory(amplified=amplified)
        silent = found_by(made, PROFILE, asked=torch.zeros(0, WIDTH, dtype=torch.float64))
        padded = found_by(made, PROFILE, asked=numbers(4, WIDTH), places=torch.zeros(4, dtype=torch.long))
        assert silent.isfinite().all()
        torch.testing.assert_close(silent, padded, **EXACT)


def test_a6_in_the_release_each_token_is_a_slot_and_keys_are_too() -> None:
    assert as_tokens(PROFILE[:2]) == ((0, (2,)), (0, (10,)), (0, (11,)), (0, (3,)), (0, (12,)))


# A7

SEP, OPENS = 4, 2
POSTS = EncodedExchange(
    "p", "d", (), (1, 2, SEP, 3, 4, SEP, 5, 6, SEP, OPENS), (9,), turns=((False, 3), (True, 3), (False, 3))
)


def asked_of(exchange: EncodedExchange, *, whole: bool) -> list[int]:
    (places,) = asked_places([exchange], whole=whole).tolist()
    chosen = [(place, token) for place, token in zip(places, exchange.context, strict=False) if place]
    assert [place for place, _ in chosen] == list(range(1, len(chosen) + 1))
    return [token for _, token in chosen]


def test_a7_the_memory_is_asked_by_what_was_said_last() -> None:
    assert asked_of(POSTS, whole=False) == [5, 6]
    # The release looks for a separator from the end and finds the one that stands there.
    assert asked_of(POSTS, whole=True) == [1, 2, SEP, 3, 4, SEP, 5, 6]


def test_a7_of_contexts_of_unequal_length_each_asks_its_own() -> None:
    short = replace(POSTS, context=(7, SEP, OPENS), turns=((False, 2),))
    empty = replace(POSTS, context=(OPENS,), turns=())
    silent = replace(POSTS, context=(5, SEP, SEP, OPENS), turns=((True, 2), (False, 1)))
    found = asked_places([POSTS, short, empty, silent], whole=False).tolist()
    assert found == [[0] * 6 + [1, 2, 0], [1, 0] + [0] * 7, [0] * 9, [0] * 9]


def test_a7_in_a_batch_of_three_each_speaker_has_the_own_profile() -> None:
    """The release mixes them up, for all but the smallest batch."""
    people: list[Slots] = [((2, (10 + number,)),) for number in range(6)]
    rows = [replace(POSTS, profiles=(people[2 * b], people[2 * b + 1]), turn_profiles=(1, 0, 1)) for b in range(3)]
    profiles = Profiles.of(rows, CPU)
    assert [profiles.different[place] for place in profiles.own.tolist()] == [people[0], people[2], people[4]]
    for b, row in enumerate(rows):
        told = [profiles.different[number - 1] for number in profiles.by_token(b, row)]
        assert told == [people[2 * b + 1]] * 3 + [people[2 * b]] * 3 + [people[2 * b + 1]] * 3


def test_a7_what_the_partner_is_changes_who_the_partners_words_are_of() -> None:
    toy: Toy = routing()
    row = exchanges_of(toy)[2]
    other = replace(row, profiles=(row.profiles[0], ((2, (3,)),)))
    mine = replace(row, profiles=(((2, (3,)),), row.profiles[1]))
    model = toy.model
    with torch.no_grad():
        together = model.loss(model.batch([row, other, mine])).nll
        alone = torch.cat([model.loss(model.batch([each])).nll for each in (row, other, mine)])
    torch.testing.assert_close(together, alone, rtol=1e-10, atol=0)
    assert len(set(together.tolist())) == 3
