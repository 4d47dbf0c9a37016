"""Acceptance checks A8, A10 and A14 of AR and AR+: how weights begin, what is measured, how deep networks learn."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from made_up import PROFILES, Toy
from small_routing import ALL, AR, exchanges_of, routing
from torch import nn

from menura.adaptation.weights import outer_groups
from menura.artefacts.loading import LoadOptions
from menura.artefacts.subword_vocabulary import SubwordVocabulary, mark
from menura.batches.speaker_profile import words_of_profiles
from menura.batches.tokenizer import subword_tokenizer
from menura.models.attention_routing.config import AttentionRoutingConfig
from menura.registry import load_model

RATES = (3e-4, 1e-3, 3e-3)
SIZES: dict[str, Any] = {
    "hidden_size": 8,
    "num_layers": 2,
    "num_heads": 2,
    "intermediate_size": 12,
    "rank": 4,
    "groups": 2,
}


def lexicon() -> SubwordVocabulary:
    tokenizer = subword_tokenizer("char", ["abc abc"], max_size=100, control=[mark("craft"), mark("pet")])
    return SubwordVocabulary(
        "char", tokenizer.to_json(), ("craft", "pet"), tuple(words_of_profiles(PROFILES.values())), ()
    )


def tables(model: nn.Module) -> list[nn.Embedding]:
    return [part for part in model.modules() if isinstance(part, nn.Embedding)]


@pytest.mark.parametrize(
    ("embedding", "settings"), [(3, {}), (0, {"hidden_size": 4, "tied": True}), (6, {"memory": False})]
)
def test_a8_word_vectors_survive_construction(embedding: int, settings: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "vectors.txt").write_text("a 1 0 0.5\nc 0 2 0\nzebra 3 3 3\n")
    config = AttentionRoutingConfig(
        **{**SIZES, "embedding": embedding, "word_vectors": str(tmp_path / "vectors.txt"), **settings}
    )
    made = load_model(config, LoadOptions(vocabulary=lexicon()))
    rows = [made.encoder.tokenizer.encode(letter)[0] for letter in "ac"]
    plain = load_model(
        AttentionRoutingConfig(**{**SIZES, "embedding": embedding, **settings}), LoadOptions(vocabulary=lexicon())
    )
    ours, theirs = made.model.table.weight.detach(), plain.model.table.weight.detach()
    # Fitted to a wider table by a rotation, which keeps lengths and angles.
    wanted = torch.tensor([[1.25, 0.0], [0.0, 4.0]])
    torch.testing.assert_close(ours[rows] @ ours[rows].T, wanted, rtol=0, atol=1e-5)
    if embedding == 3:
        assert ours[rows].tolist() == [[1, 0, 0.5], [0, 2, 0]]
    others = [row for row in range(len(ours)) if row not in rows]
    assert torch.equal(ours[others], theirs[others])
    assert not ours[0].any()


@pytest.mark.parametrize("settings", [{}, {"preset": "release"}, AR, {"persona_path": "both", "auxiliary": "bart"}])
def test_a8_padding_is_zero_and_stays_so(settings: dict[str, Any]) -> None:
    toy = routing(stirred=False, **settings)
    model = toy.model
    assert len(tables(model)) == (1 if "memory" in settings else 6)
    assert not any(table.weight[0].any() for table in tables(model))
    before = [table.weight.detach().clone() for table in tables(model)]
    optimizer = torch.optim.AdamW(outer_groups(model, 0.05), lr=1e-2)
    for seed in range(5):
        optimizer.zero_grad()
        with model.dropout(seed):
            loss = model.loss(model.batch(exchanges_of(toy)))
        loss.total.backward()
        optimizer.step()
    assert not any(table.weight[0].any() for table in tables(model))
    assert not any(torch.equal(one, table.weight) for one, table in zip(before, tables(model), strict=True))


def test_a8_matrices_begin_evenly_within_xaviers_bound_and_gates_closed() -> None:
    model = load_model(
        AttentionRoutingConfig(hidden_size=64, num_layers=2, num_heads=2, groups=1), LoadOptions(vocabulary=lexicon())
    ).model
    for name, value in model.named_parameters():
        if value.ndim == 2 and not name.endswith("table.weight") and "memory" not in name and name != "gates":
            bound = (6 / sum(value.shape)) ** 0.5
            assert float(value.detach().abs().max()) <= bound, name
            assert float(value.detach().std()) == pytest.approx(bound / 3**0.5, rel=0.2), name
        elif value.ndim == 1:
            assert float(value.detach().std(unbiased=False)) == 0, name


@pytest.mark.parametrize("settings", [{}, {"preset": "release"}])
def test_a10_what_a_dialogue_costs_knows_nothing_of_the_second_task(settings: dict[str, Any]) -> None:
    voices = [routing(**settings, auxiliary=task, dropout=0.0) for task in ("none", "lm", "mlm", "bart")]
    found = []
    for toy in voices:
        batch = toy.model.batch(exchanges_of(toy))
        with torch.no_grad():
            plain = toy.model.loss(batch)
            with toy.model.dropout(1):
                trained = toy.model.loss(batch)
        found.append((plain, trained))
    first = found[0][0]
    for plain, _ in found:
        assert torch.equal(plain.nll, first.nll)
        assert torch.equal(plain.total, first.total)
    # Trained by plain attention, whose last digit is another's: among themselves, bit for bit.
    assert all(torch.equal(trained.nll, found[0][1].nll) for _, trained in found)
    totals = [trained.total.item() for _, trained in found]
    assert totals[0] == pytest.approx(first.total.item())
    assert min(totals[1:]) > totals[0] + 0.1


def learnt(make: Callable[[], Toy], rate: float, steps: int) -> tuple[float, float]:
    """Return the loss of the made-up dialogues before and after so many steps on them."""
    toy = make()
    batch = toy.model.batch([exchange for dialogue in toy.dialogues(ALL) for exchange in dialogue][:4])
    optimizer = torch.optim.AdamW(toy.model.parameters(), lr=rate)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = toy.model.loss(batch).total
        loss.backward()
        torch.nn.utils.clip_grad_norm_(toy.model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses[0], losses[-1]


@pytest.mark.slow
def test_a14_deep_networks_learn_with_gates_and_with_norms() -> None:
    """Each at its best rate; which is quicker this tells (``pytest -s``), and does not claim."""
    for rezero in (True, False):

        def deep(*, rezero: bool = rezero) -> Toy:
            return routing(double=False, stirred=False, num_layers=12, groups=1, rezero=rezero, feed_forward="full")

        ends = {rate: learnt(deep, rate, 16) for rate in RATES}
        best = min(ends, key=lambda rate: ends[rate][1])
        print(
            "gates" if rezero else "norms", {rate: f"{begun:.3f} -> {end:.3f}" for rate, (begun, end) in ends.items()}
        )
        assert ends[best][1] < 0.9 * ends[best][0]
