"""``base check``: what a base is, how a conversation is written for it, and whether personas can be adapted on it."""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from menura import registry
from menura.adaptation.default_methods import DEFAULT_PERSONA
from menura.artefacts.bases import base as bases
from menura.artefacts.bases.dtype import Dtype
from menura.artefacts.bases.prepared import prepared_file
from menura.artefacts.loaders.causal_lm import settings_for
from menura.artefacts.loading import LoadedModel, LoadOptions
from menura.batches.process_resources import peak_memory
from menura.corpus.dialogue import Turn
from menura.corpus.source import opened
from menura.errors import ConfigError, MenuraError
from menura.metrics.perplexity import Perplexity
from menura.models.causal_lm.backbone import backbone_name
from menura.models.causal_lm.config import CausalLmConfig
from menura.models.causal_lm.model import CausalLm
from menura.models.layers.adapters import Adapters
from menura.personas.adapt_persona import encoded, seconds_foretold
from menura.personas.stranger_control import packaged_speaker

SAMPLE = ("hi there", "hello, how are you?", "fine, thanks")  # partner, persona, partner
SLOW = 300.0  # seconds for a persona, beyond which nobody waits
LOST = 2.2  # bits a byte of everyday English: a base that needs more hardly knows the language, or this format
LETTERS = 4.03  # bits a letter by the frequencies of letters alone (Shannon 1951): a base that needs more knows no word
KINDS = {
    "lora": Adapters(kind="lora", target_modules="all-linear"),
    "houlsby": Adapters(kind="houlsby"),
    "ia3": Adapters(kind="ia3"),
    "prompt": Adapters(kind="prompt"),
}
Verdict = Literal["yes", "with care", "no"]
LANGUAGE = re.compile(r"^language:[ \t]*(.*(?:\n[ \t]*-[ \t]*\S+)*)", re.MULTILINE)


@dataclass(frozen=True)
class BaseCheck:
    """What ``base check`` found; ``verdict`` is whether a base is good for adapting, ``reasons`` why not, if it is not.

    ``seconds`` is about the time to adapt to five dialogues, ``memory`` the most bytes of this process so far,
    ``bits_per_byte`` of replies of the packaged corpus (nothing adapted); both None if it reads too little for one.
    """

    facts: dict[str, Any]
    sample: str
    seconds: float | None
    memory: int
    bits_per_byte: float | None
    verdict: Verdict
    reasons: tuple[str, ...]


def check_base(
    name: str,
    *,
    dtype: Dtype = "auto",
    device: str = "auto",
    offline: bool = False,
    say: Callable[[str], None] = print,
) -> BaseCheck:
    """Load a base and find out what it is and can do, by ten seconds of work; raises what loading it raises."""
    where = registry.device_of(device)
    settings = settings_for(name, offline=offline, say=say)
    began = time.perf_counter()
    options = LoadOptions(offline=offline, say=say, dtype=dtype)
    loaded = registry.load_model(settings, options, device=where)
    loading = time.perf_counter() - began
    bits, seconds = _measured(loaded)
    verdict, reasons = verdict_of(loaded.notes, bits, seconds)
    model: Any = loaded.model
    network, chat_format = model.lm.network, loaded.encoder.chat_format
    prepared = prepared_file(loaded.base).exists()
    facts = {
        "architecture": type(network).__name__,
        "parameters": loaded.base.parameters,
        "computes in": str(network.dtype).removeprefix("torch."),
        "backbone": backbone_name(network),
        "reads at most": f"{loaded.encoder.max_length} tokens",
        "chat format": "plain text, one line a turn" if chat_format.name == "plain" else "its own chat template",
        "adapters": ", ".join(possible_adapters(name)),
        "begins at": _beginning(settings.init_from, prepared=prepared),
        "languages": _languages(bases.folder_of(name)) or "not told",
        "loaded in": f"{loading:.1f} s",
    }
    return BaseCheck(facts, _sample(loaded), seconds, peak_memory(), bits, verdict, reasons)


def verdict_of(notes: Sequence[str], bits: float | None, seconds: float | None) -> tuple[Verdict, tuple[str, ...]]:
    """Return whether a base that loads is good for adapting, and what speaks against it.

    ``no``: not one everyday reply fits in what it reads (``bits`` None), or everyday English costs it more than
    ``LETTERS`` bits a byte, or no number of bits at all. ``with care``: there are ``notes`` from loading it, a persona
    takes over ``SLOW`` seconds, or English costs it more than ``LOST``. Else ``yes``.
    """
    if bits is None or seconds is None:
        return "no", ("what it reads at most is too little for one everyday reply", *notes)
    reasons = list(notes)
    if seconds > SLOW:
        reasons.append(f"a persona takes about {seconds / 60:.0f} minutes on this machine")
    cost = f"everyday English costs it {bits:.2f} bits a byte"
    if not bits <= LETTERS:
        return "no", (f"{cost}, more than guessing letter by letter, so it knows no word in this format", *reasons)
    if bits > LOST:
        reasons.append(f"{cost}, so it hardly knows it in this format")
    return "with care" if reasons else "yes", tuple(reasons)


def possible_adapters(name: str) -> list[str]:
    """Return the kinds of adapters that a base can carry."""
    return [kind for kind, adapters in KINDS.items() if _carries(name, adapters)]


def _carries(name: str, adapters: Adapters) -> bool:
    try:
        CausalLm(bases.without_weights(name), CausalLmConfig(base=name, adapters=adapters))
    except ConfigError:
        return False
    return True


@torch.no_grad()
def _measured(loaded: LoadedModel) -> tuple[float, float] | tuple[None, None]:
    """Return bits a byte of a packaged speaker's replies, and about the seconds to adapt to five dialogues.

    None and None if it reads too few tokens for any of them.
    """
    someone = packaged_speaker()
    support = encoded(loaded, someone.support, someone.speaker) if someone else ()
    if not support:
        return None, None
    batch = loaded.model.batch(support[0])
    # As ``menura eval`` counts: the end of a reply is a byte more.
    sizes = [len(loaded.encoder.reply_text(exchange.reply).encode()) + 1 for exchange in support[0]]
    bits = Perplexity("byte").value(list(zip(loaded.model.loss(batch).nll.tolist(), map(float, sizes), strict=True)))
    return bits, seconds_foretold(loaded, DEFAULT_PERSONA, support)


def _sample(loaded: LoadedModel) -> str:
    """Return a short conversation as the base reads it, its control tokens by name."""
    turns = tuple(Turn("you" if place % 2 == 0 else "persona", text) for place, text in enumerate(SAMPLE))
    try:
        prompt = loaded.encoder.prompt(turns, "persona", room=8)
    except MenuraError:  # a base that reads very few tokens
        return ""
    return loaded.encoder.tokenizer.spelled(prompt.prefix)


def _beginning(init_from: str, *, prepared: bool) -> str:
    if init_from:
        return "the checkpoint prepared on this machine" if prepared else "the default adapter checkpoint"
    return "fresh adapters: menura base prepare trains a better start"


def _languages(folder: Path) -> str:
    """Return the languages that the card beside a base names."""
    card = folder / "README.md"
    if not card.is_file():
        return ""
    named = LANGUAGE.search(opened(card).text[:20_000])
    return ", ".join(re.findall(r"[A-Za-z]{2,3}\b", named.group(1))) if named else ""
