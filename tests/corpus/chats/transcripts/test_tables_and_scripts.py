"""Tables, subtitles and scripts: the shapes that people have, and others of their kind."""

import pytest
from set_readings import Read, found_by, problems_of

CSV = """speaker,text
Ines,did you water the fern
Tomo,"yes, twice"
Ines,good
"""
SRT = """1
00:00:01,000 --> 00:00:03,000
INES: did you water the fern?

2
00:00:03,500 --> 00:00:05,000
TOMO: Twice.
- It sulks.

3
00:00:06,000 --> 00:00:08,000
INES: Good.
"""
FOUNTAIN = """Title: Ferns
Author: nobody

INT. GREENHOUSE - DAY

Ines waters.

INES
Did you water
(she waits)
the fern?

TOMO (V.O.)
(quietly)
Twice.

CUT TO:

EXT. GARDEN - NIGHT

@McInes
Hello.

TOMO ^
(sighs) Hi.
"""


def test_a_table_has_a_header_that_is_no_turn_and_commas_in_quotation_marks() -> None:
    read = Read(CSV, "table", "talk.csv")
    assert read.turns == [("Ines", "did you water the fern"), ("Tomo", "yes, twice"), ("Ines", "good")]
    assert (read.sizes, read.warnings) == ([3], {"few": 1})


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize(
    "header",
    [
        "From;Message",
        "author;content",
        "Absender;Nachricht",
        "Remitente;Mensaje",
        "Expéditeur;Énoncé",
        "remetente;CONTEÚDO",
    ],
)
def test_columns_are_known_in_five_languages_and_with_any_delimiter(header: str, delimiter: str) -> None:
    rows = [header, "Ann;hi", "Bob;so"]
    text = "\r\n".join(f"id;{row}" if index == 0 else f"{index};{row}" for index, row in enumerate(rows))
    assert Read("\ufeff" + text.replace(";", delimiter), "table").turns == [("Ann", "hi"), ("Bob", "so")]


def test_texts_in_quotation_marks_may_have_line_breaks_and_faults_have_the_line_of_the_row() -> None:
    text = 'name;text;note\nAnn;"one\n\ntwo";x\nBob;"say ""hi""";x\nAnn\nBob;"x;y"z;a;b\n'
    found = problems_of(text, "table")
    assert [(p.place, p.message) for p in found] == [
        ("talk.txt:6", "1 cell, the header has 3"),
        ("talk.txt:7", "4 cells, the header has 3"),
    ]
    good = "".join(f"{row}\n" for row in text.split("\n")[:5])
    assert Read(good, "table").turns == [("Ann", "one\n\ntwo"), ("Bob", 'say "hi"')]


def test_a_comma_in_a_last_text_without_quotation_marks_is_text() -> None:
    assert Read("from,body\nAnn,well, hi, you\nBob,so\n", "table").turns[0] == ("Ann", "well, hi, you")


def test_a_quotation_mark_that_is_never_closed_is_named_by_its_row() -> None:
    (problem,) = problems_of('from,body\nAnn,hi\nBob,"so\nAnn,well\n', "table")
    assert (problem.code, problem.place) == ("table", "talk.txt:3")
    (problem,) = problems_of('from,body\nAnn,hi\nBob,"' + "so\n" * 100_000, "table")
    assert (problem.code, problem.place) == ("table", "talk.txt:3")


def test_a_single_quotation_mark_between_tabs_is_text() -> None:
    assert Read('from\tbody\nAnn\t"hi\nBob\tso\n', "table").turns == [("Ann", '"hi'), ("Bob", "so")]


def test_excels_first_line_says_the_delimiter_and_a_repeated_header_is_left_out() -> None:
    read = Read("sep=;\nname;text\nAnn;a,b\nname;text\nBob;c\n", "table")
    assert read.turns == [("Ann", "a,b"), ("Bob", "c")]
    assert read.dropped == {"heading": 1}


def test_a_markdown_table_is_a_table() -> None:
    assert Read("| name | text |\n|---|:--|\n| Ann | hi |\n| Bob | so |\n", "table").turns == [
        ("Ann", "hi"),
        ("Bob", "so"),
    ]


def test_date_and_time_in_two_columns_cut_by_silence_once_the_order_is_found() -> None:
    rows = [
        "1.12.2023;10:00;Ines;hallo",
        "1.12.2023;10:05;Tomo;ja",
        "13.12.2023;10:06;Ines;gut",
        "13.12.2023;10:07;Tomo;ok",
    ]
    read = Read("Datum;Uhrzeit;Absender;Nachricht\n" + "\n".join(rows), "table")
    assert read.sizes == [2, 2]
    assert read.notes.order.startswith("day-first")
    assert (read.notes.first, read.notes.last) == ("2023-12-01T10:00:00", "2023-12-13T10:07:00")


def test_times_that_cannot_be_read_are_told_and_cut_nothing() -> None:
    read = Read("time,from,text\nnow,Ann,hi\n,Bob,so\n1701424800,Ann,well\n", "table")
    assert (read.sizes, read.warnings) == ([3], {"few": 1, "times": 2})


def test_a_column_of_dialogues_says_where_they_begin_and_nothing_else_cuts() -> None:
    rows = [
        f"{name},{number},x,{index},2023-12-{index + 1:02} 10:00"
        for name in "ab"
        for index, number in enumerate("AB" * 6)
    ]
    rows.append("a,A,x,9,")
    read = Read("conversation_id,speaker,note,text,timestamp\n" + "\n".join(rows), "table")
    assert read.sizes == [12, 12]
    assert [dialogue.dialogue_id for dialogue in read.dialogues] == ["a", "b"]
    assert read.warnings["mixed"] == 1


def test_subtitles_are_names_and_texts_without_numbers_and_times() -> None:
    read = Read(SRT, "subtitles", "film.srt")
    assert read.turns == [
        ("INES", "did you water the fern?"),
        ("TOMO", "Twice.\n- It sulks."),
        ("INES", "Good."),
    ]
    assert (read.sizes, read.dropped) == ([3], {})
    assert read.warnings == {"few": 1, "dash": 1}
    assert {problem.code: problem.place for problem in read.notes.problems}["dash"] == "film.srt:8"


def test_webvtt_has_voices_notes_and_cues_that_go_on() -> None:
    text = (
        "WEBVTT\n\nNOTE by nobody: at all\n\nSTYLE\n::cue { }\n\n1\n00:01.000 --> 00:02.000 align:start\n"
        "<v Ann>hello there,\nhow are you?</v>\n\n00:03.000 --> 00:04.000\n<v.loud Bob>fine</v> <v Ann>oh</v>\n\n"
        "00:05.000 --> 00:06.000\nand <i>you</i>?\n\n00:07.000 --> 00:08.000\n[door slams]\n♪ ♪\n"
    )
    read = Read(text, "subtitles", "film.vtt")
    assert read.turns == [("Ann", "hello there, how are you?"), ("Bob", "fine"), ("Ann", "oh\nand you?")]
    assert read.dropped == {"sound": 2}


def test_a_dash_before_a_name_is_nothing_and_a_sentence_with_a_colon_no_name() -> None:
    text = "1\n00:00:01,000 --> 00:00:03,000\n- ANN: hi\n- <i>Dr. Bob Lee</i>: so\n\n2\n00:00:04,000 --> 00:00:05,000\n"
    read = Read(
        text.replace("<i>Dr. Bob Lee</i>", "<i>Dr. Bob Lee") + "He said: go\n{\\an8}BOB (V.O.): left\n", "subtitles"
    )
    assert read.turns == [("ANN", "hi"), ("Dr. Bob Lee", "so\nHe said: go"), ("BOB", "left")]


def test_subtitles_in_which_nobody_has_a_name_are_refused_with_what_to_do() -> None:
    text = "1\n00:00:01,000 --> 00:00:03,000\nhello\n\n2\n00:00:04,000 --> 00:00:05,000\nwell\n"
    assert [problem.code for problem in problems_of(text, "subtitles")][:1] == ["no_names"]


def test_a_screenplay_has_names_above_speeches_and_scenes_that_begin_dialogues() -> None:
    read = Read(FOUNTAIN, "screenplay", "ferns.fountain")
    assert read.turns == [
        ("INES", "Did you water the fern?"),
        ("TOMO", "Twice."),
        ("McInes", "Hello."),
        ("TOMO", "Hi."),
    ]
    assert (read.sizes, read.dropped) == ([2, 2], {"stage direction": 3})


def test_names_in_the_middle_of_the_page_are_names() -> None:
    text = "".join(f"{' ' * 20}{name}\n{' ' * 10}(softly)\n{' ' * 10}line {name}\n\n" for name in ["ANN", "BOB", "ANN"])
    assert Read(text, "screenplay").turns == [("ANN", "line ANN"), ("BOB", "line BOB"), ("ANN", "line ANN")]


def test_a_play_may_have_names_in_small_letters_that_come_again() -> None:
    said = [("Ines", "Did you water?"), ("Tomo", "Twice."), ("Ines", "Good."), ("Tomo", "It sulks.")]
    text = "\n".join(f"{name}.\n{line}\n" for name, line in said)
    assert Read(text, "screenplay").turns == said


@pytest.mark.parametrize(
    "text",
    [
        "Ann: hi\nBob: so\n\nAnn: well\nBob: yes\n",
        "Dear all,\nthis is a letter.\n\nIt says: nothing.\nAt all.\n",
        "INTRODUCTION\nWe ask.\n\nMETHODS\nWe look.\n\nRESULTS\nWe see.\n",
        "# A heading\n\nText, and more text.\nAnd more.\n",
        "speaker: text, message\nBob: so\n",
        "1 your persona: i sail.\n2 hi\thello\n",
        "[01/12/2023, 10:00:12] Ines: hi, text\n[01/12/2023, 10:01:12] Tomo: so\n",
        '{"turns": [{"speaker": "Ann", "text": "a"}, {"speaker": "Bob", "text": "b"}]}\n',
        '{"persona": ["i sail"], "turns": [["a", "b"]]}\n',
    ],
)
def test_files_of_other_kinds_are_left_to_their_readers(text: str) -> None:
    assert found_by(text) == []
