"""Names of earlier versions: read in files, refused by today's name where they are typed."""

import shutil
from pathlib import Path

import pytest

from menura import api
from menura.artefacts.earlier_names import FLAGS, SETTINGS, EarlierNames, renamed_settings, renamed_weights
from menura.cli.main import run
from menura.errors import ConfigError
from menura.training.overrides import with_settings
from menura.training.recipes import recipe

EARLIER = Path(__file__).parent.parent / "golden" / "earlier"  # written by the version before the names changed
OUTER = SETTINGS["outer"]


@pytest.mark.parametrize(("old", "new"), FLAGS.items())
def test_a_flag_of_an_earlier_version_says_what_it_is_called_now(
    old: str, new: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["eval", "tiny/maml", old, "3"]) == 2
    assert f"error[renamed]: {old} is called {new} now (hint: type {new} instead)" in capsys.readouterr().err


@pytest.mark.parametrize("old", OUTER)
def test_a_setting_of_an_earlier_version_says_what_it_is_called_now(old: str) -> None:
    if old == "batch":
        return  # the outer loop never had one
    with pytest.raises(ConfigError, match=f"setting outer.{old} is called outer.{OUTER[old]} now"):
        with_settings(recipe("tiny/maml"), [f"outer.{old}=1"])


def test_a_setting_of_an_earlier_file_typed_in_yaml_is_refused_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("outer:\n  rate: 0.1\nmodel:\n  adapters:\n    size: 2\n", encoding="utf-8")
    assert run(["train", "tiny/maml", "-c", str(path), "--dry-run"]) == 2
    told = capsys.readouterr().err
    assert "setting outer.rate is called outer.lr now" in told
    assert "setting model.adapters.size is called model.adapters.bottleneck" in told


def test_a_name_that_never_was_one_is_unknown_as_before() -> None:
    with pytest.raises(ConfigError, match="unknown setting 'outer.ratee'"):
        with_settings(recipe("tiny/maml"), ["outer.ratee=1"])


def test_saved_settings_are_read_under_their_names_of_now_and_one_line_says_so() -> None:
    saved = {
        "outer": {"rate": 0.1, "steps": 3},
        "model": {"name": "causal_lm", "layout": "chat", "adapters": {"kind": "lora", "size": 4}},
        "method": {"name": "latent-policy", "hold": 0.5, "adapts": "voice.adapters", "inner": {"anchor": 0.5}},
    }
    with pytest.warns(EarlierNames, match="settings of an earlier version.*rate is lr") as told:
        now = renamed_settings(saved)
    assert len(told) == 1
    assert now == {
        "outer": {"lr": 0.1, "steps": 3},
        "model": {"name": "causal_lm", "chat_format": "chat", "adapters": {"kind": "lora", "rank": 4}},
        "method": {
            "name": "latent-policy",
            "reference_loss_weight": 0.5,
            "trainable": "lm.adapters",
            "inner": {"distill_weight": 0.5},
        },
    }
    assert renamed_settings(now) == now, "without a second line"


def test_weights_of_an_earlier_version_have_todays_names() -> None:
    assert renamed_weights({"voice.kind_rows": 1, "transmitter.voice.x": 2, "private.0": 3}) == {
        "lm.token_type_embeddings": 1,
        "transmitter.lm.x": 2,
        "private.0": 3,
    }


@pytest.mark.parametrize("name", ["mara", "p2"])
def test_a_persona_of_the_earlier_version_replies_as_it_did(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = (EARLIER / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    shutil.copytree(EARLIER / "runs", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    with pytest.warns(EarlierNames, match="settings of an earlier version"):
        persona = api.Persona.load(EARLIER / f"{name}.persona")
    greedy = api.decoding(greedy=True)
    assert [persona.reply(line, decoding=greedy, max_new_tokens=20) for line in ("hello", "how was your day?")] == said


def test_a_run_of_the_earlier_version_replies_as_it_did_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(EARLIER / "runs", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    said = (EARLIER / "run.txt").read_text(encoding="utf-8").splitlines()
    with pytest.warns(EarlierNames):
        model = api.load("runs/p2")
    greedy = api.decoding(greedy=True)
    assert [model.reply(line, decoding=greedy, max_new_tokens=20) for line in ("hello", "how was your day?")] == said
    with pytest.warns(EarlierNames):
        assert run(["train", "quoted/p2_bot@tiny", "--out", "runs/p2", *TRAINED]) == 0
    assert "done: runs/p2" in capsys.readouterr().out


TRAINED = ("--set", "outer.steps=2", "--set", "outer.eval_every=2", "--set", "outer.save_every=2")
