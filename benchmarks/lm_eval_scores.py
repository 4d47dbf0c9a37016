"""lm-eval scores served personas over HTTP; the perplexity is that which ``menura eval`` prints for them.

Held-out speakers of the packaged corpus become personas, as ``menura eval shipped`` makes them, and ``menura serve``
serves them. lm-eval, in an environment of its own, asks ``/v1/completions`` for the likelihood of their held-out
replies. Exit code 1 if the two perplexities differ by more than rounding.

lm-eval moves white space at the end of a context into what it scores, and the line that opens a reply ends with a line
break. So each context is scored twice: with the reply, and with the line break alone, which is subtracted.
"""

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from benchmarks.serving import ours
from menura import api
from menura.artefacts import persona_store
from menura.artefacts.bases import base as bases
from menura.artefacts.files import write_json, write_text
from menura.batches.encode import EncodedExchange
from menura.evaluation.folds import folds_of
from menura.evaluation.run import config_of
from menura.training.data import encoded
from menura.training.run_setup import Prepared, prepare

PERSONAS, SHOTS, QUERIES = 2, 5, 2
TARGET = "shipped"
ROUNDING = 1e-4  # of the sum over a reply in float32, cut into tokens by one program or by two
SPECIAL = {"add_bos_token": False, "add_eos_token": False, "tokenizer_class": "PreTrainedTokenizerFast"}


@dataclass(frozen=True)
class HeldOut:
    """A persona that is served, and the replies that it is scored on."""

    name: str
    exchanges: Sequence[EncodedExchange]

    @property
    def tokens(self) -> int:
        """The tokens that perplexity counts: of all replies, end tokens included."""
        return sum(len(exchange.reply) for exchange in self.exchanges)


def printed(folder: Path, count: int) -> float:
    """Return the perplexity of the adapted row as ``menura eval`` writes it."""
    words = [sys.executable, "-m", "menura", "eval", TARGET, "--personas", str(count), "-k", str(SHOTS)]
    words += ["--queries", str(QUERIES), "--metrics", "ppl", "--out", str(folder)]
    subprocess.run(words, check=True)
    rows: list[dict[str, Any]] = json.loads((folder / TARGET / "scores.json").read_text("utf-8"))["rows"]
    (adapted,) = (row for row in rows if row["kind"] == "adapted")
    return float(adapted["scores"]["ppl"]["value"])


def personas(prepared: Prepared, count: int) -> Iterator[HeldOut]:
    """Adapt the first test speakers on the dialogues that the evaluation takes, and keep them in the workspace."""
    model = api.Model(prepared.loaded, method=prepared.config.method)
    enough = [task for task in prepared.split.splits["test"] if len(task.dialogues) >= SHOTS + QUERIES]
    for number, task in enumerate(enough[:count]):
        # ``adapt`` holds the last two dialogues out, and learns from those before them.
        learnt = [part.dialogue for part in task.dialogues[: SHOTS + 2]]
        name = f"held-out-{number}"
        persona = model.adapt(learnt, speaker=task.persona_id, k=SHOTS, name=name)
        persona_store.save(persona.artefact, replace_old=True)
        (own,) = encoded([task], prepared.loaded.encoder)
        (fold,) = folds_of(own, "following", first=SHOTS, queries=QUERIES)
        yield HeldOut(name, fold.exchanges)


def write_task(folder: Path, tokenizer: Tokenizer, persona: HeldOut) -> None:
    """Write a task of lm-eval: each reply after its context, then the white space that opens it alone."""
    lines = []
    for exchange in persona.exchanges:
        context, reply = (
            tokenizer.decode(list(ids), skip_special_tokens=False) for ids in (exchange.prefix, exchange.reply)
        )
        if tokenizer.encode(context + reply, add_special_tokens=False).ids != list(exchange.ids):
            raise SystemExit(f"a text of {persona.name} is cut into other tokens than in the evaluation: {reply!r}")
        bare = context.rstrip()
        lines += [{"context": bare, "target": context[len(bare) :] + reply}]
        lines += [{"context": bare, "target": context[len(bare) :]}]
    data = folder / f"{persona.name}.jsonl"
    write_text(data, "".join(json.dumps(line) + "\n" for line in lines))
    task = {
        "task": persona.name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "output_type": "loglikelihood",
        "doc_to_text": "{{context}}",
        "doc_to_target": "{{target}}",
        "target_delimiter": "",
        "metric_list": [{"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False}],
    }
    write_json(folder / f"{persona.name}.yaml", task)  # JSON is YAML


def scored(python: Path, folder: Path, address: str, name: str) -> float:
    """Return the log-likelihood (nats) that lm-eval finds for all replies of a persona."""
    how = {"model": name, "base_url": f"{address}/v1/completions", "tokenizer": str(folder / "tokenizer")}
    how |= {"tokenizer_backend": "huggingface", "num_concurrent": "1", "max_retries": "1"}
    words = [str(python), "-m", "lm_eval", "run", "--model", "local-completions", "--tasks", name]
    words += ["--include_path", str(folder), "--model_args", ",".join(f"{key}={value}" for key, value in how.items())]
    words += ["--output_path", str(folder / "out" / name), "--log_samples"]
    shutil.rmtree(folder / "out" / name, ignore_errors=True)  # what an earlier run wrote
    quiet = {"OPENAI_API_KEY": "any", "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "cache")}
    with (folder / "lm-eval.log").open("w", encoding="utf-8") as log:
        subprocess.run(words, env=os.environ | quiet, check=True, stdout=log, stderr=log)
    (file,) = (folder / "out" / name).rglob("samples_*.jsonl")
    samples = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    ordered = sorted(samples, key=lambda sample: sample["doc_id"])
    sums = [float(sample["filtered_resps"][0][0]) for sample in ordered]
    return math.fsum(sums[::2]) - math.fsum(sums[1::2])


def main(words: list[str]) -> int:
    """Compare; return 1 if lm-eval's perplexity is another."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lm_eval_scores", description=__doc__.split("\n")[0])
    parser.add_argument("--python", type=Path, default=Path("build/lm-eval/bin/python"), help="that has lm-eval")
    parser.add_argument("--home", type=Path, default=Path("build/lm-eval-home"), help="a workspace for the personas")
    parser.add_argument("--personas", type=int, default=PERSONAS)
    given = parser.parse_args(words)
    base = bases.folder_of("smollm2-135m").resolve()
    home = given.home.resolve()
    folder = home / "lm-eval"
    (folder / "tokenizer").mkdir(parents=True, exist_ok=True)
    if not (home / "bases").exists():
        (home / "bases").symlink_to(base.parent)
    os.environ["MENURA_HOME"] = str(home)
    torch.set_num_threads(1)
    write_text(folder / "tokenizer" / "tokenizer.json", (base / "tokenizer.json").read_text("utf-8"))
    write_json(folder / "tokenizer" / "tokenizer_config.json", SPECIAL)
    wanted = printed(folder / "results", given.personas)
    prepared = prepare(config_of(TARGET), offline=True)
    people = list(personas(prepared, given.personas))
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    for person in people:
        write_task(folder, tokenizer, person)
    with ours(home, folder / "serve.log") as address:
        total = math.fsum(scored(given.python.absolute(), folder, address, person.name) for person in people)
    theirs = math.exp(-total / sum(person.tokens for person in people))
    replies, tokens = sum(len(person.exchanges) for person in people), sum(person.tokens for person in people)
    print(f"lm-eval: {len(people)} personas, {replies} replies, {tokens} tokens: perplexity {theirs:.4f}")
    print(f"menura eval prints {wanted:.4f}; they differ by {abs(theirs / wanted - 1):.1e} of it")
    return int(abs(theirs / wanted - 1) > ROUNDING)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
