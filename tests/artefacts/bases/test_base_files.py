"""What is no base is refused by name, each kind with its own code, and none of it is run."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_bases import SIZES, change_json, change_weights, write_base
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    BertConfig,
    BertForMaskedLM,
    Qwen2Config,
    Qwen2ForSequenceClassification,
    T5Config,
    T5ForConditionalGeneration,
)

from menura.artefacts.bases import base as bases
from menura.artefacts.bases.files import base_files
from menura.errors import MenuraError, UnsafeError

pytestmark = pytest.mark.usefixtures("empty_workspace")
Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that is a base."""
    folder = tmp_path_factory.mktemp("whole")
    write_base(folder)
    return folder


def quantised(**settings: object) -> Change:
    return lambda folder: change_json(folder / "config.json", lambda c: c.update(quantization_config=settings))


def config(**settings: object) -> Change:
    return lambda folder: change_json(folder / "config.json", lambda c: c.update(settings))


def emptied(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def adapter(folder: Path) -> None:
    emptied(folder)
    settings = {"peft_type": "LORA", "base_model_name_or_path": "some/base"}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    (folder / "adapter_model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")


def pickled(folder: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def without_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()


def sentencepiece(folder: Path) -> None:
    without_tokenizer(folder)
    (folder / "tokenizer.model").write_bytes(b"\n\x0e\n\x05<unk>\x15\x00\x00\x00\x00\x18\x02")


def own_tokenizer_code(folder: Path) -> None:
    sentencepiece(folder)
    (folder / "tokenizer_config.json").write_text(json.dumps({"auto_map": {"AutoTokenizer": ["my.T", None]}}))
    (folder / "my.py").write_text("open('ran_it', 'w').write('x')\n")


def own_code(folder: Path) -> None:
    config(model_type="my_model", architectures=["My"], auto_map={"AutoModelForCausalLM": "my.M"})(folder)
    (folder / "my.py").write_text("open('ran_it', 'w').write('x')\n")


def encoder_decoder(folder: Path) -> None:
    settings = T5Config(vocab_size=264, d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4)
    T5ForConditionalGeneration(settings).save_pretrained(folder)


def masked(folder: Path) -> None:
    BertForMaskedLM(
        BertConfig(vocab_size=264, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64)
    ).save_pretrained(folder)


def classifier(folder: Path) -> None:
    settings = Qwen2Config(vocab_size=264, hidden_size=32, num_hidden_layers=1, num_attention_heads=4)
    Qwen2ForSequenceClassification(settings).save_pretrained(folder)


def narrow(folder: Path) -> None:
    change_weights(folder, lambda w: w.update({name: value.to(torch.float8_e4m3fn) for name, value in w.items()}))


def lying_index(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"model.norm.weight": "../elsewhere/model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def missing_shard(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    names = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))


REFUSED: dict[str, tuple[Change, int, str, str]] = {  # exit code, code, message
    "pickle": (pickled, 4, "unsafe_format", r"pytorch_model.bin: pickle files can run code"),
    "bitsandbytes": (quantised(quant_method="bitsandbytes", load_in_4bit=True), 3, "quantised", "bitsandbytes"),
    "bitsandbytes, unnamed": (quantised(load_in_8bit=True), 3, "quantised", "bitsandbytes"),
    "gptq": (quantised(quant_method="gptq", bits=4), 3, "quantised", "GPTQ.*its .gguf file, serves"),
    "awq": (quantised(quant_method="awq"), 3, "quantised", "AWQ"),
    "fp8": (quantised(quant_method="fp8"), 3, "quantised", "FP8"),
    "fp8, unsaid": (narrow, 3, "quantised", "FP8"),
    "mxfp4": (quantised(quant_method="mxfp4"), 3, "quantised", "MXFP4"),
    "another way": (quantised(quant_method="hqq"), 3, "quantised", "hqq"),
    "a strange way": (config(quantization_config="yes"), 3, "quantised", "in an unnamed way"),
    "own code": (own_code, 4, "own_code", "'my_model' needs code of its own"),
    "tokenizer with own code": (own_tokenizer_code, 4, "own_code", "its tokenizer"),
    "adapter": (adapter, 3, "adapter_folder", "this is a LORA adapter for 'some/base', not a base"),
    "encoder-decoder": (encoder_decoder, 3, "encoder_decoder", "T5ForConditionalGeneration is an encoder-decoder"),
    "masked": (masked, 3, "masked_lm", "BertForMaskedLM is a masked language model"),
    "masked, unnamed": (config(model_type="bert", architectures=None), 3, "masked_lm", "bert is a masked"),
    "masked, headless": (config(model_type="bert", architectures=["BertModel"]), 3, "masked_lm", "BertModel is a"),
    "classifier": (classifier, 3, "classifier", "Qwen2ForSequenceClassification is a classifier"),
    "images": (
        config(model_type="gemma3", vision_config={"hidden_size": 8}),
        3,
        "image_text",
        "reads images as well as text",
    ),
    "another kind": (config(model_type="vit", architectures=["ViTModel"]), 3, "not_causal_lm", "ViTModel"),
    "unknown type": (config(model_type="wavenet9"), 3, "unknown_architecture", "no model_type 'wavenet9'"),
    "no type": (config(model_type=None), 3, "schema", "it names no model_type"),
    "no settings": (lambda f: (f / "config.json").unlink(), 3, "base_missing", "config.json is missing"),
    "damaged settings": (lambda f: (f / "config.json").write_text("{"), 3, "schema", "not valid JSON"),
    "a list of settings": (lambda f: (f / "config.json").write_text("[]"), 3, "schema", "a JSON object is wanted"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), 3, "base_missing", "model.safetensors is missing"),
    "shard missing": (missing_shard, 3, "shard_missing", "1 of 2 files of weights.*00002-of-00002"),
    "index leads out": (lying_index, 3, "weights_damaged", r"it names \.\./elsewhere"),
    "no tokenizer": (without_tokenizer, 3, "no_tokenizer", "tokenizer.json is missing"),
    "tokenizer.model only": (sentencepiece, 3, "package_missing", "tokenizer.model.*needs sentencepiece"),
    "damaged tokenizer": (
        lambda f: (f / "tokenizer.json").write_text("{"),
        3,
        "tokenizer_unreadable",
        "cannot be read",
    ),
    "nothing": (emptied, 3, "base_missing", "config.json is missing"),
}


@pytest.mark.parametrize(("change", "exit_code", "code", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_base_is_refused_by_name(
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Change,
    exit_code: int,
    code: str,
    message: str,
) -> None:
    shutil.copytree(whole, tmp_path / "theirs")
    change(tmp_path / "theirs")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MenuraError, match=message) as caught:
        bases.load(str(tmp_path / "theirs"), offline=True)
    problem = caught.value.problems[0]
    assert (caught.value.exit_code, problem.code) == (exit_code, code)
    assert problem.place.startswith(str(tmp_path / "theirs"))
    assert problem.hint
    assert not list(tmp_path.rglob("ran_it"))


def test_the_line_that_converts_a_pickle_works_when_typed(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "theirs")
    folder = tmp_path / "theirs"
    torch.save(bases.load(str(folder)).network.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UnsafeError) as caught:
        bases.load(str(folder))
    line = caught.value.problems[0].hint
    assert line.startswith("python -c ")
    subprocess.run(line.replace("python", sys.executable, 1), shell=True, check=True, capture_output=True)
    assert torch.equal(
        bases.load(str(folder)).network.model.norm.weight, bases.load(str(whole)).network.model.norm.weight
    )


def test_code_beside_a_network_that_transformers_has_is_no_reason_and_is_not_run(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "theirs")
    config(auto_map={"AutoModelForCausalLM": "my.M"})(tmp_path / "theirs")
    (tmp_path / "theirs" / "my.py").write_text(f"open({str(tmp_path / 'ran_it')!r}, 'w').write('x')\n")
    assert type(bases.load(str(tmp_path / "theirs")).network).__name__ == "LlamaForCausalLM"
    assert not (tmp_path / "ran_it").exists()


def test_a_network_saved_without_its_head_is_a_base_if_the_head_is_the_embedding(tmp_path: Path) -> None:
    for tied in (True, False):
        folder = tmp_path / str(tied)
        made = write_base(folder, tie_word_embeddings=tied)
        made.model.save_pretrained(folder)
    assert torch.equal(bases.load(str(tmp_path / "True")).network.model.norm.weight, made.model.norm.weight)
    with pytest.raises(MenuraError, match="lm_head.weight is missing"):
        bases.load(str(tmp_path / "False"))


def test_of_a_model_that_reads_images_the_text_part_is_read_where_it_stands_alone(tmp_path: Path) -> None:
    settings = AutoConfig.for_model("qwen3_5")
    sizes = {**SIZES, "head_dim": 16, "layer_types": ["linear_attention", "full_attention"]}
    gated = {f"linear_{name}": 8 for name in ("key_head_dim", "value_head_dim")}
    heads = {f"linear_{name}": 2 for name in ("num_key_heads", "num_value_heads")}
    eyes = {"depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 32}
    for part, changed in ((settings.text_config, {**sizes, **gated, **heads}), (settings.vision_config, eyes)):
        for name, value in changed.items():
            setattr(part, name, value)
    whole = AutoModelForImageTextToText.from_config(settings).eval()
    write_base(tmp_path)
    whole.save_pretrained(tmp_path)
    network = bases.load(str(tmp_path)).network
    assert type(network).__name__ == "Qwen3_5ForCausalLM"
    assert sum(p.numel() for p in bases.without_weights(str(tmp_path)).parameters()) == network.num_parameters()
    ids = torch.tensor([[39, 68, 75]])
    with torch.no_grad():
        assert torch.allclose(network(ids).logits, whole(ids).logits, atol=1e-5)
    change_weights(tmp_path, lambda held: held.pop("model.language_model.norm.weight"))
    with pytest.raises(MenuraError, match="model.norm.weight is missing"):
        bases.load(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("model.pt", b"\x80\x04", "unsafe_format"),
        ("model.safetensors", b"12345678{}", "base_missing"),
        ("notes.txt", b"hello", "base_missing"),
    ],
)
def test_a_file_that_is_no_gguf_is_no_base(tmp_path: Path, name: str, content: bytes, code: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MenuraError, match=name) as caught:
        bases.load(str(tmp_path / name))
    assert caught.value.problems[0].code == code


def test_parameters_and_the_widest_type_are_read_from_the_headers(tmp_path: Path) -> None:
    made = write_base(tmp_path)
    found = base_files(tmp_path)
    assert (found.parameters, found.stored) == (sum(value.numel() for value in made.parameters()), torch.float32)
    made.to(torch.float16).save_pretrained(tmp_path)
    assert base_files(tmp_path).stored == torch.float16
