"""Row group 4: 32 personas, one row of one batch each.

Once with LoRA on the attention's input map, the same weights on both sides; once with as many parameters on both sides
all over the network: Houlsby adapters behind every sublayer here, LoRA on every linear map there.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from benchmarks.generating import HEAD_DEVIATION, NEW, our_way, prompts
from benchmarks.material import SMALL, Size, network
from benchmarks.paired import Ratio, Row, Way, against, ratio, timed
from menura.adaptation.weights import adaptable_parameters, swapped_weights
from menura.batches.batch import Batch
from menura.decoding.sampling import Greedy
from menura.errors import MismatchError
from menura.models.causal_lm.adapter_bank import AdapterBank
from menura.models.causal_lm.config import CausalLmConfig, without_adapters
from menura.models.causal_lm.model import CausalLm
from menura.models.layers.adapters import Adapters

PERSONAS, RANK = 32, 8
BOTTLENECK = 32  # 133,376 parameters a persona; LoRA of rank 8 on every linear map has 131,072
DEVIATION = 0.2  # of the personas' weights: far enough apart to write different things
BANK, ALONE, BARE = "menura", "menura, one persona after another", "menura, no adapters at all"
MIXED, SWAPPED = "peft, mixed batch", "peft, one persona after another"

Personas = Sequence[Mapping[str, Tensor]]


@dataclass(frozen=True)
class Case:
    """What a persona is, here and there; ``same`` where both sides hold the same weights."""

    what: str
    adapters: Adapters
    targets: str | list[str]  # the maps that peft puts LoRA on
    same: bool
    at_least: Mapping[str, float] = field(default_factory=dict)


CASES = {
    "many-personas": Case(
        "adapters all over",
        Adapters("houlsby", bottleneck=BOTTLENECK, layers="all"),
        "all-linear",
        same=False,
        at_least={MIXED: 3.0},
    ),
    "many-personas-lora": Case("the same LoRA", Adapters("lora", rank=RANK, layers="all"), ["c_attn"], same=True),
}


def rows() -> dict[str, Row]:
    """Return the rows by name."""
    return {name: partial(run, case) for name, case in CASES.items()}


def run(case: Case, rounds: int) -> Iterator[Ratio]:
    """Compare all ways; MismatchError if one writes something else."""
    ways = all_ways(case, PERSONAS, SMALL)
    check_same(case, ways)
    if case.same:  # the slow ones are the same story in both cases
        ways = {name: ways[name] for name in (BANK, MIXED, BARE)}
    seconds = timed(ways, rounds)
    what = f"{PERSONAS} personas in one batch, greedy, {case.what}"
    yield from against(what, BANK, seconds, case.at_least)
    for mine in (name for name in (ALONE, BARE) if name in seconds):
        yield ratio(what, mine, seconds[BANK], seconds[mine])


def all_ways(case: Case, count: int, size: Size) -> dict[str, Way]:
    """Put every way together, ``count`` personas each."""
    torch.manual_seed(0)
    config = CausalLmConfig("random", "plain", 512, case.adapters)
    model = CausalLm(network(size, head_deviation=HEAD_DEVIATION), config).eval()
    bare = CausalLm(network(size, head_deviation=HEAD_DEVIATION), without_adapters(config)).eval()
    personas = [drawn(model, seed) for seed in range(count)]
    theirs = with_peft(case, personas, size)
    batch = prompts(model, count, size.vocabulary)
    return {
        BANK: partial(banked, model, AdapterBank.of(personas), batch),
        MIXED: partial(mixed, theirs, batch),
        SWAPPED: partial(swapped, theirs, batch),
        ALONE: partial(alone, model, personas, batch),
        BARE: partial(our_way, bare, batch, Greedy()),
    }


def check_same(case: Case, ways: Mapping[str, Way]) -> None:
    """Refuse ways that should write the same and do not, and personas that write nothing of their own."""
    written = {name: way() for name, way in ways.items()}
    for name, twin in ((BANK, ALONE), (MIXED, SWAPPED), *([(BANK, MIXED)] if case.same else [])):
        if written[name] != written[twin]:
            raise MismatchError(f"{case.what}: {name!r} and {twin!r} write different tokens")
    if written[BARE] == written[ALONE]:
        raise MismatchError(f"{case.what}: the personas write what the bare network writes")


def drawn(model: CausalLm, seed: int) -> dict[str, Tensor]:
    """Draw a persona's weights."""
    stream = torch.Generator().manual_seed(seed)
    return {name: DEVIATION * torch.randn(p.shape, generator=stream) for name, p in adaptable_parameters(model).items()}


def banked(model: CausalLm, bank: AdapterBank, batch: Batch) -> list[list[int]]:
    """Write all rows in one batch; the personas are stacked beforehand, as peft has loaded its own beforehand."""
    with model.using_adapters(bank, range(len(batch))):
        return our_way(model, batch, Greedy())


def alone(model: CausalLm, personas: Personas, batch: Batch) -> list[list[int]]:
    """Write one row after another, its persona in the model meanwhile."""
    found = []
    for persona, exchange in zip(personas, batch.exchanges, strict=True):
        with swapped_weights(model, persona):
            found += our_way(model, model.batch([exchange]), Greedy())
    return found


def with_peft(case: Case, personas: Personas, size: Size) -> nn.Module:
    """Load all personas into one peft model, named by their number."""
    config = LoraConfig(r=RANK, lora_alpha=RANK, target_modules=case.targets, fan_in_fan_out=True)
    made = get_peft_model(network(size, head_deviation=HEAD_DEVIATION), config, adapter_name="0")
    for number in range(1, len(personas)):
        made.add_adapter(str(number), config)
    parameters = {name: p for name, p in made.named_parameters() if ".lora_" in name}
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.normal_(std=DEVIATION)
        for number, persona in enumerate(personas if case.same else ()):
            for name, value in persona.items():
                parameters[peft_name(name, number)].copy_(value)
    return made.eval()


def peft_name(name: str, number: int) -> str:
    """Return what peft calls one of our parameters."""
    _, layer, part, which, _ = name.split(".")
    letter = {"down": "A", "up": "B"}[which]
    return f"base_model.model.transformer.h.{layer}.attn.{part}.lora_{letter}.{number}.weight"


def mixed(model: nn.Module, batch: Batch) -> list[list[int]]:
    """Write all rows in one batch, each named its adapter."""
    return _written(model, batch, adapter_names=[str(number) for number in range(len(batch))])


def swapped(model: nn.Module, batch: Batch) -> list[list[int]]:
    """Write one row after another, its adapter switched on."""
    found = []
    for number, exchange in enumerate(batch.exchanges):
        model.set_adapter(str(number))  # type: ignore[operator]
        found += _written(model, Batch((exchange,)))
    return found


def _written(model: nn.Module, batch: Batch, **settings: list[str]) -> list[list[int]]:
    with torch.no_grad():
        written: Tensor = model.generate(  # type: ignore[operator]
            input_ids=batch.prefix.ids,
            attention_mask=batch.prefix.mask.long(),
            do_sample=False,
            max_new_tokens=NEW,
            eos_token_id=None,
            pad_token_id=0,
            **settings,
        )
    found: list[list[int]] = written[:, batch.prefix.ids.shape[1] :].tolist()
    return found
