from typing import Any

import pytest
import torch
from torch import Tensor

from menura.models.plato.shared_context import KeyValues, Owners, SharedPrefix

HEADS, WIDE = 2, 4
OWNERS = {
    "alike": [0, 0, 0, 1, 1, 1],
    "one each": [0, 1, 2],
    "ragged": [1, 0, 1, 1],
    "nobody reads one": [2, 0],
    "none": [],
}
every_owners = pytest.mark.parametrize("of", OWNERS.values(), ids=OWNERS.keys())


def drawn(*shape: int, seed: int, **about: Any) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64, **about)


def backbone_of(of: list[int], contexts: int, held: int, own: int) -> SharedPrefix:
    """Make contexts of 5 places, of which context b has only 5 − 2b, with ``own`` places of each row."""
    shut = torch.zeros(contexts, 1, 1, held)
    for number in range(contexts):
        shut[number, :, :, max(held - 2 * number, 0) :] = -torch.inf
    shared = (drawn(contexts, HEADS, held, WIDE, seed=1), drawn(contexts, HEADS, held, WIDE, seed=2))
    mine = (drawn(len(of), HEADS, own, WIDE, seed=3), drawn(len(of), HEADS, own, WIDE, seed=4))
    return SharedPrefix((shared,), shut.double(), Owners(torch.tensor(of, dtype=torch.long), contexts), (mine,))


def attended(reading: SharedPrefix, new: list[Tensor], *, both_ways: bool = False) -> tuple[Tensor, KeyValues]:
    grown: list[KeyValues] = []
    (attend,) = reading.attends(grown, both_ways=both_ways)
    return attend(*new), grown[0]


def written_out(reading: SharedPrefix, new: list[Tensor], *, both_ways: bool = False) -> Tensor:
    """Return the same by one softmax a row over a copy of all that it sees."""
    (shared,), (own,), found = reading.shared, reading.own, []
    for row, context in enumerate(reading.owners.of.tolist()):
        real = reading.shut[context, 0, 0] == 0
        keys, values = (torch.cat([shared[at][context][:, real], own[at][row], new[at + 1][row]], 1) for at in (0, 1))
        scores = new[0][row] @ keys.transpose(1, 2) / WIDE**0.5
        count, before = new[0].shape[2], keys.shape[1] - new[0].shape[2]
        for place in range(count):
            if not both_ways:
                scores[:, place, before + place + 1 :] = -torch.inf
        found.append(scores.softmax(-1) @ values)
    return torch.stack(found) if found else new[0]


@every_owners
@pytest.mark.parametrize(("held", "own", "new"), [(5, 0, 1), (5, 3, 1), (5, 3, 4), (5, 0, 4), (0, 2, 2)])
@pytest.mark.parametrize("both_ways", [False, True])
def test_attention_over_a_shared_context_is_that_over_copies(
    of: list[int], held: int, own: int, new: int, *, both_ways: bool
) -> None:
    reading = backbone_of(of, 3, held, own)
    qkv = [drawn(len(of), HEADS, new, WIDE, seed=seed) for seed in (5, 6, 7)]
    found, (keys, values) = attended(reading, qkv, both_ways=both_ways)
    torch.testing.assert_close(found, written_out(reading, qkv, both_ways=both_ways), rtol=1e-12, atol=1e-12)
    assert torch.equal(keys, torch.cat([reading.own[0][0], qkv[1]], 2))
    assert torch.equal(values, torch.cat([reading.own[0][1], qkv[2]], 2))


@pytest.mark.parametrize("own", [0, 3])
@pytest.mark.parametrize("held", [0, 1, 5])
def test_where_nothing_is_learnt_rows_of_one_context_attend_to_it_alike(held: int, own: int) -> None:
    reading = backbone_of([0, 0, 0, 0], 1, held, own)
    qkv = [10 * drawn(4, HEADS, 1, WIDE, seed=seed) for seed in (5, 6, 7)]
    learning = attended(reading, qkv)
    with torch.no_grad():
        found, (keys, values) = attended(reading, qkv)
    torch.testing.assert_close(found, written_out(reading, qkv), rtol=1e-12, atol=1e-12)
    assert torch.equal(keys, learning[1][0])
    assert torch.equal(values, learning[1][1])


def test_units_are_left_out_where_nothing_is_learnt_too() -> None:
    reading = backbone_of([0, 0, 0, 0], 1, 5, 3)
    qkv = [drawn(4, HEADS, 1, WIDE, seed=seed) for seed in (5, 6, 7)]
    with torch.no_grad():
        (attend,) = reading.attends([], dropout=0.5)
        assert not torch.allclose(attend(*qkv), written_out(reading, qkv))


@pytest.mark.parametrize("of", [OWNERS["alike"], OWNERS["ragged"]])
def test_gradients_reach_context_own_places_and_new_ones_as_through_copies(of: list[int]) -> None:
    reading = backbone_of(of, 3, 5, 2)
    qkv = [drawn(len(of), HEADS, 3, WIDE, seed=seed, requires_grad=True) for seed in (5, 6, 7)]
    free = [*qkv, *(part.requires_grad_() for kept in (*reading.shared, *reading.own) for part in kept)]
    ours = torch.autograd.grad((attended(reading, qkv)[0] ** 2).sum(), free)
    theirs = torch.autograd.grad((written_out(reading, qkv) ** 2).sum(), free)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@every_owners
def test_chosen_rows_go_on_from_what_they_read_and_no_context_is_copied(of: list[int]) -> None:
    reading = backbone_of(of, 3, 5, 2)
    rows = torch.tensor([len(of) - 1, 0, 0] if of else [], dtype=torch.long)
    qkv = [drawn(len(of), HEADS, 1, WIDE, seed=seed) for seed in (5, 6, 7)]
    whole, _ = attended(reading, qkv)
    chosen = reading.chosen(rows)
    found, _ = attended(chosen, [part[rows] for part in qkv])
    torch.testing.assert_close(found, whole[rows], rtol=1e-12, atol=1e-12)
    assert chosen.shared[0][0] is reading.shared[0][0]
    assert chosen.rows == len(rows)


def test_what_is_held_is_counted_once_a_context() -> None:
    assert backbone_of([0] * 20, 1, 256, 31).places == 256 + 20 * 31
    assert backbone_of(list(range(3)) * 2, 3, 5, 2).places == 15 + 6 * 2


def test_units_are_left_out_only_where_asked() -> None:
    reading = backbone_of([0, 0, 1], 2, 5, 2)
    qkv = [drawn(3, HEADS, 2, WIDE, seed=seed) for seed in (5, 6, 7)]
    found = []
    for share in (0.5, 0.5, 0.0):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            (attend,) = reading.attends([], dropout=share)
            found.append(attend(*qkv))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
