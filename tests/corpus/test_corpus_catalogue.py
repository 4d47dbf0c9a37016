"""The table of formats: complete, tells formats apart, reads several files."""

import importlib
import json
import pkgutil
from pathlib import Path

import pytest

from menura import corpus
from menura.corpus import catalogue
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
    assert {name for name, module in modules.items() if hasattr(module, "SHAPES")} == set(FORMATS)
    assert all(entry.name == name and entry.read is modules[name].read for name, entry in FORMATS.items())


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_is_detected_and_read(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, EXAMPLES[name], "talk.ori" if name == "mojitalk" else "talk.txt")
    written(tmp_path, "gladly indeed .\n", "talk.rep")
    written(tmp_path, json.dumps({name: {"persona": []} for name in "AB"}), "interlocutors.json")
    assert catalogue.detect(path) == name
    assert len(catalogue.read(path)) == 1


def test_words_inside_a_text_do_not_mislead_detection(tmp_path: Path) -> None:
    turns = [{"speaker": "Ann", "text": '{"messages": [{"role"'}, {"speaker": "Bob", "text": '"conversations": [['}]
    assert catalogue.detect(written(tmp_path, json.dumps({"turns": turns}))) == "jsonl"


def test_an_unknown_content_is_answered_with_the_formats(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--format.*personachat.*transcript"):
        catalogue.detect(written(tmp_path, "a,b\n1,2\n"))


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no dialogues found"):
        catalogue.detect(written(tmp_path, "\n \n"))


def test_a_misspelt_format_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean transcript"):
        catalogue.named("transcrpt")


def test_ids_stay_unique_over_files_of_the_same_name(tmp_path: Path) -> None:
    paths = [written(tmp_path / folder, EXAMPLES["transcript"]) for folder in "abc"]
    ids = [dialogue.dialogue_id for dialogue in catalogue.read(paths)]
    assert ids == ["talk-1", "talk-talk-1", "talk-2-talk-1"]


def test_one_id_in_two_files_gets_the_files_stem(tmp_path: Path) -> None:
    text = json.dumps({"dialogue_id": "x", **json.loads(EXAMPLES["jsonl"])})
    paths = [written(tmp_path, text, name) for name in ("a.jsonl", "b.jsonl")]
    assert [dialogue.dialogue_id for dialogue in catalogue.read(paths, "jsonl")] == ["x", "b-x"]


def test_the_defects_of_all_files_come_in_one_error(tmp_path: Path) -> None:
    paths = [
        written(tmp_path, "{", "a.jsonl"),
        written(tmp_path, EXAMPLES["jsonl"], "b.jsonl"),
        written(tmp_path, "[", "c"),
    ]
    with pytest.raises(DataError) as caught:
        catalogue.read(paths, "jsonl")
    assert len(caught.value.problems) == 2


def test_a_folder_is_not_taken(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a file"):
        catalogue.read(tmp_path)
