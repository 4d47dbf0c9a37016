from pathlib import Path
from typing import Any

import pytest
import torch
from made_up import part
from small_plato import PIECES, bert, gpt2

from menura.artefacts import piece_vocabulary, tensors
from menura.artefacts.loading import LoadedModel, LoadOptions
from menura.artefacts.pretrained import BERT_TOKENS, load_pretrained
from menura.batches.subword_mapping import cut_to_occurring, rows_in
from menura.errors import ConfigError, DataError
from menura.models.plato.config import PlatoConfig
from menura.models.plato.model import Plato
from menura.registry import load_model, model
from menura.tasks.task import Task

TASKS = [Task("mira", (part("d1", "hi", "i like tea"), part("d2", "hi", "like tea"), part("d3", "i c", "like a d")))]
KEPT = {"[PAD]", "[UNK]", "[MASK]", "[unused0]", "[unused1]", "[CLS]", "[SEP]"}


def config(folder: Path, **settings: Any) -> PlatoConfig:
    return PlatoConfig(**{"base": str(folder), "pieces": "training", **settings})


def loaded_with(folder: Path, **settings: Any) -> LoadedModel:
    chosen = config(folder, **settings)
    learn = model("plato").learn_vocabulary
    assert learn is not None
    return load_model(chosen, LoadOptions(vocabulary=learn(chosen, TASKS)))


def test_the_pieces_that_occur_stay_and_all_control_tokens_of_a_bert(tmp_path: Path) -> None:
    bert(tmp_path)
    made = loaded_with(tmp_path)
    assert made.vocabulary is not None
    rows = made.vocabulary.tokenizer.rows()
    assert set(rows) == KEPT | {"i", "hi", "like", "tea", "a", "c", "d", "e", "t"}  # with all letters that occur
    assert {"clock", "##s", "-", "b"}.isdisjoint(rows)


def test_a_word_whose_piece_was_cut_is_spelt_and_a_letter_that_never_occurs_is_unknown(tmp_path: Path) -> None:
    bert(tmp_path)
    theirs = load_pretrained(str(tmp_path), weights=False).tokenizer
    ours = cut_to_occurring(theirs, ["i like tea", "i c"], control=BERT_TOKENS, min_count=2)
    assert "like" not in ours.rows()  # once
    assert "i" in ours.rows()  # twice
    spelt = cut_to_occurring(theirs, ["i i c a"], control=BERT_TOKENS, min_count=2)
    assert {"i", "c", "a"} <= set(spelt.rows())  # letters stay however rare they are
    assert [name for name in ("[UNK]",) if ours.encode("b") == (ours.control(name),)] == ["[UNK]"]


def test_every_kept_piece_has_its_row_of_the_base_in_every_weight_by_tokens(tmp_path: Path) -> None:
    bert(tmp_path, masked_words=True)
    whole = load_model(PlatoConfig(base=str(tmp_path), lm_head="bert_mlm")).model
    cut = loaded_with(tmp_path, lm_head="bert_mlm")
    assert isinstance(whole, Plato)
    assert isinstance(cut.model, Plato)
    assert whole.words is not None
    assert cut.model.words is not None
    for piece, row in cut.encoder.tokenizer.rows().items():
        theirs = PIECES.index(piece)
        assert torch.equal(cut.model.embeddings.token.weight[row], whole.embeddings.token.weight[theirs])
        assert torch.equal(cut.model.words.bias[row], whole.words.bias[theirs])
    assert torch.equal(cut.model.mask_slot, whole.mask_slot)


def test_what_is_kept_is_read_as_the_whole_vocabulary_reads_it(tmp_path: Path) -> None:
    bert(tmp_path)
    whole, cut = load_model(PlatoConfig(base=str(tmp_path))), loaded_with(tmp_path)
    for text in ("hi", "i like tea", "like a c d"):
        theirs = cut.encoder.tokenizer.encode(text)
        rows = rows_in(whole.encoder.tokenizer, cut.encoder.tokenizer)
        assert [rows[one] for one in theirs] == list(whole.encoder.tokenizer.encode(text))


def test_so_many_tokens_stay_as_are_asked_for(tmp_path: Path) -> None:
    bert(tmp_path)
    made = loaded_with(tmp_path, vocab_size=10)
    assert len(made.encoder.tokenizer) == 10
    assert isinstance(made.model, Plato)
    assert len(made.model.embeddings.token.weight) == 10


def test_a_run_is_read_with_the_vocabulary_it_was_trained_with(tmp_path: Path) -> None:
    bert(tmp_path / "bert")
    made = loaded_with(tmp_path / "bert")
    assert made.vocabulary is not None
    run = tmp_path / "run"
    run.mkdir()
    made.vocabulary.write(run)
    tensors.save(run / "best.safetensors", dict(made.model.named_parameters()), {})
    again = load_model(config(tmp_path / "bert", init_from=str(run)))
    assert again.vocabulary == piece_vocabulary.read(run)
    assert again.vocabulary is not None
    assert again.vocabulary.sha256 == made.vocabulary.sha256
    assert again.encoder.tokenizer.rows() == made.encoder.tokenizer.rows()
    assert all(torch.equal(a, b) for a, b in zip(again.model.parameters(), made.model.parameters(), strict=True))


def test_a_vocabulary_that_is_not_there_or_not_one_is_refused(tmp_path: Path) -> None:
    bert(tmp_path / "bert")
    tensors.save(tmp_path / "best.safetensors", {"a": torch.zeros(1)}, {})
    with pytest.raises(DataError, match=r"no pieces.*model.pieces=base"):
        load_model(config(tmp_path / "bert", init_from=str(tmp_path)))
    (tmp_path / "vocabulary.json").write_text('{"words": []}', encoding="utf-8")
    with pytest.raises(DataError, match="damaged: not a vocabulary of pieces"):
        load_model(config(tmp_path / "bert", init_from=str(tmp_path)))
    with pytest.raises(ConfigError, match="none before it was trained"):
        load_model(config(tmp_path / "bert"))


def test_byte_pairs_have_no_pieces_to_cut(tmp_path: Path) -> None:
    gpt2(tmp_path)
    with pytest.raises(ConfigError, match=r"model.pieces: its vocabulary is a BPE.*pieces=base"):
        loaded_with(tmp_path)


def test_the_lowest_layers_are_the_bases_and_more_than_it_has_are_refused(tmp_path: Path) -> None:
    bert(tmp_path)
    whole, cut = (load_model(PlatoConfig(base=str(tmp_path), num_layers=layers)).model for layers in (0, 1))
    assert isinstance(whole, Plato)
    assert isinstance(cut, Plato)
    assert (len(whole.body.blocks), len(cut.body.blocks)) == (2, 1)
    for ours, theirs in zip(cut.body.blocks[0].parameters(), whole.body.blocks[0].parameters(), strict=True):
        assert torch.equal(ours, theirs)
    with pytest.raises(ConfigError, match=r"model.num_layers: 3, but .* has 2.*num_layers=2"):
        load_model(PlatoConfig(base=str(tmp_path), num_layers=3))
