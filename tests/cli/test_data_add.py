"""``menura data sources`` and ``menura data add``: published files become corpora of the workspace, counted."""

import json
import lzma
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from conftest import SHARED
from counts import count
from made_up_archives import (
    CPED,
    NLI,
    PERSONACHAT,
    QUERIES,
    REPLIES,
    convai2,
    dailydialog,
    real_persona_chat,
    tarred,
    zipped,
)

from menura.artefacts.corpus_store import files_of
from menura.cli.main import run
from menura.corpus.published.catalogue import CORPORA

Captured = pytest.CaptureFixture[str]
DATA = SHARED / "data"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a workspace with nothing in it."""
    monkeypatch.setenv("MENURA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def told(capsys: Captured, *words: str | Path, code: int = 0) -> str:
    """Run a command line and return what it told."""
    capsys.readouterr()
    assert run([str(word) for word in words]) == code
    return "".join(capsys.readouterr())


def added(capsys: Captured, *words: str | Path) -> dict[str, object]:
    """Add a corpus and return its facts."""
    lines = told(capsys, "--json", "data", "add", *words).splitlines()
    return next(found for found in map(json.loads, lines) if found["event"] == "added")


def counts(facts: dict[str, object]) -> dict[str, tuple[int, int]]:
    """Return what was counted of each split, in dialogues and turns."""
    return {split["split"]: (split["counted"], split["turns"]) for split in facts["splits"]}  # type: ignore[attr-defined]


# Sources


def test_all_sources_are_listed(capsys: Captured) -> None:
    found = told(capsys, "data", "sources")
    assert [line.split()[0] for line in found.splitlines()[1:-1]] == list(CORPORA)


def test_one_source_says_where_the_files_are_and_how_they_are_added(capsys: Captured) -> None:
    found = told(capsys, "data", "sources", "convai2")
    corpus = CORPORA["convai2"]
    for text in (corpus.source, corpus.licence, corpus.command, corpus.note, *vars(corpus.files[0]).values()):
        assert str(text) in found or text == 0
    assert "size not published" in found
    assert "SHA-256  not published" in told(capsys, "data", "sources", "dailydialog")


def test_as_json_a_source_has_all_fields(capsys: Captured) -> None:
    found = json.loads(told(capsys, "--json", "data", "sources", "cped"))["cped"]
    assert found["files"][2]["sha256"] == CORPORA["cped"].files[2].sha256
    assert found["command"] == "menura data add cped CPED-main.zip"


# Files as they are published


def test_an_archive_is_added_by_one_command_and_counted(tmp_path: Path, capsys: Captured) -> None:
    found = told(capsys, "data", "add", "convai2", convai2(tmp_path / "convai2_fix_723.tgz"))
    assert "convai2: 4 dialogues -> " in found
    assert [path.name for path in files_of("convai2")] == ["train_self_original.txt", "valid_self_original.txt"]
    table = [line.split() for line in found.splitlines()]
    assert ["train", "2", "17,878", "6", "-"] in table
    assert ["valid", "2", "1,000", "6", "15,602"] in table
    assert "not all as published: results do not compare with a paper's" in found


def test_another_version_is_a_warning_with_both_hashes_and_is_added(tmp_path: Path, capsys: Captured) -> None:
    archive = convai2(tmp_path / "convai2_fix_723.tgz")
    found = told(capsys, "data", "add", "convai2", archive)
    own, published = sha256(archive.read_bytes()).hexdigest(), CORPORA["convai2"].files[0].sha256
    assert f"warn[another_version]: {archive}: " in found
    assert own in found
    assert published in found
    assert files_of("convai2")


def test_files_of_an_archive_are_compared_too(tmp_path: Path, capsys: Captured) -> None:
    archive = zipped(
        tmp_path / "mojitalk_data.zip", {"mojitalk_data/dev.ori": QUERIES, "mojitalk_data/dev.rep": REPLIES}
    )
    facts = added(capsys, "mojitalk", archive)
    assert [(one["file"], one["as_published"]) for one in facts["checksums"]] == [  # type: ignore[attr-defined]
        ("dev.ori", False),
        ("dev.rep", False),
    ]
    assert facts["missing"] == ["train", "test"]


def test_the_other_shapes_of_archives_are_added(tmp_path: Path, capsys: Captured) -> None:
    daily = added(capsys, "dailydialog", dailydialog(tmp_path / "ijcnlp_dailydialog.zip"))
    assert counts(daily) == {"train": (2, 5), "valid": (2, 5), "test": (2, 5)}
    real = added(capsys, "rpc", real_persona_chat(tmp_path / "real-persona-chat-main.zip"))
    assert counts(real) == {"all": (3, 6)}
    cped = added(capsys, "cped", zipped(tmp_path / "CPED-main.zip", {"CPED-main/data/CPED/valid_split.csv": CPED}))
    assert counts(cped) == {"valid": (1, 2)}
    names = {f"dnli/dialogue_nli/dialogue_nli_{split}.jsonl": NLI for split in ("train", "dev", "test")}
    pairs = added(capsys, "dnli", zipped(tmp_path / "dialogue_nli.zip", names))
    assert counts(pairs) == {"train": (2, 0), "dev": (2, 0)}
    assert [path.name for path in files_of("dnli")] == ["dialogue_nli_dev.jsonl", "dialogue_nli_train.jsonl"]


def test_what_to_type_next_is_told_where_all_is_as_published(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = CORPORA["dnli"]
    names = {f"dialogue_nli_{split}.jsonl": NLI for split in ("train", "dev")}
    archive = zipped(tmp_path / "dialogue_nli.zip", names)
    assert corpus.then not in told(capsys, "data", "add", "dnli", archive)
    small = replace(corpus, splits=tuple(replace(split, dialogues=2) for split in corpus.splits))
    monkeypatch.setitem(CORPORA, "dnli", small)
    found = told(capsys, "data", "add", "dnli", archive)
    assert f"next: {corpus.then}" in found
    assert "not all as published" not in found
    one = zipped(tmp_path / "half.zip", {"dialogue_nli_train.jsonl": NLI})
    found = told(capsys, "data", "add", "dnli", one)
    assert "not among the files: dev\nnot all as published" in found
    assert corpus.then not in found


def test_under_a_name_of_one_s_own_an_archive_is_counted_all_the_same(tmp_path: Path, capsys: Captured) -> None:
    files = {f"personachat/{split}_self_original.txt": PERSONACHAT for split in ("train", "valid", "test")}
    facts = added(capsys, "mine", tarred(tmp_path / "download.tgz", files))
    assert counts(facts) == {"train": (2, 6), "valid": (2, 6), "test": (2, 6)}
    assert len(files_of("mine")) == 3


def test_nothing_is_counted_beside_nothing_for_a_corpus_of_one_s_own(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "chat.txt").write_text("Ann: tea?\nBob: gladly.\n" * 3, encoding="utf-8")
    found = told(capsys, "data", "add", "mine", tmp_path / "chat.txt")
    assert found.splitlines()[0].startswith("mine: 1 dialogue -> ")
    assert "published" not in found


def test_a_dry_run_stores_nothing(tmp_path: Path, home: Path, capsys: Captured) -> None:
    told(capsys, "--dry-run", "data", "add", "convai2", convai2(tmp_path / "convai2_fix_723.tgz"))
    assert not home.exists()


# The real files. Those of convai2, dailydialog, personaldialog and dnli are excerpts or other people's copies, so that
# nothing about their hashes follows; what is complete in them counts as published.


@pytest.fixture(scope="module")
def data() -> Path:
    """Give the folder of the data sets."""
    if not DATA.exists():
        pytest.skip("the measuring data are not beside the project")
    return DATA


def files(*names: str) -> list[Path]:
    return [DATA / name for name in names]


def published(name: str, *splits: str) -> dict[str, tuple[int, int]]:
    """Return what the catalogue has of some splits of a corpus."""
    return {split.name: (split.dialogues, split.turns) for split in CORPORA[name].splits if split.name in splits}


def test_every_corpus_that_is_there_is_tested() -> None:
    assert {"convai2", "mojitalk", "dailydialog", "avsd", "rpc", "cped", "personaldialog", "dnli"} == {
        name for name, corpus in CORPORA.items() if corpus.access == "download"
    } - {"personachat"}


@pytest.mark.shared
def test_convai2_s_valid_split_counts_as_published(data: Path, capsys: Captured, tmp_path: Path) -> None:
    facts = added(capsys, "convai2", *files("convai2/convai2_subset.jsonl.xz"))
    assert counts(facts)["train"][0] == 2352
    assert counts(facts)["valid"] == (1000, 15_602) == published("convai2", "valid")["valid"]
    # Inside an archive in the shape of the published one, too.
    with lzma.open(data / "convai2/valid_self_original_no_cands.txt.xz") as file:
        archive = tarred(tmp_path / "convai2_fix_723.tgz", {"valid_self_original.txt": file.read()})
    assert counts(added(capsys, "convai2", archive)) == published("convai2", "valid")


@pytest.mark.shared
def test_mojitalk_s_dev_and_test_are_the_published_files(data: Path, capsys: Captured) -> None:
    names = [f"mojitalk/{split}.{kind}.xz" for split in ("dev", "test") for kind in ("ori", "rep")]
    facts = added(capsys, "mojitalk", *files(*names))
    assert [one["as_published"] for one in facts["checksums"]] == [True] * 4  # type: ignore[attr-defined]
    wanted = {split: count for split, (count, _) in published("mojitalk", "dev", "test").items()}
    assert {split: count for split, (count, _) in counts(facts).items()} == wanted


@pytest.mark.shared
def test_dailydialog_s_valid_and_test_count_as_published(data: Path, capsys: Captured) -> None:
    names = ("xdd8096_text_En", "laed_validation_dialogues", "laed_test_dialogues")
    facts = added(capsys, "dailydialog", *files(*(f"dailydialog/{name}.txt.xz" for name in names)))
    assert counts(facts).pop("others")[0] == 8034
    assert {**counts(facts), **published("dailydialog", "valid", "test")} == counts(facts)
    assert facts["missing"] == ["train"]


@pytest.mark.shared
def test_avsd_s_file_is_the_published_one_and_two_dialogues_have_no_answer(data: Path, capsys: Captured) -> None:
    facts = added(capsys, "avsd", *files("avsd/videoDial_test_v01.json.xz"))
    (checksum,) = facts["checksums"]  # type: ignore[misc]
    assert checksum["as_published"]
    split = CORPORA["avsd"].splits[0]
    assert counts(facts) == {split.name: (split.dialogues - 2, split.turns - 40)}


@pytest.mark.shared
def test_real_persona_chat_counts_as_published(data: Path, capsys: Captured, tmp_path: Path) -> None:
    assert published("rpc", "all") == {"all": (13_583, 408_619)}, "what test_real_persona_chat.py counts"
    if count(full_count=1, quick_count=0):
        facts = added(capsys, "rpc", *files("real_persona_chat/dialogues.jsonl.xz"))
        assert counts(facts) == published("rpc", "all")
        assert facts["missing"] == []
        return
    with lzma.open(data / "real_persona_chat/dialogues.jsonl.xz", "rt", encoding="utf-8") as file:
        some = [next(file) for _ in range(500)]
    (tmp_path / "dialogues.jsonl").write_text("".join(some), encoding="utf-8")
    people = lzma.decompress((data / "real_persona_chat/interlocutors.json.xz").read_bytes())
    (tmp_path / "interlocutors.json").write_bytes(people)
    facts = added(capsys, "rpc", tmp_path / "dialogues.jsonl")
    assert counts(facts) == {"all": (500, sum(len(json.loads(line)["utterances"]) for line in some))}
    assert facts["missing"] == []


@pytest.mark.shared
def test_real_persona_chat_s_people_are_the_published_file(data: Path, capsys: Captured, tmp_path: Path) -> None:
    with lzma.open(data / "real_persona_chat/dialogues.jsonl.xz", "rt", encoding="utf-8") as file:
        some = [json.loads(next(file)) for _ in range(50)]
    chats = {f"real_persona_chat/dialogues/{i:05}.json": json.dumps(chat, indent=4) for i, chat in enumerate(some)}
    people = lzma.decompress((data / "real_persona_chat/interlocutors.json.xz").read_bytes())
    archive = zipped(tmp_path / "main.zip", {**chats, "real_persona_chat/interlocutors.json": people})
    facts = added(capsys, "rpc", archive)
    assert [(one["file"], one["as_published"]) for one in facts["checksums"]] == [("interlocutors.json", True)]  # type: ignore[attr-defined]
    assert counts(facts)["all"][0] == 50


@pytest.mark.shared
def test_cped_s_valid_and_test_are_the_published_files(data: Path, capsys: Captured) -> None:
    facts = added(capsys, "cped", *files("cped/valid_split.csv.xz", "cped/test_split.csv.xz"))
    assert [one["as_published"] for one in facts["checksums"]] == [True, True]  # type: ignore[attr-defined]
    wanted = {split: count for split, (count, _) in published("cped", "valid", "test").items()}
    assert {split: count for split, (count, _) in counts(facts).items()} == wanted


@pytest.mark.shared
def test_samples_of_personaldialog_and_dialogue_nli_are_added(data: Path, capsys: Captured) -> None:
    personal = added(capsys, "personaldialog", *files("personaldialog/bob_sample_dialogues_train.json.xz"))
    assert counts(personal)["all"][0] == 100
    pairs = added(capsys, "dnli", *files("dnli/rcdg_nli-train.txt.xz", "dnli/rcdg_nli-valid.txt.xz"))
    assert {split: count for split, (count, _) in counts(pairs).items()} == {"train": 8307, "dev": 3158}


@pytest.mark.shared
@pytest.mark.parametrize(
    "name", ["mojitalk/dev.ori", "mojitalk/test.rep", "cped/test_split.csv", "cped/valid_split.csv"]
)
def test_sizes_of_the_catalogue_are_those_of_the_files(data: Path, name: str) -> None:
    corpus, _, file = name.partition("/")
    known = CORPORA[corpus].file(file)
    content = lzma.decompress((data / f"{name}.xz").read_bytes())
    assert known
    assert (known.size, known.sha256) == (len(content), sha256(content).hexdigest())
