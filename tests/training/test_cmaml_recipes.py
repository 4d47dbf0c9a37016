import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from counts import count
from made_up_chat import name_of, write

from menura import api
from menura.cli.main import run
from menura.errors import ConfigError
from menura.models.recurrent.seq2spg import Seq2SpgConfig
from menura.registry import load_model
from menura.training.recipes import recipe
from menura.training.recipes.cmaml import ROWS

TABLE = {
    "seq2seq": ("seq2seq", "pretrain-only"),
    "speaker": ("speaker", "pretrain-only"),
    "seq2spg": ("seq2spg", "pretrain-only"),
    "seq2seq_f": ("seq2seq", "finetune"),
    "speaker_f": ("speaker", "finetune"),
    "seq2spg_f": ("seq2spg", "finetune"),
    "maml_seq2seq": ("seq2seq", "maml"),
    "maml_seq2spg": ("seq2spg", "maml"),
    "cmaml_seq2spg_prime": ("seq2spg", "cmaml"),
    "cmaml_seq2spg": ("seq2spg", "cmaml"),
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("corpus") / "chat.jsonl")


def arguments(corpus: Path, row: str, folder: Path, *more: str) -> list[str]:
    settings = (f"data.corpus={corpus}", "outer.steps=2", "outer.eval_every=2", "data.min_heldout_dialogues=3", *more)
    return [
        *("train", f"cmaml/{row}", "--size", "tiny", "--out", str(folder)),
        *(word for setting in settings for word in ("--set", setting)),
    ]


@pytest.mark.parametrize("size", ["tiny", "cpu", "paper"])
def test_the_ten_rows_differ_in_what_their_names_say(size: str) -> None:
    rows = {name.removeprefix("cmaml/"): recipe(name, size) for name in ROWS if name.startswith("cmaml/")}
    assert {n: (c.model.name, c.method.name) for n, c in rows.items()} == TABLE
    prime = rows["cmaml_seq2spg_prime"].model
    assert isinstance(prime, Seq2SpgConfig)
    assert replace(prime, reads="word_and_state") == rows["cmaml_seq2spg"].model
    assert len({(c.model.hidden_size, c.model.num_layers) for c in rows.values()}) == 1, "all rows have one width"  # type: ignore[union-attr]
    assert not any(c.data.with_facts for c in rows.values())


def test_each_setting_has_the_ten_rows_on_data_of_its_own() -> None:
    settings = {name.partition("/")[0] for name in ROWS}
    assert settings == {"cmaml", "cmaml-mojitalk", "cmaml-100", "cmaml-110", "cmaml-similar", "cmaml-dissimilar"}
    found = {setting: {recipe(f"{setting}/{row}", "cpu").data for row in TABLE} for setting in settings}
    assert all(len(data) == 1 for data in found.values())
    assert len(set.union(*found.values())) == len(settings)


# Each model and each method, but not each of both; the last row is trained and adapts in the tests below.
TRAINED = ("seq2seq", "seq2spg", "speaker_f", "seq2seq_f", "maml_seq2spg", "cmaml_seq2spg_prime")
FURTHER = tuple(row for row in TABLE if row not in TRAINED)


@pytest.mark.parametrize("row", TRAINED + FURTHER * count(full_count=1, quick_count=0))
def test_a_row_trains_is_judged_and_learns_a_person(
    row: str, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    assert run(arguments(corpus, row, folder)) == 0
    words = ["eval", str(folder), "-k", "1", "--personas", "2", "--replies", "1", "--candidates", "3"]
    assert run([*words, "--metrics", "ppl,f1,hits@1", "--out", str(tmp_path / "table")]) == 0
    (table,) = (tmp_path / "table").rglob("table.md")
    adapts = TABLE[row][1] != "pretrain-only"
    for label in ("un-adapted", *(("wrong persona, K=1", "adapted, K=1") if adapts else ())):
        assert f"| {label} " in table.read_text()
    assert run(["adapt", "anna", str(corpus), "--speaker", name_of(3), "-k", "2", "--base", str(folder)]) == 0
    capsys.readouterr()
    assert isinstance(api.Persona.load("anna").reply("what do you do?", max_new_tokens=5), str)


def test_cmaml_goes_on_from_the_maml_run_and_its_words(corpus: Path, tmp_path: Path) -> None:
    before, after = tmp_path / "maml", tmp_path / "cmaml"
    assert run(arguments(corpus, "maml_seq2spg", before)) == 0
    assert run(arguments(corpus, "cmaml_seq2spg", after, f"model.init_from={before}")) == 0
    assert (after / "vocabulary.json").read_bytes() == (before / "vocabulary.json").read_bytes()
    assert (after / "masks.safetensors").exists()


def test_a_transcript_becomes_a_persona_of_bits_and_live_values_and_replies(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MENURA_HOME", str(tmp_path / "home"))
    folder = tmp_path / "run"
    assert run(arguments(corpus, "cmaml_seq2spg", folder, "method.threshold=quantile", "model.hidden_size=48")) == 0
    words = ["adapt", "anna", str(corpus), "--speaker", name_of(1), "-k", "2", "--base", str(folder)]
    assert run([*words, "--method", "cmaml", "--json"]) == 0
    done = json.loads(capsys.readouterr().out.splitlines()[-1])
    persona = api.Persona.load(done["path"])
    weights = persona.artefact.weights
    assert set(weights) == {f"private.{n}.{kind}" for n in range(4) for kind in ("weight", "bias")}
    edges = sum(weights[f"private.{n}.weight"].numel() for n in range(4))
    live = sum(int((value != 0).sum()) for value in weights.values())
    assert live < 0.9 * sum(value.numel() for value in weights.values())
    assert done["bytes"] < edges / 8 + 4 * live + 8_000, "a bit an edge, a number a live one, and what is said of it"
    monkeypatch.setattr("sys.stdin", io.StringIO("hello there\n/quit\n"))
    assert run(["chat", "anna", "--num-beams", "3"]) == 0
    assert "anna>" in capsys.readouterr().out


def test_a_model_over_words_has_none_before_it_was_trained() -> None:
    with pytest.raises(ConfigError, match="has none before it was trained"):
        load_model(recipe("cmaml/seq2seq", "tiny").model)


def test_its_parts_can_be_counted_once_it_is_told_how_many_words_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["model", "show", "seq2spg"]) == 2
    assert "--set vocab_size=" in capsys.readouterr().err
    assert run(["model", "show", "seq2spg", "--set", "vocab_size=18600"]) == 0
    assert f"{5_314_700 + 301 * 18_600:,}" in capsys.readouterr().out
