"""A GGUF file is the network that was converted into it, or is refused by name."""

from pathlib import Path

import pytest
import torch
from small_bases import ROPE, TEMPLATE, network, write_gguf
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from menura.artefacts.bases import base as bases
from menura.errors import DataError

IDS = torch.tensor([[39, 68, 75, 75, 78, 3, 200]])
pytestmark = pytest.mark.usefixtures("empty_workspace")


@pytest.mark.parametrize("tied", [False, True])
def test_a_gguf_is_the_network_that_it_was_made_from(tmp_path: Path, tied: bool) -> None:
    made, said = network(tie_word_embeddings=tied), list[str]()
    write_gguf(tmp_path / "tiny.gguf", made)
    loaded = bases.load(str(tmp_path / "tiny.gguf"), say=said.append)
    assert torch.equal(loaded.network(IDS).logits, made(IDS).logits)
    assert (loaded.network.get_output_embeddings().weight is loaded.network.get_input_embeddings().weight) == tied
    assert loaded.base.source == "gguf"
    assert loaded.base.parameters == sum(value.numel() for value in made.parameters())
    assert said == [f"gguf   llama F32, {loaded.base.parameters:,} values, 0 MB unpacked"]


def test_tokenizer_template_and_end_come_from_the_gguf(tmp_path: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf", network())
    loaded = bases.load(str(tmp_path / "tiny.gguf"))
    assert loaded.hf_tokenizer.chat_template == TEMPLATE
    assert loaded.end_ids == (257, 258)  # the end of a turn, and of text
    assert list(loaded.tokenizer.encode("Hello")) == loaded.hf_tokenizer("Hello")["input_ids"] == [39, 68, 75, 75, 78]


def test_a_gguf_s_network_is_saved_and_read_like_any_other(tmp_path: Path) -> None:
    made = network()
    write_gguf(tmp_path / "tiny.gguf", made)
    loaded = bases.load(str(tmp_path / "tiny.gguf"))
    loaded.network.save_pretrained(tmp_path / "saved")
    loaded.hf_tokenizer.save_pretrained(tmp_path / "saved")
    assert torch.equal(bases.load(str(tmp_path / "saved")).network(IDS).logits, made(IDS).logits)


def test_a_folder_with_one_gguf_is_a_base_and_one_with_two_names_them(tmp_path: Path) -> None:
    write_gguf(tmp_path / "a-q8_0.gguf", network())
    assert bases.load(str(tmp_path)).base.sha256 == bases.load(str(tmp_path / "a-q8_0.gguf")).base.sha256
    (tmp_path / "mmproj-a.gguf").write_bytes(b"GGUF")  # what turns images into embeddings is no second model
    assert bases.pull(str(tmp_path)).source == "gguf"
    write_gguf(tmp_path / "b-q4_0.gguf", network())
    with pytest.raises(DataError, match=r"2 GGUF files, one is wanted: a-q8_0.gguf, b-q4_0.gguf") as caught:
        bases.load(str(tmp_path))
    assert caught.value.problems[0].code == "gguf_several"
    chosen = caught.value.problems[0].hint.removeprefix("--base ")
    assert bases.pull(chosen).source == "gguf"


def test_llama_s_rope_scaling_is_read_from_its_tensor(tmp_path: Path) -> None:
    """transformers leaves the tensor out, and each position beyond the first would be wrong."""
    made = network(rope_parameters={**ROPE, "original_max_position_embeddings": 8192})
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](made.config, torch.device("cpu"))
    plain = ROPE["rope_theta"] ** -(torch.arange(0, 8, 2).float() / 8)  # type: ignore[operator]
    factors = plain / scaled
    assert factors.max() == pytest.approx(8)
    write_gguf(tmp_path / "llama3.gguf", made, rope_factors=factors)
    assert torch.allclose(bases.load(str(tmp_path / "llama3.gguf")).network(IDS).logits, made(IDS).logits, atol=1e-5)
    write_gguf(tmp_path / "other.gguf", made, rope_factors=factors + torch.tensor([0, 0, 3.0, 0]))
    with pytest.raises(DataError, match="rope_freqs.weight is no scaling that is known") as caught:
        bases.load(str(tmp_path / "other.gguf"))
    assert caught.value.problems[0].code == "gguf_rope"


def test_a_gguf_without_a_tensor_or_with_nan_is_refused_with_its_name(tmp_path: Path) -> None:
    made = network()
    made.model.layers[1].mlp.down_proj.weight.data[3, 4] = float("nan")
    write_gguf(tmp_path / "nan.gguf", made)
    with pytest.raises(DataError, match=r"layers.1.mlp.down_proj.weight: 1 values are not finite"):
        bases.load(str(tmp_path / "nan.gguf"))
    shorter = network()
    del shorter.model.layers[1].mlp.up_proj
    write_gguf(tmp_path / "short.gguf", shorter)
    with pytest.raises(DataError, match=r"model.layers.1.mlp.up_proj.weight is missing"):
        bases.load(str(tmp_path / "short.gguf"))


def test_values_of_a_gguf_that_have_no_place_are_refused(tmp_path: Path) -> None:
    deeper = network()
    deeper.config.num_hidden_layers = 1
    write_gguf(tmp_path / "deep.gguf", deeper, layers=2)
    with pytest.raises(DataError, match="parts of it would be left out"):
        bases.load(str(tmp_path / "deep.gguf"))


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("zeros.gguf", b"GGUF" + bytes(60), "gguf_damaged"),
        ("short.gguf", b"GGUF", "gguf_damaged"),
        ("huge.gguf", b"GGUF\x03\0\0\0" + b"\xff" * 16, "gguf_damaged"),
        ("other.gguf", b"hello, this is no model", "gguf_damaged"),
        ("model-00001-of-00002.gguf", b"GGUF", "gguf_split"),
    ],
)
def test_what_is_no_gguf_is_refused_by_name(tmp_path: Path, name: str, content: bytes, code: str) -> None:
    (tmp_path / name).write_bytes(content)
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(DataError, match=name) as caught:
            bases.load(str(path))
        assert caught.value.problems[0].code == code


def test_a_truncated_gguf_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    write_gguf(tmp_path / "whole.gguf", network())
    content = (tmp_path / "whole.gguf").read_bytes()
    for part in range(1, 20):
        (tmp_path / "cut.gguf").write_bytes(content[: len(content) * part // 20])
        with pytest.raises(DataError, match="damaged") as caught:
            bases.load(str(tmp_path / "cut.gguf"))
        assert caught.value.problems[0].code == "gguf_damaged"


@pytest.mark.parametrize(("kind", "code"), [("wavenet", "gguf_architecture"), ("t5", "encoder_decoder")])
def test_a_gguf_of_another_architecture_is_refused_by_name(tmp_path: Path, kind: str, code: str) -> None:
    write_gguf(tmp_path / "other.gguf", network(), architecture=kind)
    with pytest.raises(DataError, match=kind) as caught:
        bases.load(str(tmp_path / "other.gguf"))
    assert caught.value.problems[0].code == code


def test_a_rope_scaling_that_is_not_read_is_refused(tmp_path: Path) -> None:
    write_gguf(tmp_path / "linear.gguf", network(), rope_scaling="linear")
    with pytest.raises(DataError, match="its rope scaling .linear. is not read"):
        bases.load(str(tmp_path / "linear.gguf"))


def test_a_gguf_has_its_shapes_without_its_weights(tmp_path: Path) -> None:
    made = network()
    write_gguf(tmp_path / "tiny.gguf", made)
    for path in (tmp_path, tmp_path / "tiny.gguf"):
        shapes = bases.without_weights(str(path))
        assert all(value.device.type == "meta" for value in shapes.parameters())
        assert [value.shape for value in shapes.parameters()] == [value.shape for value in made.parameters()]
