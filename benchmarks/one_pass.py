"""Can a persona's weights be predicted from its dialogues in one pass? On validation speakers.

MAML's question asked anew: in place of steps, coefficients over a shared basis. Training speakers are adapted as
``menura adapt`` does; the basis are the principal directions of how far their LoRA moved, and ridge regression predicts
a speaker's coefficients from the mean last hidden state before the tokens of its replies, which one pass computes.
Steps may follow. ``python -m benchmarks.one_pass`` prints the table.

Shape letters: S training speakers, M numbers of the adapters, R directions, D width.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.speaker_table import line, sample, table
from menura.adaptation.weights import PersonaWeights, swapped_weights
from menura.batches.encode import EncodedDialogue
from menura.evaluation.folds import Fold, folds_of
from menura.evaluation.run import config_of
from menura.metrics.score import Sample
from menura.models.dialogue_model import nll_of
from menura.training.data import EncodedTask, encoded
from menura.training.run_setup import prepare

SHOTS, QUERIES = 5, 2
DIRECTIONS = 16
PENALTIES = (0.1, 1.0, 10.0, 100.0, 1000.0)  # of the regression, on features of unit variance


@dataclass(frozen=True)
class OnePass:
    """The regression: features (D,) of support dialogues become coefficients (R,) over directions (R, M)."""

    centre: Tensor  # (M,) the mean movement
    directions: Tensor  # (R, M)
    feature_mean: Tensor  # (D,)
    feature_std: Tensor  # (D,)
    map: Tensor  # (D, R)

    def movement(self, features: Tensor) -> Tensor:
        """Return (M,) how far the adapters are to move."""
        scaled = (features - self.feature_mean) / self.feature_std
        return self.centre + scaled @ self.map @ self.directions


def fitted(features: Tensor, movements: Tensor) -> OnePass:
    """Fit directions and regression on features (S, D) and movements (S, M); the penalty by leaving one out."""
    centre = movements.mean(0)
    left = movements - centre
    # S is small: the directions come from the Gram matrix (S, S).
    values, vectors = torch.linalg.eigh(left @ left.T)
    most = min(DIRECTIONS, len(left) - 1)
    directions = (vectors[:, -most:] / values[-most:].sqrt()).T @ left
    wanted = left @ directions.T
    mean, std = features.mean(0), features.std(0).clamp(min=1e-6)
    scaled = (features - mean) / std
    errors = {penalty: _left_out(scaled, wanted, penalty) for penalty in PENALTIES}
    best = min(errors, key=lambda penalty: errors[penalty])
    print(f"  penalty {best:g}: error {errors[best]:.3f} of the variance, leaving one speaker out", flush=True)
    return OnePass(centre, directions, mean, std, _ridge(scaled, wanted, best))


def _ridge(features: Tensor, wanted: Tensor, penalty: float) -> Tensor:
    gram = features @ features.T + penalty * torch.eye(len(features))
    return features.T @ torch.linalg.solve(gram, wanted)


def _left_out(features: Tensor, wanted: Tensor, penalty: float) -> float:
    """Return the squared error of each speaker's coefficients from all others', over that of the others' mean.

    Means are the others', too: those of all would tell of the speaker that is left out.
    """
    error = variance = 0.0
    for place in range(len(features)):
        others = torch.arange(len(features)) != place
        mean, usual = features[others].mean(0), wanted[others].mean(0)
        predicted = usual + (features[place] - mean) @ _ridge(features[others] - mean, wanted[others] - usual, penalty)
        error += float(((wanted[place] - predicted) ** 2).sum())
        variance += float(((wanted[place] - usual) ** 2).sum())
    return error / variance


class Speakers:
    """A network, and speakers to adapt it to."""

    def __init__(self, model: Any, method: Any) -> None:
        self.model, self.method = model, method
        self.first = {f"adapters.{name}": value.detach().clone() for name, value in model.adapters.named_parameters()}

    def movement(self, support: Sequence[EncodedDialogue]) -> Tensor:
        """Return (M,) how far the adapters move when they are adapted."""
        moved = self.method.adapt(self.model, support)
        return torch.cat([(moved[name] - value).flatten() for name, value in self.first.items()])

    def weights(self, movement: Tensor) -> PersonaWeights:
        """Return the adapters after a movement (M,)."""
        parts = movement.split([value.numel() for value in self.first.values()])
        return {
            name: value + part.view_as(value) for (name, value), part in zip(self.first.items(), parts, strict=True)
        }

    @torch.no_grad()
    def features(self, support: Sequence[EncodedDialogue]) -> Tensor:
        """Return (D,) the mean hidden state before the tokens of the replies."""
        batch = self.model.batch([exchange for dialogue in support for exchange in dialogue])
        states: Tensor = self.model.reply_states(batch)[0].float()
        return states.mean(0)

    def nll(self, fold: Fold, weights: PersonaWeights) -> tuple[float, int]:
        """Return the summed NLL (nats) of the held-out replies, and their tokens."""
        batch = self.model.batch(fold.exchanges)
        with torch.no_grad(), swapped_weights(self.model, weights):
            return float(nll_of(self.model, batch).sum()), int(batch.reply_lengths.sum())


def rows(speakers: Speakers, one_pass: OnePass, fold: Fold) -> Iterator[tuple[str, PersonaWeights]]:
    """Yield the name and the weights of each row."""
    support, method = fold.support(SHOTS), speakers.method
    yield "un-adapted", {}
    yield "adapted, two epochs", method.adapt(speakers.model, support)
    yield "the mean movement of all speakers", speakers.weights(one_pass.centre)
    predicted = speakers.weights(one_pass.movement(speakers.features(support)))
    yield "one pass", predicted
    for epochs in (1, 2):
        longer = replace(method, inner=replace(method.inner, epochs=epochs))
        with swapped_weights(speakers.model, predicted):
            further = {name: value.clone() for name, value in longer.adapt(speakers.model, support).items()}
        yield f"one pass, then {epochs} epoch{'s' * (epochs > 1)}", further


def folds(tasks: Sequence[EncodedTask]) -> Iterator[Fold]:
    """Yield the fold of each speaker."""
    for task in tasks:
        yield folds_of(task, "following", first=SHOTS, queries=QUERIES)[0]


def main(words: list[str]) -> None:
    """Adapt training speakers, fit, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.one_pass", description=__doc__.split("\n")[0])
    parser.add_argument("--train", type=int, default=96, help="training speakers")
    parser.add_argument("--personas", type=int, default=14, help="validation speakers")
    parser.add_argument("--cache", type=Path, help="where what training speakers gave is kept")
    given = parser.parse_args(words)
    torch.set_num_threads(1)
    prepared = prepare(config_of("shipped"), offline=True, dtype="bfloat16")
    speakers = Speakers(prepared.loaded.model, prepared.config.method)
    encoder, splits = prepared.loaded.encoder, prepared.split.splits
    kept: dict[str, tuple[Tensor, Tensor]] = {}
    if given.cache and given.cache.exists():
        kept = torch.load(given.cache)
    enough = [task for task in splits["train"] if len(task.dialogues) >= SHOTS]
    for task in encoded(enough[: given.train], encoder):
        if task.persona_id not in kept:
            start, support = time.monotonic(), task.dialogues[:SHOTS]
            kept[task.persona_id] = speakers.features(support), speakers.movement(support)
            print(f"  {len(kept)}: {task.persona_id[:8]} {time.monotonic() - start:.0f} s", flush=True)
            if given.cache and not len(kept) % 8:
                torch.save(kept, given.cache)
    one_pass = fitted(*(torch.stack(part) for part in zip(*kept.values(), strict=True)))
    samples: dict[str, list[Sample]] = {}
    valid = [task for task in splits["valid"] if len(task.dialogues) >= SHOTS + QUERIES][: given.personas]
    for fold in folds(encoded(valid, encoder)):
        for name, weights in rows(speakers, one_pass, fold):
            nll, tokens = speakers.nll(fold, weights)
            samples.setdefault(name, []).append(sample(fold.persona_id, nll, tokens))
        print(line(fold.persona_id, samples), flush=True)
    print(f"\n{table(samples, f'{len(kept)} training speakers', list(samples)[:2])}")


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
