"""A base computes in float32 unless that does not fit or is wasteful, and it is said."""

import pytest
import torch

from menura.artefacts.bases import dtype as base_dtype
from menura.artefacts.bases.dtype import chosen_dtype, free_memory
from menura.artefacts.loading import LoadOptions
from menura.errors import ConfigError, NumericalError
from menura.models.causal_lm.config import CausalLmConfig
from menura.models.layers.adapters import Adapters
from menura.registry import load_model

F32, BF16, F16 = torch.float32, torch.bfloat16, torch.float16


@pytest.fixture(autouse=True)
def able(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a processor with instructions for bfloat16."""
    monkeypatch.setattr(base_dtype, "has_bfloat16", lambda device="cpu": True)


@pytest.mark.parametrize(
    ("dtype", "parameters", "stored", "device", "chosen", "said"),
    [
        ("auto", 100, F32, "cpu", F32, ""),
        ("auto", 100, F16, "cpu", F32, ""),
        ("auto", 100, BF16, "cuda", BF16, "stored in 16 bits"),
        ("auto", 100, F32, "cuda:0", F32, ""),
        ("auto", 126, F32, "cpu", BF16, "in float32 0 MB of 0 MB free memory were needed"),
        ("auto", 125, F32, "cpu", F32, ""),
        ("float32", 200, BF16, "cuda", F32, ""),
        ("bfloat16", 100, F32, "cpu", BF16, ""),
    ],
)
def test_the_type_fits_and_another_than_float32_is_said(
    monkeypatch: pytest.MonkeyPatch,
    dtype: str,
    parameters: int,
    stored: torch.dtype,
    device: str,
    chosen: torch.dtype,
    said: str,
) -> None:
    monkeypatch.setattr(base_dtype, "free_memory", lambda device: 1000)
    lines: list[str] = []
    assert chosen_dtype(dtype, parameters, stored, device, lines.append) == chosen  # type: ignore[arg-type]
    assert len(lines) == bool(said)
    assert said in "".join(lines)


@pytest.mark.parametrize(
    ("dtype", "parameters", "device", "chosen", "said"),
    [
        ("auto", 126, "cpu", F32, "dtype  float32: this processor has no instructions for bfloat16, so in float32 "),
        ("auto", 251, "cpu", BF16, "were needed"),  # nothing else fits
        ("auto", 100, "cpu", F32, ""),
        ("bfloat16", 100, "cpu", BF16, "no instructions for bfloat16; it takes many times as long as --dtype float32"),
        ("float32", 100, "cpu", F32, ""),
    ],
)
def test_a_type_that_the_processor_lacks_is_said_and_left_only_by_auto(
    monkeypatch: pytest.MonkeyPatch, dtype: str, parameters: int, device: str, chosen: torch.dtype, said: str
) -> None:
    monkeypatch.setattr(base_dtype, "free_memory", lambda device: 1000)
    monkeypatch.setattr(base_dtype, "has_bfloat16", lambda device="cpu": False)
    lines: list[str] = []
    assert chosen_dtype(dtype, parameters, F32, device, lines.append) == chosen  # type: ignore[arg-type]
    assert len(lines) == bool(said)
    assert said in "".join(lines)


def test_what_fits_in_no_type_is_refused_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_dtype, "free_memory", lambda device: 1_000_000_000)
    with pytest.raises(NumericalError, match="take 1.2 GB in float32, 1.0 GB of memory are free") as caught:
        chosen_dtype("float32", 300_000_000, F32, "cpu", print)
    assert caught.value.problems[0].hint == "--dtype bfloat16"
    with pytest.raises(NumericalError, match="take 1.2 GB in bfloat16"):
        chosen_dtype("auto", 600_000_000, F32, "cpu", print)
    with pytest.raises(ConfigError, match="auto, float32 or bfloat16 wanted"):
        chosen_dtype("float16", 1, F32, "cpu", print)  # type: ignore[arg-type]


def test_where_the_system_does_not_tell_its_memory_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_dtype, "free_memory", lambda device: None)
    assert chosen_dtype("auto", 10**15, F32, "cpu", print) == F32


def test_free_memory_is_that_of_the_system_or_of_a_smaller_group(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("memory")
    monkeypatch.setattr(base_dtype, "MEMORY", folder / "meminfo")
    monkeypatch.setattr(base_dtype, "GROUP", folder)
    assert free_memory() is None
    (folder / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    2000 kB\n")
    assert free_memory() == 2_048_000
    (folder / "memory.max").write_text("max\n")
    (folder / "memory.current").write_text("300\n")
    assert free_memory() == 2_048_000
    (folder / "memory.max").write_text("1000\n")
    assert free_memory() == 700


@pytest.mark.parametrize(
    "settings", [{"train_base": True}, {"adapters": Adapters("none")}], ids=["train_base", "in-place"]
)
def test_a_base_that_is_trained_itself_is_float32(settings: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_dtype, "free_memory", lambda device: 300_000)  # too little for auto to be float32
    config = CausalLmConfig("tiny", **settings)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="the base's own weights are trained in float32 only") as caught:
        load_model(config, LoadOptions(dtype="bfloat16"))
    assert "--dtype float32" in caught.value.problems[0].hint
    loaded = load_model(config, LoadOptions(dtype="auto"))
    assert {value.dtype for value in loaded.model.parameters()} == {F32}


def test_a_frozen_base_is_bfloat16_where_that_is_asked_for() -> None:
    loaded = load_model(CausalLmConfig("tiny", adapters=Adapters("ia3")), LoadOptions(dtype="bfloat16"))
    kinds = {name.partition(".")[0]: value.dtype for name, value in loaded.model.named_parameters()}
    assert kinds == {"network": BF16, "adapters": F32}


@pytest.mark.parametrize(
    ("machine", "avx", "amx", "able"),
    [
        ("x86_64", False, False, False),
        ("x86_64", True, False, True),
        ("AMD64", False, True, True),
        ("arm64", False, False, True),
    ],
)
def test_a_processor_is_asked_for_its_instructions(
    monkeypatch: pytest.MonkeyPatch, machine: str, avx: bool, amx: bool, able: bool
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    assert base_dtype.has_bfloat16("cpu") is able
    assert base_dtype.has_bfloat16("cuda:0")
