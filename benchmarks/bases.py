"""Larger bases: how much memory they take and how long a persona takes on them, with random weights of their shapes.

``python -m benchmarks.bases`` makes each network in a temporary folder, adapts to packaged dialogues, five in float32
and two in bfloat16, each in a process of its own, and prints a table. ``--only NAME`` takes some of them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from benchmarks.paired import markdown
from menura.artefacts.bases import places

SHAPES: dict[str, dict[str, Any]] = {
    "SmolLM2-360M": {
        "model_type": "llama",
        "vocab_size": 49_152,
        "hidden_size": 960,
        "intermediate_size": 2560,
        "num_hidden_layers": 32,
        "num_attention_heads": 15,
        "num_key_value_heads": 5,
        "tie_word_embeddings": True,
    },
    "Qwen3-0.6B": {
        "model_type": "qwen3",
        "vocab_size": 49_152,  # of the tokenizer at hand; the real one has 151,936, and 105 million parameters more
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "tie_word_embeddings": True,
    },
    "SmolLM2-1.7B": {
        "model_type": "llama",
        "vocab_size": 49_152,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 24,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "tie_word_embeddings": True,
    },
}
DIALOGUES = {"float32": 5, "bfloat16": 2}  # of the persona; a processor without bfloat16 is slow at it
MEASURE = """
import json, resource, sys, time
from menura import registry
from menura.adaptation.default_methods import DEFAULT_PERSONA
from menura.artefacts.loaders.causal_lm import settings_for
from menura.artefacts.loading import LoadOptions
from menura.personas.adapt_persona import encoded
from menura.personas.stranger_control import packaged_speaker
began = time.perf_counter()
loaded = registry.load_model(settings_for(sys.argv[1], offline=True), LoadOptions(offline=True, dtype=sys.argv[2]))
loading = time.perf_counter() - began
someone = packaged_speaker()
support = encoded(loaded, someone.support, someone.speaker)[: int(sys.argv[3])]
began = time.perf_counter()
DEFAULT_PERSONA.adapt(loaded.model, support)
adapting = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps([loaded.base.parameters, loading, adapting, peak, sum(map(len, support))]))
"""


def made(name: str, folder: Path) -> Path:
    """Make a base of random weights, in bfloat16 as they are published, with the default base's tokenizer."""
    settings = dict(SHAPES[name])
    torch.manual_seed(0)
    config = AutoConfig.for_model(settings.pop("model_type"), **settings)
    network = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    path = folder / name
    network.save_pretrained(path)
    tokenizer = places.folder_of("smollm2-135m") / "tokenizer.json"
    (path / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    return path


def row(name: str, dtype: str, path: Path) -> list[str]:
    """Measure one base in one number type."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path), dtype, str(DIALOGUES[dtype])],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return [name, dtype, "failed", *done.stderr.strip().splitlines()[-1:]]
    parameters, loading, adapting, peak, replies = json.loads(done.stdout.strip().splitlines()[-1])
    return [
        name,
        dtype,
        f"{parameters / 1e6:,.0f} M",
        f"{loading:.1f} s",
        f"{adapting:.0f} s for {replies} replies",
        f"{peak / 1e9:.1f} GB",
    ]


def main(words: Sequence[str]) -> int:
    """Measure what is asked for, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bases", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", action="append", choices=SHAPES, help="one of the bases; may be given again")
    parser.add_argument(
        "--dtype", action="append", choices=DIALOGUES, help="one of the number types; may be given again"
    )
    asked = parser.parse_args(words)
    found = [["shape", "computes in", "parameters", "loading", "a persona", "peak memory"]]
    for name in asked.only or SHAPES:
        with tempfile.TemporaryDirectory(prefix="menura-bases-") as folder:
            path = made(name, Path(folder))
            for dtype in asked.dtype or DIALOGUES:
                found.append(row(name, dtype, path))
                print("  ".join(found[-1]), file=sys.stderr, flush=True)
    print(markdown(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
