"""What reading a chat left out and changed is told in plain words."""

from collections import Counter
from pathlib import Path

import pytest

from menura.corpus.chats.message import listed_kinds
from menura.corpus.inputs import dialogues_of, inputs
from menura.corpus.summary import summary


def read(path: Path, text: str) -> str:
    """Return what is said of a chat that was read to its end."""
    path.write_text(text, encoding="utf-8")
    (one,) = inputs(path)
    list(dialogues_of([one]))
    return summary(one)


@pytest.mark.parametrize(
    ("kind", "one", "nine"),
    [
        ("dialogue of one person", "1 dialogue of one person", "9 dialogues of one person"),
        ("call", "1 call", "9 calls"),
        ("media", "1 media", "9 media"),
        ("HTML tags", "1 HTML tag", "9 HTML tags"),
        ("mojibake", "1 mojibake", "9 mojibake"),
    ],
)
def test_one_of_a_kind_is_singular_and_nine_are_plural(kind: str, one: str, nine: str) -> None:
    assert listed_kinds(Counter({kind: 1})) == one
    assert listed_kinds(Counter({kind: 9})) == nine


def test_dialogues_of_one_person_are_counted_in_the_plural(tmp_path: Path) -> None:
    told = read(tmp_path / "chat.txt", "Ann: tea?\nBo: yes\nAnn: green?\n\nAnn: well?\n\nAnn: hm\n")
    assert "left out: 2 dialogues of one person" in told
