"""What is given for a published corpus becomes the files that are read."""

import gzip
import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from made_up_archives import (
    AVSD,
    CPED,
    DAILYDIALOG,
    NLI,
    PEOPLE,
    PERSONACHAT,
    QUERIES,
    REPLIES,
    chat_of_two,
    convai2,
    dailydialog,
    real_persona_chat,
    tarred,
    zipped,
)

from menura.corpus import inputs
from menura.corpus.published import checksums
from menura.corpus.published.catalogue import CORPORA
from menura.corpus.published.records import PublishedFile
from menura.corpus.published.selection import CorpusFiles, select
from menura.errors import ConfigError, DataError


def names(selection: CorpusFiles) -> list[str]:
    """Return the names of the files selected."""
    return [path.name for path in selection.files]


def refused(name: str, path: Path, folder: Path) -> tuple[str, str, str]:
    """Return code, message and hint of what a corpus' selection says of one file."""
    with pytest.raises(DataError) as raised:
        select(name, [path], folder / "unpacked")
    (problem,) = raised.value.problems
    return problem.code, problem.message, problem.hint


def test_an_archive_gives_the_files_that_recipes_read_and_no_others(tmp_path: Path) -> None:
    selection = select("convai2", [convai2(tmp_path / "convai2_fix_723.tgz")], tmp_path / "unpacked")
    assert names(selection) == ["train_self_original.txt", "valid_self_original.txt"]
    assert selection.files[0].read_text() == PERSONACHAT


def test_the_splits_of_dailydialog_are_found_in_the_archives_of_its_archive(tmp_path: Path) -> None:
    selection = select("dailydialog", [dailydialog(tmp_path / "ijcnlp_dailydialog.zip")], tmp_path / "unpacked")
    splits = ("test", "train", "validation")
    assert names(selection) == [
        *(f"dialogues_act_{split}.txt" for split in splits),
        *(f"dialogues_{split}.txt" for split in splits),
    ]
    assert len(inputs.read(selection.files)) == 6


def test_the_dialogues_of_real_persona_chat_become_the_lines_of_one_file(tmp_path: Path) -> None:
    archive = real_persona_chat(tmp_path / "real-persona-chat-main.zip")
    selection = select("rpc", [archive], tmp_path / "unpacked")
    assert names(selection) == ["dialogues.jsonl", "interlocutors.json"]
    lines = selection.files[0].read_text().splitlines()
    assert [json.loads(line) for line in lines] == [json.loads(chat_of_two(number)) for number in (1, 2, 3)]
    assert [dialogue.dialogue_id for dialogue in inputs.read(selection.files)] == ["rpc-1", "rpc-2", "rpc-3"]


def test_a_folder_is_taken_like_the_archive_of_it(tmp_path: Path) -> None:
    clone = tmp_path / "clone" / "dialogues"
    clone.mkdir(parents=True)
    (clone / "00001.json").write_text(chat_of_two(1))
    (clone.parent / "interlocutors.json").write_text(PEOPLE)
    assert names(select("rpc", [tmp_path / "clone"], tmp_path / "unpacked")) == [
        "dialogues.jsonl",
        "interlocutors.json",
    ]


def test_a_dialogue_of_an_archive_that_is_no_json_is_named_by_its_place_in_it(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "x.zip", {"dialogues/00001.json": '{"dialogue_id": 1,', "interlocutors.json": PEOPLE})
    with pytest.raises(DataError, match=r"x\.zip:dialogues/00001\.json:1:\d+: not valid JSON"):
        select("rpc", [archive], tmp_path / "unpacked")


def test_two_files_of_a_name_in_an_archive_are_refused(tmp_path: Path) -> None:
    archive = tarred(tmp_path / "x.tgz", {f"{folder}/dev.ori": QUERIES for folder in ("old", "new")})
    code, message, hint = refused("mojitalk", archive, tmp_path)
    assert (code, message) == ("ambiguous", "two files in it are called 'dev.ori'")
    assert hint == "unpack it and give those of one corpus"


def test_plain_files_stay_as_they_are(tmp_path: Path) -> None:
    for name, text in (("dev.ori", QUERIES), ("dev.rep", REPLIES)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    paths = [tmp_path / "dev.ori", tmp_path / "dev.rep"]
    assert select("mojitalk", paths, tmp_path / "unpacked").files == tuple(paths)


def test_a_name_of_one_s_own_takes_the_corpus_that_an_archive_is_of(tmp_path: Path) -> None:
    def found(path: Path) -> str:
        corpus = select("mine", [path], tmp_path / f"of-{path.name}").corpus
        return corpus.name if corpus else ""

    assert found(convai2(tmp_path / "convai2_fix_723.tgz")) == "convai2"
    assert found(real_persona_chat(tmp_path / "x.zip")) == "rpc"
    three = {f"personachat/{split}_self_original.txt": PERSONACHAT for split in ("train", "valid", "test")}
    assert found(tarred(tmp_path / "renamed.tgz", three)) == "personachat"
    assert found(convai2(tmp_path / "personachat.tgz")) == "personachat"  # as many of both: its name decides
    assert found(zipped(tmp_path / "chats.zip", {"dialogues/one.json": "[]", "_chat.txt": "Ann: hi"})) == ""


def test_a_tar_archive_of_nothing_known_is_refused_under_any_name(tmp_path: Path) -> None:
    code, message, hint = refused("mine", tarred(tmp_path / "x.tgz", {"notes.txt": "x"}), tmp_path)
    assert (code, hint) == ("no_members", "unpack it and give the files of dialogues")
    assert "'notes.txt'" in message


def test_an_archive_with_none_of_the_files_says_what_it_has_and_what_was_wanted(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "x.zip", {f"note{number}.txt": "x" for number in range(6)})
    code, message, hint = refused("mojitalk", archive, tmp_path)
    assert code == "no_members"
    assert "(train.ori, train.rep, dev.ori, " in message
    assert "it has 'note0.txt', 'note1.txt', 'note2.txt', 'note3.txt' and 2 others" in message
    assert hint == "menura data sources mojitalk shows what to fetch"


@pytest.mark.parametrize(
    ("wanted", "name", "content", "other"),
    [
        ("mojitalk", "rows.csv", CPED, "cped"),
        ("convai2", "any.txt", DAILYDIALOG, "dailydialog"),
        ("rpc", "any.txt", PERSONACHAT, "convai2"),
        ("cped", "any.json", AVSD, "avsd"),
        ("cped", "pairs.txt", "i sing .</s>i hum .</s>neutral\n", "dnli"),
        ("avsd", "pairs.jsonl", NLI, "dnli"),
        ("dnli", "any.txt", PERSONACHAT, "convai2"),
    ],
)
def test_a_file_of_another_corpus_is_named_with_the_command_that_adds_it(
    wanted: str, name: str, content: str, other: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    code, message, hint = refused(wanted, path, tmp_path)
    assert code == "other_corpus"
    assert CORPORA[other].about in message
    assert hint == f"menura data add {other} {path}"


def test_an_archive_of_another_corpus_is_known_by_its_name_and_by_what_is_in_it(tmp_path: Path) -> None:
    by_name = convai2(tmp_path / "personachat.tgz")
    assert refused("convai2", by_name, tmp_path)[2] == f"menura data add personachat {by_name}"
    by_members = dailydialog(tmp_path / "set.zip")
    assert refused("mojitalk", by_members, tmp_path)[2] == f"menura data add dailydialog {by_members}"


def test_all_files_of_another_corpus_are_told_at_once(tmp_path: Path) -> None:
    paths = [tmp_path / "one.txt", tmp_path / "two.txt"]
    for path in paths:
        path.write_text(DAILYDIALOG)
    with pytest.raises(DataError) as raised:
        select("convai2", paths, tmp_path / "unpacked")
    assert [problem.place for problem in raised.value.problems] == list(map(str, paths))


def test_a_format_that_is_named_is_believed(tmp_path: Path) -> None:
    path = tmp_path / "any.txt"
    path.write_text(DAILYDIALOG)
    assert select("convai2", [path], tmp_path / "unpacked", any_format=True).files == (path,)


@pytest.mark.parametrize("name", ["chitchat", "twitter-reddit"])
def test_a_corpus_that_is_not_added_by_its_files_says_so(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to add|not published"):
        select(name, [tmp_path / "x.txt"], tmp_path / "unpacked")


# Checksums


@pytest.fixture
def published(tmp_path: Path) -> tuple[Path, "checksums.PublishedCorpus"]:
    """Give a file and a corpus that publishes it."""
    path = tmp_path / "dev.ori"
    path.write_text(QUERIES, encoding="utf-8")
    known = PublishedFile("dev.ori", sha256=sha256(path.read_bytes()).hexdigest(), checksum_from="a page")
    return path, replace(CORPORA["mojitalk"], files=(known,))


def test_the_published_file_is_known_packed_or_not(published: tuple[Path, "checksums.PublishedCorpus"]) -> None:
    path, corpus = published
    packed = path.with_name("dev.ori.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    found = list(checksums.compared([path, packed, path], corpus))
    assert [comparison.same for comparison in found] == [True, True]
    assert str(found[0]) == "dev.ori: SHA-256 as published (a page)"


def test_another_version_is_told_with_both_hashes(published: tuple[Path, "checksums.PublishedCorpus"]) -> None:
    path, corpus = published
    wanted = corpus.files[0].sha256
    path.write_text(QUERIES * 2, encoding="utf-8")
    (found,) = checksums.compared([path], corpus)
    assert not found.same
    own = sha256(path.read_bytes()).hexdigest()
    assert str(found).startswith(f"warn[another_version]: {path}: ")
    assert f"SHA-256 {own}, published {wanted} (a page)" in str(found)


def test_nothing_is_said_of_files_whose_checksum_is_not_published(
    published: tuple[Path, "checksums.PublishedCorpus"],
) -> None:
    path, corpus = published
    unknown = replace(corpus, files=(PublishedFile("dev.ori"),))
    assert not list(checksums.compared([path, path.with_name("dev.rep")], unknown))
