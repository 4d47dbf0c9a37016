"""MojiTalk's two files: lines that belong together, and all that can be wrong with them."""

import lzma
from pathlib import Path

import pytest

from menura.artefacts import corpus_store
from menura.corpus import catalogue, inputs, mojitalk
from menura.corpus.check import check
from menura.corpus.dialogue import Dialogue, Turn
from menura.corpus.source import DATA_SET, opened
from menura.errors import ConfigError, DataError
from menura.tasks.persona_groups import by_speaker

SHARED = Path(__file__).parents[2] / "../shared/data/mojitalk"
ASKED = ("😂 the goat ate it", "❤ so you came back", "😂 is that my hat ?")
REPLIED = ("again ?", "i did .", "it was .")


def pair(
    folder: Path, name: str = "dev", asked: tuple[str, ...] = ASKED, replied: tuple[str, ...] = REPLIED
) -> list[Path]:
    """Write a pair of files; return both, the queries first."""
    paths = [folder / f"{name}.ori", folder / f"{name}.rep"]
    for path, lines in zip(paths, (asked, replied), strict=True):
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return paths


def test_a_line_of_each_file_is_a_dialogue_of_an_asker_and_the_reply_s_emoji(tmp_path: Path) -> None:
    first, *_ = inputs.read(pair(tmp_path))
    assert first == Dialogue("dev:1", (Turn("partner", "the goat ate it"), Turn("😂", "again ?")))


def test_the_emojis_are_the_personas_and_the_asker_is_none(tmp_path: Path) -> None:
    tasks = by_speaker(inputs.read(pair(tmp_path)))
    assert {task.persona_id: task.dialogue_ids for task in tasks} == {"😂": {"dev:1", "dev:3"}, "❤": {"dev:2"}}


@pytest.mark.parametrize("listed", [(0,), (1,), (0, 1), (1, 0)])
def test_a_pair_is_read_once_whichever_of_its_files_are_named(tmp_path: Path, listed: tuple[int, ...]) -> None:
    files = pair(tmp_path)
    dialogues = inputs.read([files[index] for index in listed])
    assert [dialogue.dialogue_id for dialogue in dialogues] == ["dev:1", "dev:2", "dev:3"]


def test_one_file_may_be_packed_and_the_other_not(tmp_path: Path) -> None:
    queries, replies = pair(tmp_path)
    packed = tmp_path / "dev.rep.xz"
    packed.write_bytes(lzma.compress(replies.read_bytes()))
    replies.unlink()
    assert [dialogue.dialogue_id for dialogue in inputs.read([queries])] == ["dev:1", "dev:2", "dev:3"]
    assert inputs.read([packed]) == inputs.read([queries])


def test_ids_tell_the_files_apart(tmp_path: Path) -> None:
    files = [*pair(tmp_path), *pair(tmp_path, "test")]
    assert [dialogue.dialogue_id[:-2] for dialogue in inputs.read(files)] == ["dev"] * 3 + ["test"] * 3


def test_short_lines_are_left_out_and_counted(tmp_path: Path) -> None:
    asked, replied = (*ASKED, "😂 too short", "😂 long enough this"), (*REPLIED, "not this one", "word")
    files = pair(tmp_path, asked=asked, replied=replied)
    assert [dialogue.dialogue_id for dialogue in inputs.read(files)] == ["dev:1", "dev:2", "dev:3"]
    (warning,) = check(files[0])[0].warnings
    assert (warning.code, warning.count) == ("too_short", 2)


def test_files_of_different_length_are_refused_with_both_numbers_and_once(tmp_path: Path) -> None:
    files = pair(tmp_path, replied=REPLIED[:2])
    with pytest.raises(DataError, match=r"dev.ori: 3 lines, but .*dev.rep has 2") as caught:
        inputs.read(files)
    assert len(caught.value.problems) == 1
    assert check(files[1])[0].errors[0].code == "misaligned"


def test_a_missing_last_newline_is_no_missing_line(tmp_path: Path) -> None:
    files = pair(tmp_path)
    files[1].write_text("\n".join(REPLIED), encoding="utf-8")
    assert len(inputs.read(files)) == 3


@pytest.mark.parametrize(("kept", "said"), [(0, "dev.rep with the replies"), (1, "dev.ori with the queries")])
def test_a_file_alone_says_which_one_is_missing(tmp_path: Path, kept: int, said: str) -> None:
    files = pair(tmp_path)
    files[1 - kept].unlink()
    with pytest.raises(DataError, match=f"{said} is not beside it .hint: put"):
        inputs.read([files[kept]])


def test_every_line_without_a_known_emoji_is_told_at_once(tmp_path: Path) -> None:
    asked = ("😂 the goat ate it", "so you came back", "🦜 polly is not known", "")
    with pytest.raises(DataError) as caught:
        inputs.read(pair(tmp_path, asked=asked, replied=("a b", "a b", "a b", "a b")))
    problems = caught.value.problems
    assert [problem.place.rsplit(":", 1)[1] for problem in problems] == ["2", "3", "4"]
    assert "begins with 'so', wanted one of MojiTalk's 64 emojis" in problems[0].message


def test_a_file_of_another_name_is_recognised_and_told_how_to_be_named(tmp_path: Path) -> None:
    path = tmp_path / "tweets.txt"
    path.write_text("".join(f"{line}\n" for line in ASKED), encoding="utf-8")
    assert catalogue.detect(path) == "mojitalk"
    with pytest.raises(DataError, match=r"NAME\.ori, its replies in NAME\.rep"):
        inputs.read(path)


def test_an_emoji_in_a_speaker_s_name_does_not_mislead_detection(tmp_path: Path) -> None:
    path = tmp_path / "talk.txt"
    path.write_text("❤ Ann: shall we go?\nBob: gladly.\n❤ Ann: now then?\n", encoding="utf-8")
    assert catalogue.detect(path) == "transcript"


def test_queries_without_the_file_beside_them_are_told(tmp_path: Path) -> None:
    queries, _ = pair(tmp_path)
    (problem,) = mojitalk.scan(opened(queries, DATA_SET))
    assert "queries without replies" in str(problem)


def test_a_corpus_added_by_half_its_files_is_kept_whole(tmp_path: Path, empty_workspace: Path) -> None:
    corpus_store.add("moji", [pair(tmp_path)[0]])
    assert [path.name for path in corpus_store.files_of("moji")] == ["dev.ori", "dev.rep"]
    assert len(inputs.read(corpus_store.files_of("moji"))) == 3


def test_a_named_format_overrules_the_name_of_the_file(tmp_path: Path, empty_workspace: Path) -> None:
    path = tmp_path / "talk.ori"
    path.write_text("Ann: shall we?\nBob: gladly.\n", encoding="utf-8")
    assert len(inputs.read(path, "transcript")) == 1
    corpus_store.add("talk", [path], "transcript")
    assert [file.name for file in corpus_store.files_of("talk")] == ["talk.ori"]


def test_it_is_only_read(tmp_path: Path) -> None:
    assert catalogue.named("mojitalk").render is None
    with pytest.raises(ConfigError, match="did you mean mojitalk"):
        catalogue.named("mojitalc")


@pytest.mark.shared
def test_the_published_files_are_read_whole() -> None:
    if not SHARED.exists():
        pytest.skip("the measuring data mojitalk is not beside the project")
    dialogues = inputs.read([SHARED / "dev.ori.xz", SHARED / "test.ori.xz"])
    assert len(dialogues) == 2 * 32_600
    counts = sorted(len(task.dialogues) for task in by_speaker(dialogues[:32_600]))
    assert len(counts) == len(mojitalk.EMOJIS) == 64
    assert (counts[0], counts[-1]) == (6, 9169)
