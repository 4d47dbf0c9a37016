import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from made_up import part
from small_plato import MARKS, PIECES, bert, gpt2
from tokenizers import Tokenizer

from menura.artefacts import tensors
from menura.artefacts.bases import base as bases
from menura.artefacts.loading import LoadOptions
from menura.artefacts.pretrained import known_sizes, load_pretrained
from menura.errors import ConfigError, DataError, MenuraError, MismatchError
from menura.models.plato.config import PlatoConfig
from menura.models.plato.model import Plato
from menura.registry import load_model


def changed(file: Path, change: Callable[[dict], None]) -> None:
    """Change a file of settings."""
    plain = json.loads(file.read_text(encoding="utf-8"))
    change(plain)
    file.write_text(json.dumps(plain), encoding="utf-8")


def shorter(folder: Path) -> None:
    network = Tokenizer.from_file(str(folder / "tokenizer.json"))
    network.add_tokens(["onemore"])
    network.save(str(folder / "tokenizer.json"))


def without_mark(folder: Path) -> None:
    changed(folder / "tokenizer.json", lambda plain: plain["model"]["vocab"].update({"[was1]": 2}))
    changed(folder / "tokenizer.json", lambda plain: plain["model"]["vocab"].pop("[unused1]"))


def exchanged(folder: Path) -> None:
    changed(folder / "tokenizer.json", lambda plain: plain["model"]["vocab"].update({"like": 9, "tea": 8}))


def fewer_layers(folder: Path) -> None:
    changed(folder / "config.json", lambda plain: plain.update(num_hidden_layers=1))


def more_layers(folder: Path) -> None:
    changed(folder / "config.json", lambda plain: plain.update(num_hidden_layers=3))


def other_width(folder: Path) -> None:
    changed(folder / "config.json", lambda plain: plain.update(hidden_size=16))


def no_width(folder: Path) -> None:
    changed(folder / "config.json", lambda plain: plain.pop("hidden_size"))


def unknown_activation(folder: Path) -> None:
    changed(folder / "config.json", lambda plain: plain.update(hidden_act="relu"))


def other_network(folder: Path) -> None:
    tensors.save(folder / "model.safetensors", {"wte.weight": torch.zeros(3, 2)})


def no_query(folder: Path) -> None:
    held = tensors.load(folder / "model.safetensors")
    tensors.save(
        folder / "model.safetensors",
        {n: v for n, v in held.items() if n != "encoder.layer.1.attention.self.query.bias"},
    )


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize(
    ("spoil", "error", "told"),
    [
        (shorter, MismatchError, f"{len(PIECES) + 1} tokens, the weights {len(PIECES)} rows"),
        (without_mark, MismatchError, r"no token \[unused1\]"),
        (exchanged, MismatchError, r"2 token strings of vocab.txt stand elsewhere .* row 8 is 'like', row 9 is 'tea'"),
        (fewer_layers, MismatchError, r"body.blocks.1.* is missing in the model"),
        (more_layers, MismatchError, r"body.blocks.2.* is missing in it"),
        (other_width, MismatchError, r"does not fit the model"),
        (no_width, DataError, "not the settings of a BERT: 'hidden_size'"),
        (unknown_activation, DataError, "not the settings of a BERT: 'relu'"),
        (other_network, DataError, "not a network of its kind: embeddings.word_embeddings.weight is missing"),
        (no_query, DataError, "attention.self.query.bias is missing"),
        (no_weights, ConfigError, "neither minilm nor a folder with"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_bert_that_does_not_fit_together_is_refused(
    tmp_path: Path, spoil: Callable[[Path], None], error: type[MenuraError], told: str
) -> None:
    bert(tmp_path)
    spoil(tmp_path)
    with pytest.raises(error, match=told):
        load_model(PlatoConfig(base=str(tmp_path)))


def test_a_list_of_words_that_differs_is_refused_and_none_is_no_fault(tmp_path: Path) -> None:
    bert(tmp_path)
    listed = tmp_path / "vocab.txt"
    listed.write_text("\n".join((*PIECES[:-2], PIECES[-1], PIECES[-2])) + "\n", encoding="utf-8")
    with pytest.raises(MismatchError, match=r"2 token strings .*\(hint: take both files from the same checkpoint"):
        load_pretrained(str(tmp_path))
    listed.unlink()
    assert load_pretrained(str(tmp_path)).tokenizer.has("[MASK]")


def test_what_opens_and_ends_is_two_rows_that_nothing_was_learnt_in(tmp_path: Path) -> None:
    network = bert(tmp_path)
    loaded = load_model(PlatoConfig(base=str(tmp_path)))
    assert isinstance(loaded.model, Plato)
    (exchange,) = loaded.encoder.dialogue(part("d", "hi", "i like tea"), "mira")
    rows = [PIECES.index(mark) for mark in ("[unused0]", "[unused1]")]
    assert [exchange.context[-1], exchange.reply[-1]] == rows
    table = loaded.model.embeddings.token.weight
    assert torch.equal(table, network.embeddings.word_embeddings.weight)
    assert torch.equal(loaded.model.mask_slot[0], table[PIECES.index("[MASK]")])
    own = load_model(PlatoConfig(base=str(tmp_path), preset="release")).model
    assert isinstance(own, Plato)
    assert not torch.equal(own.mask_slot[0], table[PIECES.index("[MASK]")])
    # What the segments told becomes whose turn it is; a third role and turns are new.
    assert torch.equal(own.embeddings.role.weight[:2], network.embeddings.token_type_embeddings.weight)
    assert own.embeddings.role.weight[2].detach().std().item() == pytest.approx(0.02, rel=0.5)
    assert own.embeddings.turn.weight.detach().std().item() == pytest.approx(0.02, rel=0.2)


def test_a_reply_holds_no_mark_and_no_unused_row(tmp_path: Path) -> None:
    bert(tmp_path)
    loaded = load_model(PlatoConfig(base=str(tmp_path)))
    assert isinstance(loaded.model, Plato)
    end = PIECES.index("[unused1]")
    assert set(loaded.model.suppress_ids) == {PIECES.index(mark) for mark in MARKS} - {end}
    typed = loaded.encoder.tokenizer.encode("[MASK] [unused0] [unused1] [PAD] [SEP]")
    assert not {PIECES.index(mark) for mark in MARKS if mark != "[UNK]"} & set(typed), "what a person types is text"


def test_random_weights_take_the_vocabulary_alone(tmp_path: Path) -> None:
    bert(tmp_path)
    config = PlatoConfig(
        base=str(tmp_path), init="random", hidden_size=16, num_layers=1, num_heads=2, intermediate_size=8
    )
    model = load_model(config).model
    assert isinstance(model, Plato)
    assert model.embeddings.token.weight.shape == (len(PIECES), 16)
    assert load_pretrained(str(tmp_path), weights=False).weights == {}
    again, other = (load_model(config, LoadOptions(seed=seed)).model.state_dict() for seed in (0, 1))
    assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items())
    assert not torch.equal(again["latent"], other["latent"])


def test_fewer_rows_than_tokens_are_refused(tmp_path: Path) -> None:
    bert(tmp_path)
    with pytest.raises(ConfigError, match=rf"model.vocab_size: 7 rows, but .* has {len(PIECES)} tokens"):
        load_model(PlatoConfig(base=str(tmp_path), init="random", vocab_size=7))


def test_a_gpt2_gets_two_tokens_behind_its_own(tmp_path: Path) -> None:
    network = gpt2(tmp_path)
    loaded = load_model(PlatoConfig(base=str(tmp_path)))
    assert isinstance(loaded.model, Plato)
    assert len(loaded.encoder.tokenizer) == 261
    assert loaded.encoder.chat_format.end == 260
    table = loaded.model.embeddings.token.weight
    assert torch.equal(table[:259], network.transformer.wte.weight)
    assert table[259:].detach().std().item() == pytest.approx(0.02, rel=0.5)
    assert not hasattr(loaded.model.embeddings.norm, "weight")
    assert loaded.model.body.final_norm is not None
    assert loaded.base.parameters == sum(value.numel() for value in network.parameters())


def test_another_kind_of_network_gives_its_vocabulary_and_no_weights() -> None:
    with pytest.raises(DataError, match="is of kind 'llama'; a unified transformer begins as a bert or a gpt2"):
        load_pretrained("tiny")
    assert len(load_pretrained("tiny", weights=False).tokenizer) == 261


def test_a_bert_that_a_hub_gave_is_read_like_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MENURA_HOME", str(tmp_path / "home"))
    network = bert(tmp_path / "bert", masked_words=True)

    def fetch(name: str, *, offline: bool = False, say: Callable[[str], None] = print) -> None:
        del offline, say
        folder = bases.folder_of(name)
        folder.parent.mkdir(parents=True)
        shutil.copytree(tmp_path / "bert", folder)

    monkeypatch.setattr(bases, "fetch", fetch)
    model = load_model(PlatoConfig(base="somebody/some-bert", lm_head="bert_mlm")).model
    assert isinstance(model, Plato)
    assert torch.equal(model.embeddings.token.weight, network.bert.embeddings.word_embeddings.weight)
    assert known_sizes("somebody/some-bert").hidden_size == 32


def test_a_base_of_no_name_is_refused_offline() -> None:
    with pytest.raises(MenuraError, match="offline forbids"):
        load_model(PlatoConfig(base="nobody/no-bert"), LoadOptions(offline=True))


def test_sizes_are_known_without_weights(tmp_path: Path) -> None:
    assert (known_sizes("minilm").hidden_size, known_sizes("bert-base").num_layers) == (384, 12)
    bert(tmp_path)
    assert known_sizes(str(tmp_path)).intermediate_size == 64
