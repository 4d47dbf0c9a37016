"""DailyDialog's lines: turns, apostrophes, and lines that break off."""

import lzma
from pathlib import Path

import pytest

from menura.artefacts import corpus_store
from menura.corpus import catalogue, inputs
from menura.corpus.check import check
from menura.corpus.dailydialog import plain
from menura.corpus.dialogue import Dialogue, Turn
from menura.errors import DataError
from menura.tasks.persona_groups import by_dialogue

SHARED = Path(__file__).parents[2] / "../shared/data/dailydialog"
TEXTS = (
    "is the goat fed ? __eou__ it ’ s asleep . __eou__ good . __eou__",
    "come in . __eou__ thanks .",
    "who mends clocks ? __eou__ i do __eou__ and the cl",
)
ACTS = ("2 1 1", "3 4", "2 1 2 1")


def files(
    folder: Path, texts: tuple[str, ...] = TEXTS, acts: tuple[str, ...] = ACTS, names: str = "text act"
) -> list[Path]:
    """Write texts and acts; return both files, the texts first."""
    paths = [folder / f"dialogues_{name}.txt" for name in names.split()]
    for path, lines in zip(paths, (texts, acts), strict=True):
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return paths


def ids(dialogues: list[Dialogue]) -> list[str]:
    return [dialogue.dialogue_id for dialogue in dialogues]


def test_a_line_is_a_dialogue_of_two_who_alternate(tmp_path: Path) -> None:
    first, *_ = inputs.read(files(tmp_path)[0])
    turns = (Turn("partner", "is the goat fed ?"), Turn("self", "it's asleep ."), Turn("partner", "good ."))
    assert first == Dialogue("dialogues_text:1", turns)


def test_a_line_with_more_acts_than_turns_broke_off_and_is_left_out_and_counted(tmp_path: Path) -> None:
    texts, _ = files(tmp_path, acts=("2 1 1", "3 4", "2 1 2 1"))
    assert ids(inputs.read(texts)) == ["dialogues_text:1", "dialogues_text:2"]
    (warning,) = check(texts)[0].warnings
    assert (warning.code, warning.count) == ("cut_off", 1)
    assert warning.place.endswith("dialogues_text.txt:3")


def test_without_acts_a_line_that_broke_off_cannot_be_known(tmp_path: Path) -> None:
    texts, acts = files(tmp_path)
    acts.unlink()
    assert len(inputs.read(texts)) == 3


@pytest.mark.parametrize("listed", [(0,), (1,), (0, 1), (1, 0)])
def test_texts_are_read_once_whichever_of_the_two_files_are_named(tmp_path: Path, listed: tuple[int, ...]) -> None:
    paths = files(tmp_path)
    assert ids(inputs.read([paths[index] for index in listed])) == ["dialogues_text:1", "dialogues_text:2"]


@pytest.mark.parametrize(
    ("texts", "acts"),
    [
        ("dialogues_text.txt", "dialogues_act.txt"),
        ("dialogues_test.txt", "dialogues_act_test.txt"),
        ("copy_text_En.txt", "copy_action.txt"),
        ("other_dialogues.txt", "other_dialogues_act.txt"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_acts_are_found_by_the_names_of_the_set_and_its_mirrors(
    tmp_path: Path, texts: str, acts: str, packed: bool
) -> None:
    for name, lines in ((texts, TEXTS), (acts, ACTS)):
        content = "".join(f"{line}\n" for line in lines).encode()
        path = tmp_path / (name + (".xz" if packed else ""))
        path.write_bytes(lzma.compress(content) if packed else content)
    suffix = ".xz" if packed else ""
    for named in (texts, acts):
        assert len(inputs.read(tmp_path / (named + suffix))) == 2
    assert catalogue.detect(tmp_path / (texts + suffix)) == "dailydialog"


def test_acts_without_their_texts_are_told(tmp_path: Path) -> None:
    texts, acts = files(tmp_path)
    texts.unlink()
    with pytest.raises(DataError, match="the texts are not beside them"):
        inputs.read(acts)


def test_files_of_different_length_are_refused(tmp_path: Path) -> None:
    texts, _ = files(tmp_path, acts=ACTS[:2])
    with pytest.raises(DataError, match=r"3 lines, but .*dialogues_act.txt has 2"):
        inputs.read(texts)


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    lines = ("a . __eou__ __eou__ b . __eou__", "c . __eou__ d .\t1\t2 1", "e . __eou__ f .")
    texts, _ = files(tmp_path, texts=lines, acts=("1 1 1", "1 1", "1 1"))
    with pytest.raises(DataError) as caught:
        inputs.read(texts)
    told = [(problem.place.rsplit(":", 1)[1], problem.message) for problem in caught.value.problems]
    assert told == [("1", "turn 2 is empty"), ("2", "a tab in the line")]


@pytest.mark.parametrize(
    ("typeset", "typed"),
    [
        ("I ’ m late , isn ’ t it ?", "I'm late , isn't it ?"),
        ("We ’ Ve sung", "We've sung".replace("v", "V")),
        ("nine o ’ clock", "nine o'clock"),
        ("the clocks ’ hands", "the clocks' hands"),
        ("Doris ’ s clock", "Doris's clock"),
        ("that's mine", "that's mine"),
    ],
)
def test_typeset_apostrophes_become_typed_ones(typeset: str, typed: str) -> None:
    assert plain(typeset) == typed


def test_a_corpus_added_by_its_texts_has_the_acts_too(tmp_path: Path, empty_workspace: Path) -> None:
    corpus_store.add("talk", [files(tmp_path)[0]])
    stored = corpus_store.files_of("talk")
    assert [path.name for path in stored] == ["dialogues_act.txt", "dialogues_text.txt"]
    assert len(inputs.read(stored)) == 2


def test_both_speakers_reply_in_the_task_of_a_dialogue(tmp_path: Path) -> None:
    first, second = by_dialogue(inputs.read(files(tmp_path)[0]))
    assert first.persona_id == "dialogues_text:1"
    assert {part.speaker for part in first.dialogues} == {"partner", "self"}
    assert [part.speaker for part in second.dialogues] == ["self"]  # who begins and says no more replies to nothing


@pytest.mark.shared
def test_the_stored_files_have_the_published_counts_and_62_lines_that_broke_off() -> None:
    if not SHARED.exists():
        pytest.skip("the measuring data are not beside the project")
    found = check(SHARED / "laed_test_dialogues.txt.xz")[0].statistics
    assert (found.dialogues, found.turns) == (1000, 7740)
    (report,) = check(SHARED / "xdd8096_text_En.txt.xz")
    assert report.statistics.dialogues == 8034
    assert {warning.code: warning.count for warning in report.warnings}["cut_off"] == 62
