"""``make bench``: prints the table and writes results/benchmarks.json. One thread; needs the default base."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.paired import Ratio, compared
from menura.adaptation.descent import Descent, descend
from menura.adaptation.weights import adaptable
from menura.artefacts.files import write_text
from menura.artefacts.loaded import Loaded, load_model
from menura.batches.encode import EncodedDialogue
from menura.cli.screen import columns
from menura.decoding.choice import Greedy
from menura.decoding.generate import generate
from menura.experiments.data_config import DataConfig, encoded, tasks_of
from menura.models.causal_lm import CausalLmConfig
from menura.models.parts.adapters import Adapters

ROUNDS = 3
SUPPORT = 3  # dialogues
NEW_TOKENS = 32


def main() -> None:
    """Run every row."""
    torch.set_num_threads(1)
    loaded = load_model(CausalLmConfig(limit=768, adapters=Adapters(size=16, layers="upper")), offline=True)
    tasks = encoded(tasks_of(DataConfig()), loaded.encoder)
    support = next(task for task in tasks if len(task.dialogues) >= SUPPORT).dialogues[:SUPPORT]
    ratios = [_adapting(loaded, support), *_generating(loaded, support)]
    rows = [["what", "peer", "times quicker", "range", "rounds"], *(ratio.cells() for ratio in ratios)]
    print(columns(rows))
    write_text(Path("results/benchmarks.json"), json.dumps([asdict(ratio) for ratio in ratios], indent=1) + "\n")


def _adapting(loaded: Loaded, support: tuple[EncodedDialogue, ...]) -> Ratio:
    """Two steps on one support set: dialogues packed, lower layers kept, head at labels; the peer as Trainers do it."""
    model = loaded.model
    start = {name: value.detach() for name, value in adaptable(model).items()}

    def ours() -> None:
        model.forget_lower()
        descend(model, start, support, Descent(rate=1e-3, epochs=2, batch=16))

    return compared(
        f"adapting, 2 passes over {SUPPORT} dialogues",
        "transformers, one padded row an exchange, labels -100",
        ours,
        lambda: _adapt_as_trainers_do(loaded, support, start),
        rounds=ROUNDS,
    )


def _adapt_as_trainers_do(loaded: Loaded, support: tuple[EncodedDialogue, ...], start: dict[str, Tensor]) -> None:
    network = loaded.model.network
    exchanges = [e for dialogue in support for e in dialogue]
    own = [p for p in loaded.model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(own, lr=1e-3)
    for first in [*range(0, len(exchanges), 16)] * 2:
        batch = loaded.model.batch(exchanges[first : first + 16])
        ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(e.ids) for e in batch.exchanges], batch_first=True)
        labels = torch.full_like(ids, -100)
        for row, exchange in enumerate(batch.exchanges):
            labels[row, len(exchange.prefix) : len(exchange.ids)] = torch.tensor(exchange.reply)
        optimizer.zero_grad()
        network(input_ids=ids, labels=labels, use_cache=False).loss.backward()
        optimizer.step()
    with torch.no_grad():
        for name, value in adaptable(loaded.model).items():
            value.copy_(start[name])


def _generating(loaded: Loaded, support: tuple[EncodedDialogue, ...]) -> Iterator[Ratio]:
    for rows in (1, 8):
        prompts = [replace(dialogue[1], reply=()) for dialogue in support * rows][:rows]
        batch = loaded.model.batch(prompts)
        yield compared(
            f"greedy generation, {rows} rows, {NEW_TOKENS} tokens",
            "transformers.generate",
            _generate(loaded, prompts),
            lambda batch=batch: loaded.model.network.generate(  # type: ignore[misc]
                input_ids=batch.prefix.ids,
                attention_mask=batch.prefix.mask.long(),
                do_sample=False,
                min_new_tokens=NEW_TOKENS,
                max_new_tokens=NEW_TOKENS,
                pad_token_id=0,
            ),
            rounds=ROUNDS,
        )


def _generate(loaded: Loaded, prompts: list) -> Callable[[], object]:  # type: ignore[type-arg]
    batch = loaded.model.batch(prompts)
    seeds = [0] * len(prompts)
    return lambda: generate(loaded.model, batch, Greedy(), end=-1, limit=NEW_TOKENS, seeds=seeds)


if __name__ == "__main__":
    main()
