"""Every row of MAMLviaPP's table (spec section 13, table 3) at three sizes.

``tiny`` takes seconds and shows that a row runs. ``cpu`` takes SmolLM2-135M and the persona tasks of Persona-Chat, some
minutes a row on two cores; what differs from the paper is said beside the setting. ``paper`` is the text's own setting:
GPT-2, special tokens, adapters in all layers, SGD inside; it wants a GPU.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from menura.adaptation.finetune import Finetune, PretrainOnly
from menura.adaptation.inner_loop import InnerLoop
from menura.adaptation.maml import Maml
from menura.models.causal_lm.config import CausalLmConfig, without_adapters
from menura.models.layers.adapters import Adapters
from menura.training.config import Outer, RunConfig, with_inner_loop, with_model
from menura.training.data import DataConfig
from menura.training.recipes import tiny

Size = Literal["tiny", "cpu", "paper"]

# Tasks as in PAML: a persona is all dialogues whose profiles overlap; the published valid split is meta-tested.
TASKS = DataConfig(
    corpus="convai2",
    task_by="facts",
    test_id_prefixes="valid",
    max_turns=0,
    max_dialogues=20,
    valid=0.1,
    min_heldout_dialogues=4,
    min_train_dialogues=3,
)
CHATS = DataConfig(max_turns=16)  # the packaged corpus
SMALL = "gpt-4x256"  # the network of the re-initialised rows at size cpu

SETTINGS: dict[Size, RunConfig] = {
    "tiny": RunConfig("", tiny.MODEL, Maml(tiny.INNER), tiny.DATA, tiny.OUTER),
    "cpu": RunConfig(
        "",
        # The upper half only, so that the lower layers are read once; ChatML, which this base was trained on.
        CausalLmConfig(max_length=512, adapters=Adapters(bottleneck=16, layers="upper")),
        # Adam inside: from W_up = 0 the paper's SGD at 1e-3 moves adapters by next to nothing. The whole support in one
        # step: what was learnt for one step must not meet three where a persona has more dialogues.
        Maml(InnerLoop(lr=1e-3, epochs=1, batch_size=0, optimizer="adam")),
        TASKS,
        Outer(
            *(100, 2, 2, 1),  # steps, tasks, shots, queries
            lr=1e-3,
            warmup_steps=10,
            save_every=50,
            eval_every=50,
            eval_personas=8,
        ),
    ),
    "paper": RunConfig(
        "",
        CausalLmConfig(base="gpt2", chat_format="special", adapters=Adapters(bottleneck=64)),
        Maml(InnerLoop(lr=1e-3, epochs=1, batch_size=4)),
        replace(TASKS, max_dialogues=100),
        Outer(20_000, 2, 2, 1, lr=3e-4, cosine=False, save_every=500, eval_every=500, eval_personas=32),
    ),
}
# Rates for all weights of a pre-trained base; those for adapters would destroy it within a few steps.
WHOLE_BASE = {"cpu": (2e-5, 1e-4), "paper": (1e-3, 3e-4)}  # inner, outer
FORGOTTEN = {"cpu": 1e-4}  # inner, where no weight was learnt before: at 1e-3 adapting undoes the training


def extra_place(size: Size) -> RunConfig:
    """MAML on adapters beside the frozen base (Alg. 2)."""
    return _named("extra_place", size, SETTINGS[size])


def extra_place_unfixed(size: Size) -> RunConfig:
    """MAML on adapters and base together: the paper's ablation without fixing phi."""
    config = _on_whole_base(SETTINGS[size], size)
    return _named("extra_place_unfixed", size, with_model(config, train_base=True))


def in_place(size: Size) -> RunConfig:
    """MAML on all weights of the pre-trained base (Alg. 1)."""
    return _named("in_place", size, _without_adapters(_on_whole_base(SETTINGS[size], size)))


def transfer(size: Size) -> RunConfig:
    """Pooled training of all weights with the paper's Adam at 1e-3, then fine-tuning per persona."""
    config = in_place(size)
    outer = replace(config.outer, lr=1e-3, warmup_steps=0, cosine=False)
    return _named("transfer", size, replace(config, method=_finetune(config.method), outer=outer))


def transfer_tuned(size: Size) -> RunConfig:
    """Pooled training of all weights with AdamW at 5e-5 and warm-up, then fine-tuning per persona."""
    config = in_place(size)
    outer = replace(config.outer, lr=5e-5, warmup_steps=config.outer.steps // 10, weight_decay=0.01, cosine=True)
    return _named("transfer_tuned", size, replace(config, method=_finetune(config.method), outer=outer))


def reinit_maml(size: Size) -> RunConfig:
    """MAML on all weights of a randomly initialised network."""
    config = _inside(_without_adapters(SETTINGS[size]), FORGOTTEN.get(size))
    if size != "cpu":
        return _named("reinit_maml", size, with_model(config, reinit="same"))
    # On a CPU a network of the base's size would see far too few tokens: a small one learns more, and is cheap.
    outer = replace(config.outer, steps=400, meta_batch_size=4, eval_every=100)
    return _named("reinit_maml", size, with_model(replace(config, outer=outer), base=SMALL))


def reinit(size: Size) -> RunConfig:
    """Pooled training of a randomly initialised network, then fine-tuning per persona."""
    config = reinit_maml(size)
    return _named("reinit", size, replace(config, method=_finetune(config.method)))


def pretrain(size: Size) -> RunConfig:
    """Pooled training of the small network on the packaged corpus: what ``reinit`` lacks."""
    config = reinit(size)
    outer = config.outer
    if size == "cpu":
        outer = replace(outer, steps=1000, meta_batch_size=8, shots=1, queries=1, warmup_steps=50)
    return _named("pretrain", size, replace(config, data=tiny.DATA if size == "tiny" else CHATS, outer=outer))


def prompt(size: Size) -> RunConfig:
    """No weight is changed: with ``--prompt`` the support dialogues are in the context."""
    return _named("prompt", size, replace(_without_adapters(SETTINGS[size]), method=PretrainOnly()))


ROWS: dict[str, Callable[[Size], RunConfig]] = {
    f"mamlviapp/{made.__name__}": made
    for made in (
        *(reinit, transfer, transfer_tuned, reinit_maml),
        *(in_place, extra_place, extra_place_unfixed, prompt, pretrain),
    )
}


def _named(row: str, size: Size, config: RunConfig) -> RunConfig:
    return replace(config, recipe=f"mamlviapp/{row}@{size}")


def _without_adapters(config: RunConfig) -> RunConfig:
    model: Any = config.model
    return replace(config, model=without_adapters(model))


def _on_whole_base(config: RunConfig, size: Size) -> RunConfig:
    if size not in WHOLE_BASE:
        return config
    inner, outer = WHOLE_BASE[size]
    return _inside(replace(config, outer=replace(config.outer, lr=outer)), inner)


def _inside(config: RunConfig, rate: float | None) -> RunConfig:
    """Set the inner learning rate, if one is given."""
    return config if rate is None else with_inner_loop(config, lr=rate)


def _finetune(method: Any) -> Finetune:
    return Finetune(method.inner)
