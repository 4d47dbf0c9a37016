"""Published sets of dialogues with personas: the shapes that people have, and others of their kind."""

import json
from pathlib import Path

import pytest
from set_readings import Read, found_by, problems_of

from menura.corpus import personachat
from menura.errors import DataError

TRANSFER = {
    "train": [
        {
            "personality": ["i grow ferns ."],
            "utterances": [
                {"candidates": ["no .", "gladly ."], "history": ["hello , tea ?"]},
                {"candidates": ["x", "always green ."], "history": ["hello , tea ?", "gladly .", "green ?"]},
            ],
        }
    ],
    "valid": [],
}
MSC = {
    "personas": [["I grow ferns."], ["I drink tea."]],
    "dialog": [{"id": "Speaker 1", "text": "hello"}, {"id": "Speaker 2", "text": "hi"}],
    "previous_dialogs": [],
}
BLANKS_FOR_TABS = """1 your persona: i grow ferns.
2 hello , tea ?    gladly .        no .|gladly .
3 green ?    always green .        no .|always green .
"""


def test_utterances_with_their_histories_are_one_dialogue_whose_replies_are_the_last_candidates() -> None:
    read = Read(json.dumps(TRANSFER), "personality")
    assert read.turns == [
        ("partner", "hello , tea ?"),
        ("self", "gladly ."),
        ("partner", "green ?"),
        ("self", "always green ."),
    ]
    assert (read.sizes, read.facts) == ([4], {"self": ("i grow ferns .",)})
    assert read.warnings == {"few": 1}


def test_histories_that_are_cut_short_are_put_together() -> None:
    said = [f"turn {index} ." for index in range(10)]
    utterances = [
        {"candidates": ["x", said[index]], "history": said[max(0, index - 3) : index]} for index in range(1, 10, 2)
    ]
    read = Read(json.dumps([{"personality": [], "utterances": utterances}]), "personality")
    assert [text for _, text in read.turns] == said


def test_lines_with_one_utterance_each_are_put_together_too() -> None:
    lines = [
        {"personality": ["i sail ."], "candidates": ["x", "b"], "history": ["a"], "conv_id": 0},
        {"personality": ["i sail ."], "candidates": ["x", "d"], "history": ["a", "b", "c"], "conv_id": 0},
        {"personality": ["i cook ."], "candidates": ["x", "d"], "history": ["__ SILENCE __"], "conv_id": 1},
        {"personality": ["i cook ."], "candidates": ["x", "f"], "history": ["d", "e"], "conv_id": 1},
    ]
    read = Read("\n".join(map(json.dumps, lines)), "personality")
    assert read.sizes == [4, 3]
    assert read.turns[4:] == [("self", "d"), ("partner", "e"), ("self", "f")]


def test_a_fault_in_an_utterance_has_its_path() -> None:
    text = json.dumps({"valid": [{"personality": "x", "utterances": [{"history": ["a", 3]}, 7]}]})
    assert [problem.message for problem in problems_of(text, "personality")] == [
        "valid[0].personality: is text, must be an array",
        "valid[0].utterances[0].history[1]: is a number, must be text",
        "valid[0].utterances[0].candidates: required, is missing",
        "valid[0].utterances[1]: is a number, must be an object",
    ]


def test_speakers_of_msc_are_the_sets_own_labels_and_never_alike() -> None:
    read = Read(json.dumps(MSC), "msc", "msc.jsonl")
    assert read.turns == [("Speaker 1", "hello"), ("Speaker 2", "hi")]
    assert read.facts == {"Speaker 1": ("I grow ferns.",), "Speaker 2": ("I drink tea.",)}
    assert read.warnings == {"few": 1}


def test_earlier_sessions_of_msc_come_first_and_take_turns_where_they_have_no_ids() -> None:
    before = {"personas": [["I was young."], []], "dialog": [{"text": "a"}, {"text": "b"}, {"text": "c"}]}
    read = Read(json.dumps(MSC | {"previous_dialogs": [before]}), "msc")
    assert read.turns[:3] == [("Speaker 1", "a"), ("Speaker 2", "b"), ("Speaker 1", "c")]
    assert read.dialogues[0].facts == {"Speaker 1": ("I was young.",)}
    assert read.sizes == [3, 2]


def test_other_ids_of_msc_are_speakers_with_the_personas_in_order() -> None:
    record = MSC | {"dialog": [{"id": "bot_0", "text": "a"}, {"id": "bot_1", "text": "b"}]}
    assert Read(json.dumps(record), "msc").facts == {"bot_0": ("I grow ferns.",), "bot_1": ("I drink tea.",)}


def test_blended_skill_talk_from_hugging_face_takes_turns_after_what_was_given_beforehand() -> None:
    record = {
        "personas": ["i cook", "i read"],
        "previous_utterance": ["p", "q"],
        "free_messages": ["a", "c"],
        "guided_messages": ["b", "d"],
    }
    read = Read(json.dumps([record]), "blended_skill_talk")
    assert [text for _, text in read.turns] == ["p", "q", "a", "b", "c", "d"]
    assert read.dialogues[0].context_only == {0, 1}
    assert read.notes.context_only == {"given beforehand": 2}
    assert read.facts == {"guided": ("i cook", "i read")}


def test_blended_skill_talk_as_published_has_both_personas_and_numbered_workers() -> None:
    record = {
        "personas": [["x"], ["y"]],
        "free_turker_utterance": "p",
        "guided_turker_utterance": "q",
        "dialog": [[0, "a"], [1, "b"]],
    }
    read = Read(json.dumps([record]), "blended_skill_talk")
    assert read.turns == [("free", "p"), ("guided", "q"), ("free", "a"), ("guided", "b")]
    assert read.facts == {"free": ("x",), "guided": ("y",)}
    bad = record | {"dialog": [[1.0, "c"], [2, "z"], 3]}
    problems = problems_of(json.dumps([bad]), "blended_skill_talk")
    assert [problem.count for problem in problems] == [3, 1], "what is wrong in several entries is one kind"


def test_light_has_characters_and_speeches_and_actions_are_no_turns() -> None:
    record = {
        "agents": [{"name": "King", "persona": "I rule."}, {"name": "nobody", "persona": "I am not there."}],
        "character": ["king", "servant", "king"],
        "speech": ["rise", "thanks", None],
        "action": [None, None, "hug servant"],
    }
    read = Read(json.dumps([record]), "light")
    assert read.turns == [("king", "rise"), ("servant", "thanks")]
    assert (read.facts, read.dropped) == ({"king": ("I rule.",)}, {"action": 1})
    problems = problems_of(json.dumps([record | {"speech": ["rise"]}]), "light")
    assert [problem.message for problem in problems][:1] == ["[0].speech: has 1 items, character has 3"]


def test_light_as_parlai_exports_it_has_names_and_no_line_twice() -> None:
    text = (
        "text:_task_speech\\n_setting_name Hall\\n_partner_name servant\\n_self_name king\\n_self_persona I rule.\\n"
        "_partner_say my king\tlabels:rise\tepisode_done:False\n"
        "text:_self_say rise\\n_self_act hug servant\\n_partner_say thanks\tlabels:_self_say go\tepisode_done:True\n"
    )
    read = Read(text, "light")
    assert read.turns == [("servant", "my king"), ("king", "rise"), ("servant", "thanks"), ("king", "go")]
    assert (read.facts, read.dropped) == ({"king": ("I rule.",)}, {"action": 1})


def test_synthetic_persona_chat_is_a_table_whose_conversations_are_lines() -> None:
    text = (
        "user 1 personas,user 2 personas,Best Generated Conversation\n"
        '"I sail.\nI cook.","I read.","User 1: Hi!\nUser 2: Hello.\nhow are you?\nUser 1: fine"\n'
    )
    read = Read(text, "synthetic_persona_chat")
    assert read.turns == [("User 1", "Hi!"), ("User 2", "Hello.\nhow are you?"), ("User 1", "fine")]
    assert read.facts == {"User 1": ("I sail.", "I cook."), "User 2": ("I read.",)}
    assert read.warnings == {"few": 1}
    assert [p.place for p in problems_of(text + "a,b\n", "synthetic_persona_chat")] == ["talk.txt:7"]


def tabless(folder: Path, text: str) -> list[tuple[str, str, str]]:
    path = folder / "convai2_four_spaces.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        list(personachat.read(path))
    return [(problem.code, problem.message, problem.hint) for problem in caught.value.problems]


def test_blanks_where_tabs_should_be_are_named_with_what_to_type(tmp_path: Path) -> None:
    hint = "put the tabs back: sed 's/    /\\t/g' convai2_four_spaces.txt > fixed.txt; or fetch the file again"
    said = "lines 2 and 3 have no tab; there are 4 blanks for each"
    assert tabless(tmp_path, BLANKS_FOR_TABS) == [("missing_tabs", said, hint)]


def test_with_the_tabs_back_it_is_a_dialogue(tmp_path: Path) -> None:
    path = tmp_path / "fixed.txt"
    path.write_text(BLANKS_FOR_TABS.replace("    ", "\t"), encoding="utf-8")
    (dialogue,) = personachat.read(path)
    assert [turn.text for turn in dialogue.turns] == ["hello , tea ?", "gladly .", "green ?", "always green ."]
    assert dialogue.facts == {"self": ("i grow ferns",)}


@pytest.mark.parametrize("blanks", [2, 3, 8])
def test_however_many_blanks_there_are_they_are_counted(tmp_path: Path, blanks: int) -> None:
    text = "".join(f"{index} hello{' ' * blanks}gladly  yes\n" for index in range(1, 9))
    ((code, message, hint),) = tabless(tmp_path, text)
    assert code == "missing_tabs"
    assert message == f"lines 1, 2, 3, 4, 5 and 3 more have no tab; there are {blanks} blanks for each"
    assert f"sed 's/{' ' * blanks}/" in hint


def test_two_blanks_in_a_last_line_without_reply_are_a_slip_where_tabs_stand(tmp_path: Path) -> None:
    path = tmp_path / "pc.txt"
    path.write_text("1 hi\thello\n2 well,  bye\n", encoding="utf-8")
    (dialogue,) = personachat.read(path)
    assert dialogue.turns[-1].text == "well,  bye"
    assert tabless(tmp_path, "1 hi\thello\n2 well    bye\n")[0][1] == "line 2 has no tab; there are 4 blanks for each"


def test_personachat_without_tabs_is_known_without_personas_too() -> None:
    (_, (shape, reason)) = personachat.SHAPES
    assert shape.match("1 hello , tea ?    gladly .\n2 green ?    always .\n")
    assert reason == "numbered lines with blanks for tabs"
    assert not shape.match("1 hello  there\n2 green   tea\n")
    assert found_by(BLANKS_FOR_TABS) == []
