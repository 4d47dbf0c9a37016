"""Labelled texts and an encoder of two small layers, for tests of what is judged by a trained scorer."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import BertConfig, BertModel

from menura.artefacts import tensors
from menura.scorers.emoji import EmojiConfig
from menura.scorers.entailment import NliConfig
from menura.training.overrides import with_settings

THINGS = ("clocks", "goats", "boats", "rain", "tea", "maps", "owls", "plums")
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "i", "like", "hate", "saw", "the", "my", *THINGS)
SIZES: dict[str, Any] = {
    "vocab_size": len(WORDS),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
}


def encoder(folder: Path) -> Path:
    """Write an encoder that knows a few words and nothing of them."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = BertModel(BertConfig(**SIZES), add_pooling_layer=False)
    tensors.save(folder / "model.safetensors", network.state_dict())
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", **SIZES}), encoding="utf-8")
    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    words.save(str(folder / "tokenizer.json"))
    return folder


def pairs(count: int, start: int = 0) -> str:
    """Return lines of pairs whose label shows in one word: like agrees, hate does not, saw says nothing."""
    told = (("like", "positive"), ("hate", "negative"), ("saw", "neutral"))
    lines = []
    for number in range(start, start + count):
        thing, (verb, label) = THINGS[number % len(THINGS)], told[number % 3]
        lines.append(f"i {verb} the {thing}</s>i like {thing}</s>{label}\n")
    return "".join(lines)


def nli(folder: Path, *more: str) -> NliConfig:
    """Write pairs in two files and an encoder; return the settings of a small scorer that learns from them."""
    (folder / "pairs-train.txt").write_text(pairs(96), encoding="utf-8")
    (folder / "pairs-valid.txt").write_text(pairs(30, 200), encoding="utf-8")
    small = (
        f"data.corpus={folder / 'pairs-train.txt'},{folder / 'pairs-valid.txt'}",
        f"encoder={encoder(folder / 'encoder')}",
        *("learning.epochs=6", "learning.batch_size=16", "learning.lr=0.01", "dropout=0"),
    )
    return with_settings(NliConfig(), (*small, *more))


FACES = {"😀": "sunny", "😭": "rainy", "🙏": "windy"}


def emoji(folder: Path, *more: str) -> EmojiConfig:
    """Write dialogues whose last turn is of an emoji; return the settings of a small classifier."""
    for name, count in (("dev", 20), ("test", 6)):
        lines = [
            {
                "id": f"{name}:{face}:{number}",
                "turns": [
                    {"speaker": "partner", "text": "how is it ?"},
                    {"speaker": face, "text": f"{word} {THINGS[number % 8]} today"},
                ],
            }
            for number in range(count)
            for face, word in FACES.items()
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    small = (
        f"data.corpus={folder / 'dev.jsonl'},{folder / 'test.jsonl'}",
        *("hidden_size=8", "learning.epochs=8", "learning.batch_size=8", "learning.lr=0.03", "min_count=1"),
    )
    return with_settings(EmojiConfig(), (*small, *more))


class Quiet:
    """Keeps what a training says; stops it by a signal after a step where told to."""

    def __init__(self, stop_after: int = 0) -> None:
        self.said: list[str] = []
        self.steps: list[float] = []
        self._stop_after = stop_after

    def step(self, step: int, steps: int, loss: float) -> None:
        assert 1 <= step <= steps
        self.steps.append(loss)
        if step == self._stop_after:
            os.kill(os.getpid(), signal.SIGTERM)

    def say(self, line: str) -> None:
        self.said.append(line)
