"""A person's exchanges are kept where that is asked for, and can be read, forgotten and redacted in all versions."""

import io
import json
from pathlib import Path

import made_up_chat
import pytest

from menura.api import Persona, adapt, change_memory, persona_memory
from menura.artefacts import persona_store
from menura.artefacts.persona_memory import RememberedExchanges
from menura.cli.main import run
from menura.errors import ConfigError, DataError

NUMBER = "call 0171 5550199"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in an empty folder with a workspace of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MENURA_HOME", str(tmp_path / "home"))
    return tmp_path


def chat(*numbers: int) -> Path:
    """Write these dialogues of one made-up person, who says a telephone number in the first turn of each."""
    text = "\n".join(json.dumps(made_up_chat.dialogue(0, number)) for number in numbers)
    path = Path(f"chat-{'-'.join(map(str, numbers))}.jsonl")
    path.write_text(text.replace("part 0.", NUMBER), encoding="utf-8")
    return path


def made(*numbers: int, remember: bool = True) -> list[str]:
    """Make persona ann on the random base from two of these dialogues; return what was said."""
    seen: list[str] = []
    adapt("ann", [chat(*numbers)], speaker="person-00", base="tiny", k=2, remember=remember, say=seen.append)
    return seen


def gone_on(*numbers: int) -> None:
    adapt("ann", [chat(*numbers)], k=2, more=True)


def memory_of(name: str) -> RememberedExchanges:
    memory = persona_store.load(name).memory
    assert memory is not None
    return memory


def dialogues_in(name: str) -> list[str]:
    return list(dict.fromkeys(exchange.dialogue_id for exchange in memory_of(name).exchanges))


def test_all_dialogues_are_remembered_but_those_held_out_and_two_are_learnt_from() -> None:
    seen = made(*range(6))
    assert dialogues_in("ann") == ["d-00-0", "d-00-1", "d-00-2", "d-00-3"]
    assert len(memory_of("ann").exchanges) == 8
    assert any(line.startswith("note   it remembers 8 exchanges, word for word: ") for line in seen), seen
    cached = memory_of("ann").places
    assert cached is not None
    assert set(cached.tolist()) == {4, 5, 6, 7}, "the cache is of what was learnt from"


def test_nothing_is_remembered_unless_that_is_asked_for() -> None:
    assert not any("remembers" in line for line in made(*range(4), remember=False))
    assert persona_store.load("ann").memory is None
    with pytest.raises(ConfigError, match="persona ann has no memory.*menura adapt ann FILES --remember"):
        persona_memory("ann")


def test_the_check_reads_what_is_recalled() -> None:
    made(*range(6), remember=False)
    without = persona_store.load("ann")
    made(*range(6))
    remembers = persona_store.load("ann")
    assert all(value.equal(remembers.weights[name]) for name, value in without.weights.items())
    before, after = without.recipe["held_out"], remembers.recipe["held_out"]
    assert before["ppl_before"] == after["ppl_before"]
    assert before["ppl_after"] != after["ppl_after"]


def test_a_persona_that_goes_on_goes_on_remembering() -> None:
    made(*range(4))
    gone_on(*range(2, 8))
    assert dialogues_in("ann@1") == ["d-00-0", "d-00-1"]
    assert dialogues_in("ann") == ["d-00-0", "d-00-1", "d-00-2", "d-00-3", "d-00-4", "d-00-5"]


def test_its_replies_read_what_fits_within_a_budget_or_nothing() -> None:
    made(*range(6))
    persona = Persona.load("ann")
    line = memory_of("ann").exchanges[0].reply.text
    with_all, bare = persona.prompt(line, 8), persona.remembering(0).prompt(line, 8)
    little = persona.remembering(90).prompt(line, 8)
    assert len(bare.context) < len(little.context) < len(with_all.context)
    assert len(little.context) - len(bare.context) <= 90


def test_what_is_forgotten_is_in_no_version_and_not_in_the_cache() -> None:
    made(*range(4))
    gone_on(*range(2, 6))
    shared = memory_of("ann@1").exchanges[0]
    listed = persona_memory("ann")
    number = next(one["number"] for one in listed if one["reply"] == shared.reply.text)
    change = change_memory("ann", forget=[number])
    assert (change.forgotten, change.versions, change.left) == (1, 2, len(listed) - 1)
    for name in ("ann", "ann@1"):
        assert shared not in memory_of(name).exchanges
    assert persona_store.versions("ann") == ["ann@1"], "no version has it now"
    content = (persona_store.path_of("ann").read_bytes(), persona_store.path_of("ann@1").read_bytes())
    assert not any(shared.reply.text.encode() in one for one in content)


def test_redacting_leaves_no_private_detail_and_the_rest() -> None:
    made(*range(4))
    gone_on(*range(2, 6))
    change = change_memory("ann", redact=True)
    assert change.redacted == change.left / 2, "each dialogue has two replies, one with a number"
    for path in map(persona_store.path_of, ("ann", "ann@1")):
        assert b"5550199" not in path.read_bytes()
    assert sum("call" in one["reply"] for one in persona_memory("ann")) == change.redacted


def test_clearing_leaves_a_persona_without_memory() -> None:
    made(*range(4))
    weights = persona_store.load("ann").weights
    assert change_memory("ann", clear=True, dry_run=True).forgotten == 4
    assert memory_of("ann").exchanges, "a dry run writes nothing"
    change_memory("ann", clear=True)
    cleared = persona_store.load("ann")
    assert cleared.memory is None
    assert all(value.equal(weights[name]) for name, value in cleared.weights.items())


def test_a_damaged_version_stops_all_before_anything_is_written() -> None:
    made(*range(4))
    gone_on(*range(2, 6))
    persona_store.path_of("ann@1").write_bytes(b"no package")
    before = persona_store.path_of("ann").read_bytes()
    with pytest.raises(DataError):
        change_memory("ann", clear=True)
    assert persona_store.path_of("ann").read_bytes() == before


def test_numbers_that_are_none_are_told_all_at_once() -> None:
    made(*range(4))
    with pytest.raises(ConfigError, match="--forget 0, 9: persona ann remembers exchanges 1 to 4"):
        change_memory("ann", forget=[9, 1, 0])


def test_the_command_shows_numbers_lines_and_replies_and_what_is_recalled(capsys: pytest.CaptureFixture[str]) -> None:
    made(*range(4))
    capsys.readouterr()
    assert run(["persona", "memory", "ann"]) == 0
    first, reply = capsys.readouterr().out.splitlines()[:2]
    exchange = memory_of("ann").exchanges[0]
    assert first.split() == ["1", *exchange.context[-1].text.split()]
    assert reply.strip() == f"> {exchange.reply.text}"
    word = exchange.reply.text.split()[2]
    assert run(["persona", "memory", "ann", "--for", word, "--json"]) == 0
    (event,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert event["exchanges"]
    assert all(word in one["before"] + one["reply"] for one in event["exchanges"])
    assert run(["persona", "memory", "ann", "--forget", "2", "--forget", "4"]) == 0
    assert capsys.readouterr().out == "forgot 2 exchanges; 2 exchanges left. What the weights learnt from them stays\n"
    assert run(["persona", "show", "ann"]) == 0
    assert "2 exchanges, word for word" in capsys.readouterr().out


def test_a_chat_takes_another_budget_where_somebody_remembers_and_says_so_where_nobody_does(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made(*range(4))
    adapt("bare", [chat(*range(4))], speaker="person-00", base="tiny", k=2)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert run(["chat", "ann,bare", "--memory-tokens", "64"]) == 0
    for names in ("bare", "tiny"):
        assert run(["chat", names, "--memory-tokens", "64"]) == 2
        assert "error[no_memory]: this persona has no memory" in capsys.readouterr().err
