"""The table of formats: complete, tells formats apart, reads several files."""

import importlib
import json
import pkgutil
from pathlib import Path

import pytest

from menura import corpus
from menura.corpus import catalogue, chats, inputs
from menura.corpus.catalogue import FORMATS
from menura.errors import ConfigError, DataError

SAID = [("Ann", "shall we?"), ("Bob", "gladly."), ("Ann", "now?"), ("Bob", "why not."), ("Ann", "go."), ("Bob", "yes.")]
EXAMPLES = {
    "chitchat": json.dumps({"c": {"messages": [[{"text": t, "timestamp": "", "sender": s}] for s, t in SAID]}}),
    "avsd": json.dumps({"V1": {"script": "a", "summary": "", "data": {"x": [{"question": "q?", "answer": "b"}]}}}),
    "dailydialog": "shall we ? __eou__ gladly . __eou__\n",
    "jsonl": json.dumps({"turns": [{"speaker": s, "text": t} for s, t in SAID]}),
    "personachat_jsonl": json.dumps({"persona": ["i sail"], "turns": [["shall we?", "gladly."]]}),
    "messages": json.dumps({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]}),
    "sharegpt": json.dumps([{"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "yo"}]}]),
    "personachat": "1 your persona: i sail.\n2 shall we?\tgladly.\n",
    "mojitalk": "😊 shall we go ?\n",
    "cped": "TV_ID,Dialogue_ID,Speaker,Gender,Age,Utterance\n8,8_0,Ann,female,young,hi\n8,8_0,Bob,male,young,yo\n",
    "real_persona_chat": json.dumps(
        {"dialogue_id": 1, "interlocutors": ["A"], "utterances": [{"interlocutor_id": s, "text": s} for s in "AB"]}
    ),
    "personaldialog": json.dumps({"dialog": [["hi"], ["yo"]], "profile": [{"gender": "male"}, {}], "uid": [0, 1]}),
    "transcript": "Ann: shall we?\nBob: gladly.\n",
}


def written(folder: Path, text: str, name: str = "talk.txt") -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_no_reader_is_missing_from_the_catalogue() -> None:
    names = [module.name for module in pkgutil.iter_modules(corpus.__path__)]
    modules = {name: importlib.import_module(f"menura.corpus.{name}") for name in names}
    sets = {name: entry for name, entry in FORMATS.items() if entry.chat is None}
    assert {name for name, module in modules.items() if hasattr(module, "SHAPES")} == set(sets)
    assert all(entry.name == name and entry.read is modules[name].read for name, entry in sets.items())


def test_no_reader_of_chats_is_missing_from_the_catalogue() -> None:
    names = [module.name for module in pkgutil.walk_packages(chats.__path__, "menura.corpus.chats.")]
    modules = map(importlib.import_module, names)
    made = {getattr(module, name) for module in modules for name in dir(module) if name.startswith("looks_like")}
    assert made >= {entry.chat.looks_like for entry in FORMATS.values() if entry.chat}
    known = {entry.chat.looks_like for entry in FORMATS.values() if entry.chat}
    assert {one.__qualname__ for one in made - known} <= {"looks_like_card"}, "a reader that nothing asks"


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_format_is_detected_and_read(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, EXAMPLES[name], "talk.ori" if name == "mojitalk" else "talk.txt")
    written(tmp_path, "gladly indeed .\n", "talk.rep")
    written(tmp_path, json.dumps({name: {"persona": []} for name in "AB"}), "interlocutors.json")
    assert catalogue.detect(path) == name
    assert len(inputs.read(path)) == 1


def test_words_inside_a_text_do_not_mislead_detection(tmp_path: Path) -> None:
    turns = [{"speaker": "Ann", "text": '{"messages": [{"role"'}, {"speaker": "Bob", "text": '"conversations": [['}]
    assert catalogue.detect(written(tmp_path, json.dumps({"turns": turns}))) == "jsonl"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a,b\n1,2\n", "lines of text without names"),
        ('{"rows": [{"a": 1}]}', "JSON with the keys rows, a"),
        ("<html><body>hi</body></html>", "HTML"),
    ],
)
def test_an_unknown_content_is_answered_with_what_it_nearly_is(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(DataError, match=told) as caught:
        catalogue.detect(written(tmp_path, text))
    assert "menura data formats" in caught.value.problems[0].hint


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no dialogues found"):
        catalogue.detect(written(tmp_path, "\n \n"))


def test_a_misspelt_format_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean transcript"):
        catalogue.named("transcrpt")


def test_ids_stay_unique_over_files_of_the_same_name(tmp_path: Path) -> None:
    paths = [written(tmp_path / folder, EXAMPLES["transcript"]) for folder in "abc"]
    ids = [dialogue.dialogue_id for dialogue in inputs.read(paths)]
    assert ids == ["talk-1", "talk-talk-1", "talk-2-talk-1"]


def test_one_id_in_two_files_gets_the_files_stem(tmp_path: Path) -> None:
    text = json.dumps({"dialogue_id": "x", **json.loads(EXAMPLES["jsonl"])})
    paths = [written(tmp_path, text, name) for name in ("a.jsonl", "b.jsonl")]
    assert [dialogue.dialogue_id for dialogue in inputs.read(paths, "jsonl")] == ["x", "b-x"]


def test_the_defects_of_all_files_come_in_one_error(tmp_path: Path) -> None:
    paths = [
        written(tmp_path, "{", "a.jsonl"),
        written(tmp_path, EXAMPLES["jsonl"], "b.jsonl"),
        written(tmp_path, "[", "c"),
    ]
    with pytest.raises(DataError) as caught:
        inputs.read(paths, "jsonl")
    assert len(caught.value.problems) == 2


def test_a_folder_gives_the_chats_in_it_and_leaves_other_files_out(tmp_path: Path) -> None:
    for name in ("b/one.txt", "a.txt"):
        written(tmp_path / Path(name).parent, EXAMPLES["transcript"], Path(name).name)
    written(tmp_path, "no chat at all", "notes.md")
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8")
    assert [one.file.stem for one in inputs.inputs(tmp_path)] == ["a", "one"]


def test_a_folder_without_a_chat_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8")
    with pytest.raises(DataError, match="no file in it may be a chat"):
        inputs.read(tmp_path)


def test_every_format_has_a_title_of_its_own_that_says_more_than_its_name() -> None:
    titles = [entry.title for entry in FORMATS.values()]
    assert all(title.strip() for title in titles)
    assert len(set(titles)) == len(titles)
    assert [name for name, entry in FORMATS.items() if entry.title == name] == []


MESSY = "picnic plans from monday\n\nInes: who brings bread?\nme and some\nolives too\nTomo: i do\nand jam\n  and tea\n"


def test_of_messy_text_the_first_lines_without_a_name_are_shown_with_what_to_type(tmp_path: Path) -> None:
    path = written(tmp_path, MESSY, "pasted.txt")
    with pytest.raises(DataError) as caught:
        catalogue.detected(path)
    (problem,) = caught.value.problems
    assert problem.code == "unknown_format"
    assert problem.message.endswith(
        "; without: line 1 'picnic plans from monday', line 4 'me and some', line 5 'olives too'"
    )
    assert 'write the name in front ("Ines: picnic plans from monday")' in problem.hint
    assert problem.hint.endswith("--format transcript")
    (dialogue,) = inputs.read(path, "transcript")
    assert [turn.speaker for turn in dialogue.turns] == ["Ines", "Tomo"]


def test_text_without_any_name_shows_how_its_first_line_would_be_written(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        catalogue.detected(written(tmp_path, "hello\x1b[0m there\nhi\n", "pasted.txt"))
    (problem,) = caught.value.problems
    assert "line 1 'hello\\x1b[0m there', line 2 'hi'" in problem.message
    assert 'such as "Anna: hello\\x1b[0m there"' in problem.hint
