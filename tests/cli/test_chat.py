import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from made_up_chat import name_of, settings, write
from told_chat import trained, write_told

from menura.cli.main import run

Answer = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train three runs: with a stream of the persona's, without, and on people who tell nothing of themselves."""
    folder = tmp_path_factory.mktemp("runs")
    told, untold = write_told(folder / "told.jsonl"), write(folder / "untold.jsonl", people=12)
    trained(folder / "weighed", told, "arplus/strength")
    trained(folder / "biased", told, "arplus/arplus")
    trained(folder / "untold", untold, "arplus/ar")
    return folder


@pytest.fixture
def chat(runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Answer:
    """Return the act of chatting: names and flags, and lines piped in; the answer is exit code, answer and errors."""
    monkeypatch.chdir(runs)

    def answer(*words: str, piped: str = "hello\n") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(piped))
        capsys.readouterr()
        code = run(["chat", *words, "--top-p", "1", "--temperature", "3"])
        told = capsys.readouterr()
        return code, told.out, told.err

    return answer


def said(out: str) -> list[str]:
    """Return the replies of a chat as JSON lines."""
    lines = [json.loads(line) for line in out.splitlines() if '"reply"' in line]
    return [line["reply"] for line in lines]


def nll(out: str) -> list[float]:
    """Return the nats a token of the candidates that a chat shows as JSON lines."""
    lines = [json.loads(line) for line in out.splitlines() if '"candidates"' in line]
    return [one["nll"] for line in lines for one in line["candidates"]]


def test_a_strength_changes_how_likely_replies_are_and_is_the_same_within_the_chat(chat: Answer) -> None:
    shown = [chat("weighed", "--json", "--candidates", "1", "--strength", a)[1] for a in ("0", "1")]
    assert nll(shown[0]) != nll(shown[1])
    low, high = (said(chat("weighed", "--json", "--strength", a)[1]) for a in ("0", "1"))
    code, out, _ = chat("weighed", "--json", piped="/strength 0\nhello\n/new\n/strength 1\nhello\n")
    assert code == 0
    assert said(out) == low + high


def test_no_strength_is_the_model_s_own(chat: Answer) -> None:
    own = said(chat("weighed", "--json")[1])
    assert said(chat("weighed", "--json", "--strength", "0", piped="/strength\nhello\n")[1]) == own


@pytest.mark.parametrize("given", ["1.5", "-0.1", "nan"])
def test_a_strength_that_is_no_share_is_refused_with_the_range(chat: Answer, given: str) -> None:
    code, _, err = chat("weighed", f"--strength={given}")
    assert code == 2
    assert f"strength: {float(given)}, must be between 0 and 1" in err


@pytest.mark.parametrize("name", ["biased", "tiny", "weighed,biased"])
def test_a_model_without_a_stream_of_the_persona_s_refuses_a_strength(chat: Answer, name: str) -> None:
    code, _, err = chat(name, "--strength", "0.5")
    assert code == 2
    assert "no stream of the persona's to weigh (hint: train arplus/strength" in err


def test_a_wrong_strength_within_the_chat_is_told_and_the_chat_goes_on(chat: Answer) -> None:
    code, out, _ = chat("biased", piped="/strength 0.5\n/strength much\n/strength 2\nhello\n/who\n")
    assert code == 0
    assert "no stream of the persona's" in out
    assert "/strength 'much': a number from 0 to 1 wanted" in out
    assert "must be between 0 and 1" in out
    assert "biased on pieces" in out


def test_a_profile_changes_how_likely_replies_are_and_all_values_of_a_key_count(chat: Answer) -> None:
    told = ([], ["thing=boats"], ["thing=boats", "thing= tea"], ["thing=tea"])
    flags = [[word for value in values for word in ("--profile", value)] for values in told]
    found = [tuple(nll(chat("weighed", "--json", "--candidates", "1", *words)[1])) for words in flags]
    assert len(set(found)) == len(found)
    assert all(map(len, found))


def test_a_key_that_the_model_does_not_know_is_refused(chat: Answer) -> None:
    code, _, err = chat("weighed", "--profile", "thing=boats", "--profile", "shoes=red", "--profile", "hat=none")
    assert code == 3
    assert "profile key 'shoes' is unknown to the model" in err
    assert "profile key 'hat' is unknown to the model (hint: the model was trained with trade, thing" in err


def test_every_malformed_profile_is_told(chat: Answer) -> None:
    code, _, err = chat("weighed", "--profile", "boats", "--profile", "=boats", "--profile", "thing=", "-n")
    assert code == 2
    assert err.count("KEY=VALUE wanted (hint: --profile gender=Female, once for each value)") == 3


def test_a_model_that_reads_no_profiles_refuses_one(chat: Answer) -> None:
    code, _, err = chat("tiny", "--profile", "thing=boats")
    assert code == 2
    assert "profile: this model reads none" in err


def test_a_model_of_people_who_tell_nothing_talks_and_weighs(chat: Answer) -> None:
    code, out, err = chat("untold", "--strength", "0.25", piped="hello\n/cand 2\n/base\nand you?\n/quit\n")
    assert (code, err) == (0, "")
    assert "untold> " in out
    assert "base> " in out
    assert out.count("NLL per token") == 2


def test_a_persona_learnt_on_a_run_with_profiles_talks_with_its_own(
    chat: Answer, runs: Path, empty_workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    who = name_of(2)
    learn = ["--speaker", who, "-k", "2", "--base", "weighed"]
    assert run(["adapt", "mira", "told.jsonl", *learn]) == 0
    assert "held-out replies became" in capsys.readouterr().out
    own = said(chat("mira", "--json", "--strength", "1")[1])
    profile = ("--profile", "trade=paint", "--profile", "thing=boats", "--profile", "thing=tea")
    assert said(chat("mira", "--json", "--strength", "1", *profile)[1]) == own
    assert said(chat("mira", "--json", "--strength", "1", "--profile", "thing=stars")[1]) != own


def test_dialogues_that_tell_what_a_run_does_not_know_are_refused_before_anything_is_learnt(
    chat: Answer, runs: Path, empty_workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    who = name_of(2)
    assert run(["adapt", "mira", "told.jsonl", "--speaker", who, "-k", "2", "--base", "untold"]) == 3
    err = capsys.readouterr().err
    assert "profile key 'trade' is unknown to the model" in err
    assert "profile key 'thing' is unknown to the model" in err


def test_a_strength_is_told_beside_the_results(runs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(runs)
    quick = [
        "--k",
        "1",
        "--queries",
        "1",
        "--replies",
        "1",
        "--max-new-tokens",
        "4",
        "--metrics",
        "ppl",
        "-o",
        str(tmp_path),
    ]
    assert run(["eval", "weighed", "--strength", "0.3", *quick]) == 0
    assert "strength: every persona weighs 0.3" in (tmp_path / "weighed" / "table.md").read_text(encoding="utf-8")
    assert run(["eval", "biased", "--strength", "0.3", *quick]) == 2
    assert run(["eval", "weighed", "--strength", "3", *quick, *settings(Path("told.jsonl"))]) == 2


@pytest.mark.parametrize(
    ("typed", "said_first"),
    [
        ("/cadn 3", "no command /cadn; did you mean /cand?"),
        ("/quti", "no command /quti; did you mean /quit?"),
        ("/xyzzy", "no command /xyzzy"),
    ],
)
def test_a_command_that_is_none_is_named_with_the_nearest_one_before_the_help(
    chat: Answer, typed: str, said_first: str
) -> None:
    code, out, _ = chat("tiny", piped=f"{typed}\n")
    assert code == 0
    lines = out.splitlines()
    assert said_first in lines
    assert lines[lines.index(said_first) + 1].startswith("/cand N: ")


@pytest.mark.parametrize("typed", ["/help", "/cand many", "/cand 99"])
def test_help_and_a_command_with_a_wrong_number_are_no_unknown_commands(chat: Answer, typed: str) -> None:
    _, out, _ = chat("tiny", piped=f"{typed}\n")
    assert "no command" not in out
    assert "/cand N: " in out
