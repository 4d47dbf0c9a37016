"""The made chats of the benchmark are read as what they are."""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest

from benchmarks.chats import LAST, Said, last_dialogues, main, messages, write_telegram, write_whatsapp
from menura.corpus.check import check

LINES = 3000
Write = Callable[[Path, Iterator[Said], int], None]


def test_a_made_chat_has_conversations_of_two_with_silences_between() -> None:
    said = list(islice(messages(0), LINES))
    starts = [index for index, one in enumerate(said) if one.starts]
    assert 100 < len(starts) < 300
    silences = [(said[index].when - said[index - 1].when).total_seconds() for index in starts[1:]]
    assert min(silences) > 3600
    assert all(len({one.name for one in said[a:b]}) == 2 for a, b in zip(starts, starts[1:], strict=False)), (
        "both speak"
    )


@pytest.mark.parametrize(("write", "name"), [(write_whatsapp, "chat.txt"), (write_telegram, "result.json")])
def test_a_made_export_is_read_without_a_fault(write: Write, name: str, tmp_path: Path) -> None:
    said = list(islice(messages(0), LINES))
    write(tmp_path / name, iter(said), 10**9)
    (report,) = check(tmp_path / name)
    assert report.problems == ()
    assert report.notes is not None
    assert set(report.notes.dropped) <= {"media", "dialogue of one person"}
    assert 0 < report.statistics.turns < LINES
    write(tmp_path / name, messages(0), 100_000)
    assert 100_000 <= (tmp_path / name).stat().st_size < 101_000


def test_the_short_chat_has_the_last_dialogues(tmp_path: Path) -> None:
    said = list(islice(messages(0), LINES))
    last = last_dialogues(said, LAST)
    assert sum(one.starts for one in last) == LAST
    assert said[-len(last) :] == last


def test_an_unknown_option_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--huge"])
    assert "usage: python -m benchmarks.chats" in capsys.readouterr().err
