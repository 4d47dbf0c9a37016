import csv
import io
import json
from collections import Counter
from pathlib import Path

import pytest
from made_up_study import ROWS, reply_of, without_context, write_results

from menura import api
from menura.annotation import protocols, replies, study
from menura.errors import ConfigError, DataError

PROTOCOLS = ("cmaml", "plato", "pairwise")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return write_results(tmp_path / "system-x")


def rows_of(text: str) -> list[dict[str, str]]:
    """Return the rows of a sheet."""
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline="")))


def sheets(new: api.NewStudy) -> dict[str, list[dict[str, str]]]:
    """Return the rows of a study's sheets."""
    return {name: rows_of(text) for name, text in new.files.items() if name.endswith(".csv")}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_that_raters_get_names_a_system_a_person_or_a_dialogue(tmp_path: Path, protocol: str) -> None:
    folders = [write_results(tmp_path / name, reply=lambda row, p, d, n=name: f"{p}{d}{len(row)}{len(n)}")
               for name in ("alpha-one", "beta")]  # fmt: skip
    new = api.new_study(folders, protocol, with_potato=True, references=True)
    assert len(new.systems) == 5
    key = new.files["key.json"]
    for name, text in new.files.items():
        for secret in ("alpha-one", "beta", *ROWS, "adapted", "persona-", "dialogue-1-1", "guest-", "real repl"):
            assert name == "key.json" or secret not in text.lower(), (name, secret)
    assert all(secret in key for secret in ("alpha-one", "beta", *ROWS, "persona-"))
    assert all(name.startswith(("for-raters/", "potato-", "key.json")) for name in new.files)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_same_seed_makes_the_same_study_and_another_seed_another(results: Path, protocol: str) -> None:
    first, again, other = (api.new_study([results], protocol, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.study != other.study
    assert first.files.keys() == other.files.keys()
    order = [[row["item"] for row in rows] for rows in sheets(first).values()]
    assert order != [sorted(items) for items in order]


def test_every_system_is_rated_in_every_context(results: Path) -> None:
    new = api.new_study([results], "cmaml")
    key = json.loads(new.files["key.json"])["items"]
    assert Counter(item["systems"][0] for item in key.values()) == dict.fromkeys(ROWS, 6)
    for row in sheets(new)["for-raters/sheet.csv"]:
        item = key[row["item"]]
        person, number = item["persona"].removeprefix("persona-"), item["context"] % 2 + 1
        expected = reply_of(item["systems"][0], int(person), number)
        assert row["dialogue"].splitlines()[-1] == f"Speaker: {expected}"
        assert row["dialogue"].startswith("Partner: good day!")
        assert row["rater"] == row["quality"] == row["consistency"] == ""


def test_the_number_of_an_item_tells_nothing_of_its_system_or_person(tmp_path: Path) -> None:
    new = api.new_study([write_results(tmp_path / "r", people=6, dialogues=4)], "cmaml")
    items = list(json.loads(new.files["key.json"])["items"].values())
    for number in range(2):
        assert {item["systems"][0] for item in items[number::2]} == set(ROWS)
    assert [item["context"] for item in items] != sorted(item["context"] for item in items)


def test_each_system_of_a_pair_stands_left_half_of_the_time(tmp_path: Path) -> None:
    new = api.new_study([write_results(tmp_path / "r", people=6, dialogues=4)], "pairwise")
    key = json.loads(new.files["key.json"])["items"]
    assert Counter(item["systems"][0] for item in key.values()) == dict.fromkeys(ROWS, 12)
    for rows in sheets(new).values():
        for row in rows:
            system = key[row["item"]]["systems"][0]
            said = row["dialogue A"].splitlines()[-1].removeprefix("Speaker A: ")
            assert said.startswith("is hard") is (system == ROWS[0])


def test_what_is_known_of_the_person_stands_with_the_second_question_alone(results: Path) -> None:
    found = sheets(api.new_study([results], "pairwise"))
    better, like = found["for-raters/sheet-1-better.csv"], found["for-raters/sheet-2-like.csv"]
    assert "person" not in better[0]
    assert "like" not in better[0]
    assert "better" not in like[0]
    assert all("i live by the harbour." in row["person"] for row in like)
    assert sorted(row["item"] for row in better) == sorted(row["item"] for row in like)


def test_who_has_no_facts_is_shown_by_replies_in_other_dialogues(tmp_path: Path) -> None:
    new = api.new_study([write_results(tmp_path / "r", facts=False)], "cmaml")
    for row in sheets(new)["for-raters/sheet.csv"]:
        number = 1 if "1 years on" in row["dialogue"] else 2
        assert f"for the {3 - number}. year now." in row["person"]
        assert f"for the {number}. year now." not in row["person"]


def test_where_nothing_is_known_of_anybody_the_protocol_is_refused(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "r", facts=False, dialogues=1)
    for protocol in ("cmaml", "pairwise"):
        with pytest.raises(DataError, match="unknown_person.*--queries 2"):
            api.new_study([folder], protocol)
    assert api.new_study([folder], "plato").items == 6


def test_contexts_are_drawn_and_each_keeps_all_its_systems(results: Path) -> None:
    new = api.new_study([results], "cmaml", items=3)
    key = json.loads(new.files["key.json"])["items"]
    assert (new.contexts, new.items) == (3, 6)
    assert Counter(item["context"] for item in key.values()) == dict.fromkeys({i["context"] for i in key.values()}, 2)


def test_rows_are_chosen_by_label_or_kind(results: Path) -> None:
    assert api.new_study([results], "cmaml", rows=["adapted"]).systems == (ROWS[1],)
    assert api.new_study([results], "cmaml", rows=[ROWS[1], ROWS[0]]).systems == (ROWS[1], ROWS[0])
    with pytest.raises(ConfigError, match="unknown_row.*there are un-adapted; adapted, K=2"):
        api.new_study([results], "cmaml", rows=["adopted"])


def test_real_replies_are_one_more_system(results: Path) -> None:
    new = api.new_study([results], "plato", references=True)
    assert replies.REFERENCE in new.systems
    assert new.items == 18


def test_results_that_share_no_item_are_told_with_what_each_has(tmp_path: Path) -> None:
    folders = [write_results(tmp_path / "a"), write_results(tmp_path / "b", facts=True)]
    path = folders[1] / "predictions.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace('"dialogue-', '"other-'), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        api.new_study(folders, "cmaml")
    assert [problem.code for problem in caught.value.problems] == ["no_shared_items"] * 4
    assert "a: un-adapted: 6 replies to 3 personas" in str(caught.value)


def test_contexts_that_one_system_lacks_are_left_out_and_counted(tmp_path: Path) -> None:
    folders = [write_results(tmp_path / "a", people=3), write_results(tmp_path / "b", people=2)]
    new = api.new_study(folders, "cmaml")
    assert (new.contexts, new.left_out) == (4, 2)
    assert "2 contexts left out" in new.said


def test_pairs_of_the_same_replies_are_not_asked_and_counted(tmp_path: Path) -> None:
    folder = write_results(
        tmp_path / "r", reply=lambda row, person, number: "the same" if person == 0 else reply_of(row, person, number)
    )
    new = api.new_study([folder], "pairwise")
    assert (new.items, new.same) == (4, 2)
    with pytest.raises(DataError, match="nothing_to_ask"):
        api.new_study([write_results(tmp_path / "s", reply=lambda *_: "same")], "pairwise")


@pytest.mark.parametrize("reply", ["=1+1", "+cmd", "-a", "@b", "\t=x"])
def test_no_reply_becomes_a_formula_of_a_spreadsheet(tmp_path: Path, reply: str) -> None:
    new = api.new_study([write_results(tmp_path / "r", facts=False, reply=lambda *_: reply)], "cmaml")
    for row in sheets(new)["for-raters/sheet.csv"]:
        assert not any(cell.startswith(("=", "+", "-", "@", "\t")) for cell in row.values())
    path = tmp_path / "r" / "predictions.jsonl"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"facts": []', f'"facts": [{json.dumps(reply)}]'), encoding="utf-8")
    for row in sheets(api.new_study([tmp_path / "r"], "cmaml"))["for-raters/sheet.csv"]:
        assert row["person"] == f"'{reply}"


def test_half_of_a_surrogate_pair_in_a_reply_stops_no_study(tmp_path: Path) -> None:
    new = api.new_study([write_results(tmp_path / "r", reply=lambda *_: "a\ud800b")], "cmaml", with_potato=True)
    assert new.save(tmp_path / "study")


def test_one_system_cannot_be_compared(results: Path) -> None:
    with pytest.raises(ConfigError, match="two or more are compared"):
        api.new_study([results], "pairwise", rows=["adapted"])


def test_results_of_an_earlier_version_are_told(results: Path) -> None:
    without_context(results)
    with pytest.raises(DataError, match="the replies have no contexts.*evaluate it again"):
        api.new_study([results], "cmaml")


def test_two_folders_of_one_name_are_refused(tmp_path: Path) -> None:
    folders = [write_results(tmp_path / place / "maml") for place in "ab"]
    with pytest.raises(ConfigError, match="two folders are called maml"):
        api.new_study(folders, "cmaml")


def test_another_study_is_never_written_over_and_the_same_one_may_be(results: Path, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    api.new_study([results], "cmaml").save(folder)
    api.new_study([results], "cmaml").save(folder)
    before = (folder / "key.json").read_bytes()
    with pytest.raises(ConfigError, match="exists.*another study"):
        api.new_study([results], "cmaml", seed=5).save(folder)
    assert (folder / "key.json").read_bytes() == before


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_key_that_was_written_is_the_same_when_read(results: Path, tmp_path: Path, protocol: str) -> None:
    ties = protocol == "pairwise"
    asked = protocols.named(protocol, ties=ties)
    made = study.make(replies.read([results]), asked, ties=ties, seed=3)
    path = tmp_path / "key.json"
    path.write_text(json.dumps(made.key.content()), encoding="utf-8")
    assert study.read_key(path) == made.key


@pytest.mark.parametrize("content", ["[]", "{}", '{"format": "other"}', '{"format": "menura-annotation-key"}'])
def test_what_is_no_key_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "key.json").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match="not a key of a study"):
        study.read_key(tmp_path / "key.json")


def test_a_key_of_a_later_version_is_told(results: Path, tmp_path: Path) -> None:
    content = json.loads(api.new_study([results], "cmaml").files["key.json"]) | {"version": 99}
    (tmp_path / "key.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DataError, match="newer_version"):
        study.read_key(tmp_path / "key.json")


def test_ties_are_an_answer_of_pairs_alone() -> None:
    assert protocols.named("pairwise").questions[0].values == ("A", "B")
    assert protocols.named("pairwise", ties=True).questions[1].values == ("A", "B", "tie")
    with pytest.raises(ConfigError, match="nothing is compared by cmaml"):
        protocols.named("cmaml", ties=True)


def test_an_unknown_protocol_is_told_with_all_there_are() -> None:
    with pytest.raises(ConfigError, match="unknown_protocol.*--protocol cmaml, --protocol plato, --protocol pairwise"):
        protocols.named("likert")


def test_the_guide_has_every_question_with_its_answers_and_tells_parts_apart(results: Path) -> None:
    guide = api.new_study([results], "pairwise", ties=True).files["for-raters/guide.txt"]
    for number, question in enumerate(protocols.named("pairwise", ties=True).questions, start=1):
        assert f"\nPart {number}. Finish it before you open the next.\n\n{question.name}: {question.text}\n" in guide
    assert guide.count("  tie  No difference\n") == 2
    assert "\nPart " not in api.new_study([results], "plato").files["for-raters/guide.txt"]
