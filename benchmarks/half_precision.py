"""Row group: the default base in bfloat16, against float32 and against transformers and peft in bfloat16.

What bfloat16 gives depends on the processor: one without instructions for it converts to float32 and back, and is
slower. The flags of this one that matter are in the environment of the results.
"""

from collections.abc import Iterator
from functools import partial

import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from benchmarks.adapting import BATCH, STEPS, adapt, fine_tune
from benchmarks.generating import LARGE, PEER, our_way, prompts, their_way
from benchmarks.material import ragged, stir
from benchmarks.paired import Figures, Ratio, Row, Way, against, ratio, timed
from menura.artefacts.bases.base import folder_of, on_disk
from menura.artefacts.bases.dtype import Dtype
from menura.artefacts.loading import LoadOptions
from menura.decoding.sampling import Greedy
from menura.models.causal_lm.config import CausalLmConfig
from menura.models.causal_lm.model import CausalLm
from menura.models.layers.adapters import Adapters
from menura.registry import load_model

RANK = 8
LORA = Adapters("lora", rank=RANK, layers="upper")
FLOAT32 = "menura in float32"


def rows() -> dict[str, Row]:
    """Return the rows by name; both need the default base on this machine."""
    return {"greedy-bfloat16": greedy, "adapting-bfloat16": adapting}


def greedy(rounds: int) -> Iterator[Ratio | Figures]:
    """Compare generation, batch 1; the tokens of two half precisions differ now and then, which is printed."""
    models = _models(CausalLmConfig(LARGE, adapters=LORA))  # as a persona has them; the peer has none
    if not models:
        return
    ways: dict[str, Way] = {}
    for name, model in models.items():
        batch = prompts(model, 1, model.network.config.vocab_size)
        ways[name] = partial(our_way, model, batch, Greedy())
        if name == "menura":
            network = AutoModelForCausalLM.from_pretrained(folder_of(LARGE), dtype=torch.bfloat16).eval()
            ways[f"{PEER} in bfloat16"] = partial(their_way, network, batch, sampling=False)
    written = [way() for way in ways.values()]
    agree = sum(each == written[0] for each in written[1:])
    yield Figures(("greedy in bfloat16", "of two"), (("ways that write the same tokens as menura", str(agree)),))
    yield from _ratios(f"generation, greedy, batch 1, {LARGE} in bfloat16", ways, rounds)


def adapting(rounds: int) -> Iterator[Ratio]:
    """Compare a persona's weights from eight sequences, five steps of LoRA in the upper half."""
    models = _models(CausalLmConfig(LARGE, adapters=LORA))
    if not models:
        return
    for model in models.values():
        stir(model)
    support = ragged(BATCH, seed=3)
    ways: dict[str, Way] = {name: partial(adapt, model, support) for name, model in models.items()}
    ways[f"peft LoRA, rank {RANK}, in bfloat16"] = partial(fine_tune, _peft(models["menura"]), support)
    yield from _ratios(f"adapting, {STEPS} steps of {BATCH} sequences, {LARGE} in bfloat16", ways, rounds)


def _models(config: CausalLmConfig) -> dict[str, CausalLm]:
    """Return the default base in both types; nothing where it is not installed."""
    if LARGE not in [base.name for base in on_disk()]:
        print(f"  {LARGE} is not installed: left out", flush=True)
        return {}
    types: dict[str, Dtype] = {"menura": "bfloat16", FLOAT32: "float32"}
    return {
        name: load_model(config, LoadOptions(offline=True, dtype=dtype)).model.eval() for name, dtype in types.items()
    }


def _peft(model: CausalLm) -> nn.Module:
    """Wrap a fresh copy of the base by peft, LoRA in the same layers."""
    network: PreTrainedModel = AutoModelForCausalLM.from_config(model.network.config, dtype=torch.bfloat16)
    depth = model.network.config.num_hidden_layers
    maps = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    config = LoraConfig(r=RANK, target_modules=maps, layers_to_transform=list(range(depth // 2, depth)))
    wrapped: nn.Module = get_peft_model(network, config).eval()
    return wrapped


def _ratios(what: str, ways: dict[str, Way], rounds: int) -> Iterator[Ratio]:
    seconds = timed(ways, rounds)
    yield ratio(what, FLOAT32, seconds["menura"], seconds[FLOAT32])
    yield from against(what, "menura", seconds, {})
