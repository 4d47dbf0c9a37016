"""A prefix is read as the exchanges that it is made of, and as peft reads it; a prompt read once is that prompt."""

from collections.abc import Sequence
from typing import Any, cast

import pytest
import torch
from made_up import part

from benchmarks.identification import Judges
from benchmarks.learnt_prefix import Prefix, Speaker
from menura.adaptation.finetune import Finetune
from menura.adaptation.inner_loop import InnerLoop
from menura.artefacts.loading import LoadedModel
from menura.batches.encode import EncodedDialogue
from menura.evaluation.folds import Fold, folds_of
from menura.evaluation.systems import UNCHANGED, System
from menura.models.causal_lm.config import CausalLmConfig
from menura.registry import load_model
from menura.tasks.task import Task
from menura.training.data import encoded
from menura.training.run_setup import Prepared

TASK = Task(
    "mira",
    tuple(
        part(f"s{number}", "hi", f"hello, {word} it is", "and then?", f"a {word} or two.")
        for number, word in enumerate(("goats", "clocks", "rain", "tea", "zithers", "boats", "bread"))
    ),
)


class Given:
    """What the benchmarks need of a run."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded = loaded
        self.config = type("Config", (), {"method": Finetune(InnerLoop(lr=0.1, epochs=1))})


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    loaded = load_model(CausalLmConfig("tiny"))
    loaded.model.eval()
    return cast(Prepared, Given(loaded))


@pytest.fixture(scope="module")
def fold(prepared: Prepared) -> Fold:
    (task,) = encoded([TASK], prepared.loaded.encoder)
    return folds_of(task, "following", first=5, queries=2)[0]


@pytest.fixture(scope="module")
def speaker(prepared: Prepared, fold: Fold) -> Speaker:
    return Speaker(prepared, fold, 256)


def test_a_prefix_that_was_not_trained_is_the_exchanges_that_it_is_made_of(speaker: Speaker) -> None:
    assert len(set(speaker.dialogue.tolist())) == 5
    after_prefix = speaker.nll(prefix=speaker.prefix_as_read())
    assert after_prefix == pytest.approx(speaker.nll(speaker.chosen), rel=1e-5)
    assert after_prefix[0] != pytest.approx(speaker.nll()[0], rel=1e-4)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of transformers, for what peft still calls
def test_a_prefix_is_read_as_peft_reads_a_cartridge(speaker: Speaker) -> None:
    peft = pytest.importorskip("peft", reason="peft is installed by make bench")
    from peft.tuners.cartridge.utils import initialize_kv_prefix_from_past_key_values  # noqa: PLC0415

    prefix = speaker.prefix_as_read()
    network = speaker.model.network
    settings = peft.CartridgeConfig(task_type="CAUSAL_LM", num_virtual_tokens=len(prefix.dialogue), num_frozen_tokens=1)
    reading = next(iter(speaker.read(speaker.chosen, len(prefix.dialogue), recalled=False)))
    ours = speaker.logits(reading, prefix)
    wrapped = peft.get_peft_model(network, settings)
    initialize_kv_prefix_from_past_key_values(wrapped, past_key_values=prefix.cache())
    with torch.no_grad():
        theirs = wrapped(input_ids=torch.tensor([reading.ids])).logits[0, list(reading.places)]
    torch.testing.assert_close(ours, theirs.float(), atol=1e-4, rtol=1e-4)


def test_training_makes_the_held_out_replies_of_a_made_up_speaker_likelier(speaker: Speaker) -> None:
    before, tokens = speaker.nll(prefix=speaker.prefix_as_read())
    learnt: Prefix = speaker.learnt(0.02, 6)
    after, _ = speaker.nll(prefix=learnt)
    assert after / tokens < before / tokens - 0.05


def test_a_prompt_that_is_read_once_gives_what_reading_it_before_each_dialogue_gives(
    prepared: Prepared, fold: Fold
) -> None:
    judges = Judges(prepared, [fold])
    support = fold.support(5)

    def before(exchange: Any) -> Sequence[EncodedDialogue]:
        return support

    (plain,) = judges.evaluator.nll([fold.exchanges], System(UNCHANGED.kind, {}, before), prompt_limit=4096)
    (once,) = judges.after_prompt(support)
    assert once == pytest.approx(plain, rel=1e-4)
