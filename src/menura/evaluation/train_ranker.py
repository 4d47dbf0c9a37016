"""A run's candidates become a ranker, trained to rank by similarity to the reference (PLATO, A14).

Shape letters: N exchanges, S candidates of each, D width.
"""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from menura.adaptation.latent_policy import replies_under
from menura.artefacts import tensors
from menura.batches.encode import EncodedExchange, Encoder
from menura.errors import ConfigError, DataError, number_of
from menura.evaluation.ranker import FILE
from menura.evaluation.run import config_of
from menura.metrics.nearest_candidate import auto_score
from menura.models.layers.ranker import Ranker, listwise, pairwise
from menura.models.plato.model import Plato
from menura.training.run_folder import Run, Signals
from menura.training.run_setup import Prepared, prepare

EXAMPLES = "ranker-examples.safetensors"
AT_ONCE = 4  # exchanges whose candidates are generated in one batch
SAVE_EVERY = 40  # exchanges


@dataclass(frozen=True)
class RankerConfig:
    """How a ranker is trained; ``exchanges`` are drawn from the run's training split only.

    A candidate's target is the sum of BLEU-1 to -4, METEOR and ROUGE-L against the one reference of a training
    exchange. ``temperature`` is that of the listwise target. The share ``validation_share`` of the exchanges is not
    trained on; the ranker is evaluated on it.
    """

    exchanges: int = 400
    loss: Literal["listwise", "pairwise"] = "listwise"
    temperature: float = 0.5
    lr: float = 3e-3
    weight_decay: float = 0.01
    epochs: int = 60
    batch_size: int = 32
    max_new_tokens: int = 30  # per candidate
    validation_share: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers with which nothing can be trained."""
        for name, least in (("exchanges", 2), ("epochs", 1), ("batch_size", 1), ("max_new_tokens", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"ranker.{name}: {getattr(self, name)}, must be at least {least}")
        for name in ("temperature", "lr"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"ranker.{name}: {getattr(self, name)}, must be > 0")
        if not 0 <= self.validation_share < 1:
            raise ConfigError(f"ranker.validation_share: {self.validation_share}, must lie between 0 and 1, 1 left out")


@dataclass(frozen=True)
class Examples:
    """Training examples: states of contexts with candidates, the candidates' worths, response selection's logits."""

    states: Tensor  # (N, S, D)
    worths: Tensor  # (N, S)
    selection: Tensor  # (N, S) logits; the baseline of the ranker


def fit_ranker(
    folder: Path,
    config: RankerConfig = RankerConfig(),
    *,
    device: str = "cpu",
    offline: bool = False,
    fresh: bool = False,
    say: Callable[[str], None] = print,
) -> Path:
    """Fit a ranker to a run's best weights and write it into the run's folder; return its file.

    If stopped while candidates are made, the same call resumes. A ranker with the same settings is kept; one with
    others raises DataError unless ``fresh``.
    """
    path, run = folder / FILE, Run(folder)
    prepared = prepare(config_of(str(folder)), device=device, offline=offline, say=say)
    model = _ranked(prepared)
    about = {"model_sha256": prepared.loaded.init_sha256, "settings": json.dumps(asdict(config)), **prepared.origin}
    with run.locked():
        _check_same([path, folder / EXAMPLES], about, fresh=fresh)
        if path.exists():
            say(f"fitted already: {path}")
            return path
        made = _made(folder / EXAMPLES, model, _drawn(prepared, config), prepared.loaded.encoder, config, about, say)
        ranker, told = fitted(made, config)
        say(", ".join(f"{name} {value}" for name, value in told.items()))
        tensors.save(path, ranker.state_dict(), {**about, **told})
        (folder / EXAMPLES).unlink()
    return path


def fitted(made: Examples, config: RankerConfig) -> tuple[Ranker, dict[str, str]]:
    """Return a ranker, and the mean worth of its choices, selection's and an oracle's on the validation share."""
    aside = round(config.validation_share * len(made.worths))
    order = random.Random(f"{config.seed}:ranker-aside").sample(range(len(made.worths)), len(made.worths))
    learnt, held = torch.tensor(order[aside:]), torch.tensor(order[:aside], dtype=torch.long)
    ranker = Ranker(made.states.shape[-1])
    optimizer = torch.optim.AdamW(ranker.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    stream = torch.Generator().manual_seed(config.seed)
    for _ in range(config.epochs):
        for places in torch.split(learnt[torch.randperm(len(learnt), generator=stream)], config.batch_size):
            optimizer.zero_grad()
            _loss(ranker(made.states[places]), made.worths[places], config).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return ranker.eval(), _told(ranker, made, held)


def _loss(found: Tensor, worths: Tensor, config: RankerConfig) -> Tensor:
    return listwise(found, worths, config.temperature) if config.loss == "listwise" else pairwise(found, worths)


@torch.no_grad()
def _told(ranker: Ranker, made: Examples, held: Tensor) -> dict[str, str]:
    if not len(held):
        return {}
    worths = made.worths[held]
    ways = {"ranker": ranker(made.states[held]), "selection": made.selection[held], "best": worths}
    chosen = {name: worths.gather(1, way.argmax(1, keepdim=True)).mean() for name, way in ways.items()}
    return {name: f"{float(value):.3f}" for name, value in {**chosen, "mean": worths.mean()}.items()}


def _ranked(prepared: Prepared) -> Plato:
    model = prepared.loaded.model
    if not (isinstance(model, Plato) and model.latents):
        raise ConfigError(
            "a ranker chooses among the latents' candidates, and this model has no latents",
            hint="name the run of a plato with latents",
            code="method_misfit",
        )
    return model


def _check_same(paths: Sequence[Path], about: dict[str, str], *, fresh: bool) -> None:
    """Raise DataError for files of a training with other settings, or delete them if ``fresh``."""
    for path in paths:
        if not path.exists():
            continue
        found = tensors.metadata(path)
        changed = [name for name, value in about.items() if found.get(name) != value]
        if changed and not fresh:
            told = f"fitted with another {', '.join(changed)}"
            raise DataError(told, place=str(path), hint="fit it fresh", code="config_changed")
        if fresh:
            path.unlink()


def _drawn(prepared: Prepared, config: RankerConfig) -> list[EncodedExchange]:
    """Return training exchanges, drawn by seed; a smaller number is always a subset of a larger one."""
    every = [e for task in prepared.tasks("train") for e in chain.from_iterable(task.dialogues) if len(e.reply) > 1]
    random.Random(f"{config.seed}:ranker").shuffle(every)
    return every[: config.exchanges]


def _made(  # noqa: PLR0913  # inputs, output and the file for resuming
    path: Path,
    model: Plato,
    exchanges: Sequence[EncodedExchange],
    encoder: Encoder,
    config: RankerConfig,
    about: dict[str, str],
    say: Callable[[str], None],
) -> Examples:
    """Return the training examples, resuming from those saved at ``path``."""
    parts = [tensors.load(path)] if path.exists() else []
    done = sum(len(part["worths"]) for part in parts)
    with Signals().watched() as signals:
        while done < len(exchanges):
            piece = exchanges[done : done + AT_ONCE]
            parts.append(_examples(model, piece, encoder, config.max_new_tokens))
            done += len(piece)
            if done % SAVE_EVERY == 0 or done == len(exchanges) or signals.caught:
                parts = [{name: torch.cat([part[name] for part in parts]) for name in parts[0]}]
                tensors.save(path, parts[0], about)
                say(f"candidates of {done} of {number_of(len(exchanges), 'exchange')}")
            if signals.caught:
                raise signals.stop(f"stopped after {number_of(done, 'exchange')}, saved; the same command goes on")
    return Examples(**parts[0])


@torch.no_grad()
def _examples(model: Plato, exchanges: Sequence[EncodedExchange], encoder: Encoder, limit: int) -> dict[str, Tensor]:
    """Reply greedily to each exchange under each latent, and compute the replies' worths."""
    latents = torch.arange(model.latents, device=model.device).expand(len(exchanges), -1)
    said = replies_under(model, exchanges, latents, limit)
    pairs = [(exchange, reply) for exchange, own in zip(exchanges, said, strict=True) for reply in own]
    features = model.features(pairs)
    states = features[:, : model.latent.shape[1]]
    worths = [auto_score(encoder.reply_text(reply), [encoder.reply_text(e.reply)]) for e, reply in pairs]
    shape = (len(exchanges), model.latents)
    return {
        "states": states.float().cpu().view(*shape, -1),
        "worths": torch.tensor(worths).view(shape),
        "selection": model.selection(features).float().cpu().unflatten(0, shape).squeeze(-1),
    }
