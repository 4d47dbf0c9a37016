"""``menura persona export`` and ``import``: LoRA leaves and comes back, and what cannot leave says so."""

import json
import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import menura
from menura.api import EngineOptions, agents, export_persona
from menura.api.exchange import CARDS, ENGINES
from menura.api.served_personas import served_folder
from menura.artefacts import persona_artefact, persona_store
from menura.artefacts.bases import base as bases
from menura.artefacts.exchange.peft_folder import CONFIG, FILES
from menura.artefacts.persona_memory import RememberedExchanges
from menura.artefacts.tensors import content_sha256
from menura.cli.main import run
from menura.corpus.dialogue import Turn
from menura.errors import NumericalError
from menura.models.causal_lm.config import CausalLmConfig
from menura.models.layers.neural_cache import NeuralCache
from menura.personas.distil import Distillation
from menura.tasks.task import Exchange

Captured = pytest.CaptureFixture[str]
pytestmark = pytest.mark.usefixtures("beside_a_chat")
LORA = ["adapters.kind=lora", "adapters.rank=4", "adapters.target_modules=all-linear"]


def typed(capsys: Captured, line: str, exit_code: int = 0) -> str:
    """Return what a line prints."""
    capsys.readouterr()
    assert run(line.split()) == exit_code
    told = capsys.readouterr()
    return told.out if exit_code == 0 else told.err


def made(capsys: Captured, name: str, *settings: str) -> None:
    """Make a persona of Tomo on the random base."""
    sets = " ".join(f"--set model.{one}" for one in settings)
    typed(capsys, f"adapt {name} chat.txt --speaker Tomo --base tiny -k 3 --set inner.lr=0.05 {sets}")


def test_lora_leaves_for_peft_and_comes_back_bit_for_bit(capsys: Captured) -> None:
    made(capsys, "tomo", *LORA)
    told = typed(capsys, "persona export tomo --to peft --out out/anna")
    assert {path.name for path in Path("out/anna").iterdir()} == FILES
    assert f"model    {bases.folder_of('tiny').resolve()}" in told
    assert "  | hello<|im_end|>\n" in told
    assert "<|im_start|>" in Path("out/anna.chat_template.jinja").read_text(encoding="utf-8")
    typed(capsys, "persona import out/anna --name back --base tiny")
    before, after = (persona_store.load(name) for name in ("tomo", "back"))
    assert content_sha256(before.weights) == content_sha256(after.weights)
    assert after.base_sha256 == before.base_sha256
    assert "method  peft" in typed(capsys, "persona show back")
    typed(capsys, "persona export back --to peft --out out/again")
    for name in FILES - {CONFIG}:
        assert Path("out/anna", name).read_bytes() == Path("out/again", name).read_bytes()


def test_a_dry_run_of_an_export_refuses_what_the_export_would(capsys: Captured) -> None:
    made(capsys, "tomo", *LORA)
    assert "one of" in typed(capsys, "persona export tomo --to pefft --dry-run", exit_code=2)
    assert "has no memory" in typed(capsys, "persona export tomo --to charx --with-memory --dry-run", exit_code=2)
    typed(capsys, "persona export tomo --to peft --out out/anna --dry-run")
    assert not Path("out").exists()


def test_for_vllm_a_folder_lies_in_a_folder_under_the_base_s_name_there(capsys: Captured) -> None:
    made(capsys, "tomo", *LORA)
    typed(capsys, "persona export tomo --to vllm --out served --base-name some/base")
    assert json.loads(Path("served/tomo", CONFIG).read_text())["base_model_name_or_path"] == "some/base"
    assert {path.name for path in Path("served").iterdir()} == {"tomo", "chat_template.jinja"}


def test_a_merged_model_is_loaded_by_transformers_and_has_our_logits(capsys: Captured) -> None:
    made(capsys, "tomo", *LORA)
    typed(capsys, "persona export tomo --to merged --out whole --dtype float32")
    theirs = AutoModelForCausalLM.from_pretrained("whole", dtype=torch.float32).eval()
    words = AutoTokenizer.from_pretrained("whole")
    persona = agents(["tomo"])["tomo"]
    ids = torch.tensor([words("hello, how are the ferns?")["input_ids"]])
    assert ids[0].tolist() == list(persona.loaded.encoder.tokenizer.encode("hello, how are the ferns?"))
    with torch.no_grad(), persona._as_agent():
        assert torch.allclose(persona.loaded.model.logits(ids), theirs(input_ids=ids).logits, atol=2e-5)
    assert theirs.generation_config.eos_token_id == [258]


def test_a_base_leaves_byte_by_byte_and_its_personas_fit_it(capsys: Captured) -> None:
    made(capsys, "tomo", *LORA)
    typed(capsys, "base export tiny --original --out copy")
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        assert Path("copy", name).read_bytes() == (bases.folder_of("tiny") / name).read_bytes()
    assert AutoTokenizer.from_pretrained("copy").chat_template
    folder = served_folder(str(Path("copy").resolve()), "tomo")
    assert folder is not None
    assert {path.name for path in folder.iterdir()} == FILES


def test_an_engine_gets_another_path_for_another_version_and_none_for_a_stranger(capsys: Captured) -> None:
    made(capsys, "tomo", *LORA)
    base = str(bases.folder_of("tiny").resolve())
    first = served_folder(base, "tomo")
    assert first == served_folder(base, "tomo")
    made(capsys, "tomo", *LORA, "adapters.layers=1")
    second = served_folder(base, "tomo")
    assert second != first
    assert first is not None
    assert {path.name for path in first.iterdir()} == FILES
    assert served_folder(base, "nobody") is None
    assert served_folder(base, "a:b") is None


@pytest.mark.parametrize("kind", ["houlsby", "ia3", "prompt", "none"])
def test_what_cannot_leave_says_so_and_can_be_distilled(capsys: Captured, kind: str) -> None:
    made(capsys, "tomo", f"adapters.kind={kind}", "adapters.target_modules=query_value")
    told = typed(capsys, "persona export tomo --to peft", 2)
    assert told.startswith("error[cannot_leave]: persona 'tomo' cannot leave as LoRA: ")
    assert "menura persona export tomo --to peft --distil --dialogues FILES" in told
    assert "some minutes and is not exact" in told
    told = typed(capsys, "persona export tomo --to peft --distil", 2)
    assert told.startswith("error[no_dialogues]: ")
    told = typed(capsys, "persona export tomo --to peft --distil --dialogues chat.txt")
    kl = re.search(r"([\d.e-]+) nats per token of the base, ([\d.e-]+) of the LoRA", told)
    assert kl is not None, told
    assert float(kl[2]) < float(kl[1])
    assert {path.name for path in Path("tomo-peft").iterdir()} == FILES
    assert json.loads(Path("tomo-peft", CONFIG).read_text())["r"] == 8


def test_a_rank_above_what_engines_take_is_refused_unless_they_take_it(capsys: Captured) -> None:
    made(capsys, "tomo", "adapters.kind=lora", "adapters.rank=32")
    told = typed(capsys, "persona export tomo --to vllm", 2)
    assert "LoRA of rank 32, and engines take 16" in told
    typed(capsys, "persona export tomo --to vllm --max-rank 32")
    typed(capsys, "persona export tomo --to merged")


def test_a_persona_of_another_base_does_not_leave(capsys: Captured) -> None:
    made(capsys, "tomo", *LORA)
    persona = persona_store.load("tomo")
    object.__setattr__(persona, "base_sha256", "0" * 64)
    persona_store.save(persona)
    assert typed(capsys, "persona export tomo --to peft", 3).startswith("error[base_mismatch]: persona 'tomo' was made")


def test_lora_on_a_part_of_the_maps_becomes_a_persona_that_changes_nothing_else(capsys: Captured) -> None:
    made(capsys, "tomo", "adapters.rank=4", "adapters.layers=2", "adapters.target_modules=query_value")
    typed(capsys, "persona export tomo --to peft --out part")
    held = load_file("part/adapter_model.safetensors")
    gone = "base_model.model.model.layers.3.self_attn.v_proj.lora_"
    save_file(
        {name: value for name, value in held.items() if not name.startswith(gone)}, "part/adapter_model.safetensors"
    )
    typed(capsys, "persona import part --name half --base tiny")
    half, whole = (persona_store.load(name).weights for name in ("half", "tomo"))
    assert len(half) == len(whole) == 8
    assert not half["adapters.3.self_attn.v_proj.up.weight"].any()
    assert half["adapters.3.self_attn.v_proj.down.weight"].any()
    assert torch.equal(half["adapters.2.self_attn.v_proj.up.weight"], whole["adapters.2.v_proj.up.weight"])


def test_a_houlsby_checkpoint_is_not_merged_into_a_base(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = CausalLmConfig("tiny", init_from="shipped")
    monkeypatch.setattr("menura.api.exchange.settings_for", lambda name, **options: settings)
    told = typed(capsys, "base export tiny --out copy", 2)
    assert told.startswith("error[cannot_leave]: the checkpoint of base 'tiny' is houlsby")
    assert not Path("copy").exists()


def test_distilling_that_diverges_says_what_can_be_typed_in_its_place(capsys: Captured) -> None:
    made(capsys, "tomo", "adapters.kind=ia3", "adapters.target_modules=query_value")
    options = EngineOptions(distil=True, dialogues=(Path("chat.txt"),), how=Distillation(epochs=1, lr=math.inf))
    with pytest.raises(NumericalError) as caught:
        export_persona("tomo", "peft", Path("out"), options)
    hints = [problem.hint for problem in caught.value.problems]
    assert hints == ["adapt it with LoRA on a base instead: menura adapt NAME FILES"]
    assert not Path("out").exists()


REMEMBERED = "the key is under the third pot"


def remembering_persona(capsys: Captured) -> None:
    """Make a persona that remembers an exchange, its words in a cache."""
    made(capsys, "tomo", *LORA)
    exchange = Exchange("one", (Turn("Ines", "where is it?"),), Turn("Tomo", REMEMBERED))
    cache = NeuralCache.of(torch.eye(2, 64), torch.tensor([104, 105]))
    persona_store.save(
        replace(persona_store.load("tomo"), memory=RememberedExchanges.of((exchange,), cache, (exchange,) * 2))
    )


def all_bytes(path: Path) -> bytes:
    """Return what stands in a file, or in all files of a folder."""
    return path.read_bytes() if path.is_file() else b"".join(map(all_bytes, sorted(path.iterdir())))


@pytest.mark.parametrize("to", [*CARDS, *ENGINES])
def test_what_a_persona_remembers_stays_behind_whatever_is_written(capsys: Captured, to: str) -> None:
    remembering_persona(capsys)
    assert REMEMBERED.encode() in all_bytes(Path("home/personas/tomo.persona"))
    told = typed(capsys, f"persona export tomo --to {to} --out out")
    why = "no engine has a place for it" if to in ENGINES else "--to charx --with-memory takes it along"
    line = f"memory   what it remembers (1 exchange, and a cache of words) stays behind: {why}"
    assert told.splitlines().count(line) == 1, told
    assert REMEMBERED.encode() not in all_bytes(Path("out"))
    assert to != "charx" or persona_artefact.read(Path("out")).memory is None


def test_a_charx_has_the_memory_where_that_is_asked_for(capsys: Captured) -> None:
    remembering_persona(capsys)
    told = typed(capsys, "persona export tomo --with-memory --out out")
    assert told == "wrote out\nmemory   what it remembers (1 exchange, and a cache of words) is in it, word for word\n"
    assert REMEMBERED.encode() in all_bytes(Path("out"))
    assert persona_artefact.read(Path("out")).packed() == persona_store.load("tomo").packed()
    told = typed(capsys, "--json persona export tomo --with-memory --out out")
    assert json.loads(told)["memory"] == {"exchanges": 1, "cache": True, "written": True}


def test_no_memory_leaves_for_a_program_that_has_no_place_for_one(capsys: Captured) -> None:
    remembering_persona(capsys)
    for to in [*CARDS[1:], *ENGINES]:
        told = typed(capsys, f"persona export tomo --to {to} --with-memory --out out", 2)
        assert told.startswith("error[config]: --with-memory: what a persona remembers leaves in a charx alone"), told
    assert not Path("out").exists()


def test_a_persona_that_remembers_nothing_has_no_memory_to_write(capsys: Captured) -> None:
    made(capsys, "tomo", *LORA)
    told = typed(capsys, "persona export tomo --with-memory", 2)
    assert told.startswith("error[no_memory]: --with-memory: persona 'tomo' has no memory"), told
    assert not Path("tomo.charx").exists()
    assert "memory" not in typed(capsys, "persona export tomo")


def test_a_package_given_by_its_path_leaves_into_the_folder_that_is_named(capsys: Captured) -> None:
    made(capsys, "tomo", *LORA)
    source = Path("home/personas/tomo.persona")
    typed(capsys, f"persona export {source.resolve()} --to vllm --out served")
    assert {path.name for path in Path("served/tomo").iterdir()} == FILES
    assert {path.name for path in source.parent.iterdir()} == {"tomo.persona"}


def test_the_plug_in_of_vllm_brings_nothing_that_its_workers_trip_over() -> None:
    # vLLM looks through every module that is loaded, and numba's compiler does not bear it.
    code = "import sys, menura.api.served_personas; print(sorted({'bm25s', 'numba', 'llvmlite'} & set(sys.modules)))"
    here = os.environ | {"PYTHONPATH": str(Path(menura.__file__).parents[1])}
    told = subprocess.run([sys.executable, "-c", code], env=here, capture_output=True, text=True, check=True).stdout
    assert told == "[]\n"
