"""The pages are honest: commands print what is shown, links lead somewhere, names of earlier versions are gone."""

import ast
import contextlib
import doctest
import io
import os
import re
import shlex
import shutil
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from made_up_chat import settings, write

from menura import registry
from menura.artefacts.earlier_names import FLAGS, SETTINGS
from menura.cli.globals import taken_from
from menura.cli.main import app, run
from menura.training.recipes import RECIPES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GENERATED = (DOCS / "reference", DOCS / "results" / "tables")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"] + sorted(
    page for page in DOCS.rglob("*.md") if not any(folder in page.parents for folder in GENERATED)
)
# These tell of earlier versions.
HISTORY = [ROOT / "CHANGELOG.md", DOCS / "guide" / "upgrading.md", *(DOCS / "decisions").glob("*.md")]
MARKED = re.compile(r"<!-- (?:excerpt of a run|not run here): \S.* -->")
EARLIER = "<!-- excerpt of a run: of an earlier version"


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language, the line above it, its lines."""

    page: Path
    language: str
    above: str
    lines: tuple[str, ...]


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page in order."""
    lines = page.read_text(encoding="utf-8").splitlines()
    begun: int | None = None
    for number, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if begun is None:
            begun = number
        else:
            above = lines[begun - 1] if begun else ""
            yield Block(page, lines[begun][3:].strip(), above, tuple(lines[begun + 1 : number]))
            begun = None
    assert begun is None, f"{page}: a block is not closed"


def of_language(*languages: str) -> list[Block]:
    """Return the blocks of all pages that are in one of some languages."""
    return [block for page in PAGES for block in blocks(page) if block.language in languages]


def name(page: Path) -> str:
    """Return a page's path within the project."""
    return str(page.relative_to(ROOT))


TO_RUN = [block for block in of_language("console") if not MARKED.fullmatch(block.above)]


# Commands and Python


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give a folder that holds what the pages take for granted: the example, and the persona of the first page."""
    folder = tmp_path_factory.mktemp("docs")
    shutil.copytree(DOCS / "example", folder / "docs" / "example")
    shutil.copytree(DOCS / "example", folder, dirs_exist_ok=True)
    before = Path.cwd()
    patch = pytest.MonkeyPatch()
    patch.setenv("MENURA_HOME", str(folder / "home"))
    os.chdir(folder)
    code, told = type_line("menura adapt mara bakery.txt --speaker Mara -k 5 --base tiny")
    assert code == 0, told
    shutil.copytree(folder / "home" / "personas", folder / "personas")
    yield folder
    os.chdir(before)
    patch.undo()


def type_line(line: str) -> tuple[int, str]:
    """Return the exit code of one command and all that it prints."""
    words = shlex.split(line, comments=True)
    assert words[0] == "menura", f"only menura can be run here: {line}"
    told = io.StringIO()
    patch = pytest.MonkeyPatch()
    patch.setattr("sys.stdin", io.StringIO(""))
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
        code = run(words[1:])
    patch.undo()
    return code, told.getvalue().replace(os.environ["MENURA_HOME"], "~/.menura")


def commands(block: Block) -> Iterator[tuple[str, list[str]]]:
    """Yield each command of a block with the lines shown below it."""
    line, shown = "", list[str]()
    for text in block.lines:
        if line.endswith("\\"):
            line = line[:-1] + text
        elif text.startswith("$ "):
            if line:
                yield line, shown
            line, shown = text[2:], []
        else:
            shown.append(text)
    yield line, shown


def plain(text: str) -> list[str]:
    """Return the lines of a text without what differs from machine to machine: numbers, hashes, widths of columns."""
    lines = (re.sub(r"[0-9a-f]{32,}|\d[\d.,]*", "0", line) for line in text.splitlines())
    return [" ".join(line.split()) for line in lines if line.strip()]


def within(shown: list[str], printed: list[str]) -> bool:
    """Tell whether printed lines are the shown ones, any number of lines for each line that is an ellipsis."""
    if not shown:
        return not printed
    if shown[0] == "…":
        return any(within(shown[1:], printed[skipped:]) for skipped in range(len(printed) + 1))
    return bool(printed) and shown[0] == printed[0] and within(shown[1:], printed[1:])


def as_for_a_new_reader(page: Path, world: Path) -> None:
    """Leave the persona of the first page alone in the workspace, or none where the page makes it itself."""
    home = world / "home"
    for folder in ("personas", "strangers"):
        shutil.rmtree(home / folder, ignore_errors=True)
    if not any("menura adapt mara" in "\n".join(block.lines) for block in TO_RUN if block.page == page):
        shutil.copytree(world / "personas", home / "personas")


@pytest.mark.parametrize("page", list(dict.fromkeys(block.page for block in TO_RUN)), ids=name)
def test_commands_print_what_the_page_shows(page: Path, world: Path) -> None:
    as_for_a_new_reader(page, world)
    for block in TO_RUN:
        for line, shown in commands(block) if block.page == page else ():
            code, told = type_line(line)
            refused = any(re.match(r"\s*error\[|\{\"event\": \"error\"", text) for text in shown)
            assert (code != 0) is refused, f"{line}: ended with {code}\n{told}"
            if shown:
                expected = plain("\n".join(shown))
                assert within(expected, plain(told)), f"{line} prints\n{told}\nthe page shows\n" + "\n".join(shown)


class AnyNumber(doctest.OutputChecker):
    """Numbers depend on the machine."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return plain(want) == plain(got)


@pytest.mark.parametrize("page", list(dict.fromkeys(block.page for block in of_language("pycon"))), ids=name)
def test_python_sessions_print_what_the_page_shows(page: Path, world: Path) -> None:
    text = "\n\n".join("\n".join(block.lines) for block in of_language("pycon") if block.page == page)
    runner = doctest.DocTestRunner(AnyNumber(), verbose=False)
    told: list[str] = []
    session = doctest.DocTestParser().get_doctest(text + "\n", {}, name(page), str(page), 0)
    runner.run(session, out=told.append)
    assert not runner.failures, "".join(told)


def test_python_blocks_are_python() -> None:
    for block in of_language("python"):
        ast.parse("\n".join(block.lines))


def test_a_console_block_is_run_or_says_why_not() -> None:
    """Those without a mark are run above, so all of their commands must be of menura."""
    for block in TO_RUN:
        for line, _ in commands(block):
            assert line.startswith("menura "), f"{name(block.page)}: cannot be run here, so mark it: {line}"


def lines_typed() -> Iterator[tuple[Path, str]]:
    """Yield the lines of menura on all pages that can be parsed: in console blocks, and set as code in the text."""
    for page in PAGES:
        if page not in HISTORY:
            for block in blocks(page):
                if block.language == "console":
                    yield from ((page, line) for line, _ in commands(block) if "menura " in line)
            yield from ((page, span) for span in re.findall(r"`(menura [^`]+)`", prose(page)))


def options_of(words: list[str]) -> set[str]:
    """Return the options of the command that words name."""
    command = typer.main.get_command(app)
    for word in words:
        command = getattr(command, "commands", {}).get(word, command)
    return {option for parameter in command.params for option in [*parameter.opts, *parameter.secondary_opts]}


def test_flags_and_settings_of_lines_that_are_not_run_exist(world: Path) -> None:
    """Of recipes that are named, the settings are looked up; what a line stands for (RUN, …) is not."""
    checked = 0
    for page, line in lines_typed():
        typed = line[line.index("menura ") :].replace("…", "").replace("\n", " ").partition(";")[0]
        given, rest = taken_from(shlex.split(typed, comments=True)[1:])
        flags = {word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
        assert flags <= options_of(rest) | {"--help", "--version"}, f"{name(page)}: {line}"
        if rest[:1] in (["train"], ["eval"]) and set(rest[1:2]) & set(RECIPES) and given.assignments:
            sets = [word for one in given.assignments if not one.endswith("=") for word in ("--set", one)]
            size = rest[rest.index("--size") : rest.index("--size") + 2] if "--size" in rest else []
            code, told = type_line(shlex.join(["menura", "config", "show", rest[1], *size, *sets]))
            # What is said of wrong settings, and models that are registered first, have tests of their own.
            refused = name(page) in ("docs/guide/command-line.md", "docs/guide/extending.md")
            assert refused or code == 0, f"{name(page)}: {line}\n{told}"
            checked += 1
    assert checked > 5


def test_the_model_and_the_method_of_the_page_about_extending_go_through_all_commands(world: Path) -> None:
    names: dict[str, object] = {}
    try:
        for block in blocks(DOCS / "guide" / "extending.md"):
            if block.language == "python":
                exec("\n".join(block.lines), names)
        write(Path("people.jsonl"), people=12)
        quick = " ".join(settings(Path("people.jsonl"), "outer.steps=2", "outer.eval_every=2", "model.max_length=200"))
        code, told = type_line(
            f"menura train tiny/finetune --set model=bigram --set method=bitfit {quick} --out runs/bigram"
        )
        assert code == 0, told
        few = "-k 2 --personas 2 --queries 1 --replies 1 --candidates 2 --max-new-tokens 4"
        for line in (
            f"menura eval runs/bigram {few}",
            "menura adapt ada people.jsonl --speaker person-02 -k 3 --base runs/bigram",
            "menura chat ada",
        ):
            code, told = type_line(line)
            assert code == 0, f"{line}: {told}"
        assert "bigram" in type_line("menura model list")[1]
    finally:
        for name_of_it in ("bigram", "bitfit"):
            registry.unregister(name_of_it)


# Links and tables


def slug(heading: str) -> str:
    """Return the anchor of a heading, as GitHub and MyST make it."""
    kept = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)]\([^)]*\)", r"\1", heading).strip().lower())
    return kept.replace(" ", "-")


def prose(page: Path) -> str:
    """Return a page's text without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Return what may follow the # of a link to a page."""
    text = prose(page)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {slug(heading) for heading in headings} | set(re.findall(r"^\((.*)\)=$", text, re.MULTILINE))


def leads_somewhere(page: Path, target: str, anchor: str) -> bool:
    """Tell whether a relative link of a page resolves."""
    if not target:
        return anchor in anchors(page)
    path = (page.parent / target).resolve()
    if path.parent == GENERATED[0]:  # made by each build
        package = ROOT / "src" / "menura" / path.stem
        return path.stem == "index" or package.exists() or package.with_suffix(".py").exists()
    return path.exists() and (not anchor or anchor in anchors(path))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_and_anchors_lead_somewhere(page: Path) -> None:
    links = re.findall(r"]\(([^)\s#]*)#?([^)\s]*)\)", prose(page))
    included = [(target, "") for target in re.findall(r"^```\{include} (\S+)", page.read_text(encoding="utf-8"), re.M)]
    local = [(target, anchor) for target, anchor in links + included if "://" not in target]
    assert not [link for link in local if not leads_somewhere(page, *link)]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_table_is_broken_by_a_blank_line(page: Path) -> None:
    broken = re.findall(r"^\|.*\|\n\n(\|.*\|)\n(?!\| ?:?-)", prose(page), re.MULTILINE)
    assert not broken, broken


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_page_names_a_registry_or_a_path_of_one_machine(page: Path) -> None:
    assert not re.findall(
        r"pypi\.org|pythonhosted|(?<![\w.~])/(?:work|tmp|home|root)/", page.read_text(encoding="utf-8")
    )


def test_modules_named_on_the_page_about_the_architecture_exist() -> None:
    named = set(re.findall(r"\b\w+\.py\b", (DOCS / "architecture.md").read_text(encoding="utf-8")))
    assert not named - {path.name for path in (ROOT / "src" / "menura").rglob("*.py")}


# Names of earlier versions

ANYWHERE = re.findall(
    r"\S+",
    """
    LeanReading LeanCache NetworkReading DropsOut LikeliestWord FindsLikeliest SpeaksWords ReadsFilled FilledBatch
    FilledPass PieceLexicon BleuReleased DistinctReleased F1Released PerplexityReleased LearnsFromRivals known_layers
    speaks_words borrowed_pieces structure_likeness run_structures begun_routing piece_lexicon as_released held_apart
    begin_to_scores begin_whole begin_with advance_to_scores advance_to_likeliest select_rows check_fills read_filled
    read_filled_above reading_of speaking_as verdicts_for with_rivals without_repeats voice_of artefacts.loaded
    """,
)
# Plain words, which are names only where they are set as code.
AS_CODE = re.findall(
    r"\S+",
    """
    parts experiments episodes lean sight dropping likeliest filled bank forest passes timed turned profiled walks
    structures lexicon spoken judge verdicts nested repeats rivals drift bits Reading Known Asked Sight Places Bank
    Speaking Tree Timed Turned InPlace Kept Recalled Retaken Walk Ground Descent Structure Loaded Voice Lexicon Judge
    Judged Verdicts Part Drift begin advance further begun speaking descend descending anchored judged voice
    voices
    """,
)
SCOPES = ("outer", "inner", "method", "model", "data", "learning")
KEYS = [f"{scope}.{old}" for scope in SCOPES for old in SETTINGS[scope]] + ["adapters.size"]
BARE = {old for scope in ("method", "model", "run") for old in SETTINGS[scope]}  # after --set, where no scope is typed


def names_in(python: str) -> Iterator[str]:
    """Yield the names of Python code, or of a session, that are not in comments and texts."""
    code = "\n".join(line[4:] for line in python.splitlines() if line.startswith((">>> ", "... "))) or python
    tokens = tokenize.generate_tokens(io.StringIO(code).readline)
    yield from (token.string for token in tokens if token.type == tokenize.NAME)


def earlier_names(page: Path) -> list[str]:
    """Return the names of earlier versions that a page holds."""
    fenced = [block for block in blocks(page) if not block.above.startswith(EARLIER)]
    text = "\n".join([prose(page), *(line for block in fenced for line in block.lines)])
    found = [one for one in (*ANYWHERE, *FLAGS) if re.search(rf"(?<![\w.-]){re.escape(one)}(?![\w-])", text)]
    # model.reply(…) is a call, no setting.
    found += [one for one in KEYS if re.search(rf"(?<![\w.-]){re.escape(one)}(?![\w(-])", text)]
    spans = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", prose(page))
    named = {part for span in spans for part in re.split(r"[./]|\(\)$", span)}
    python = (block for block in fenced if block.language in ("python", "pycon"))
    named |= {word for block in python for word in names_in("\n".join(block.lines))}
    typed = set(re.findall(r"--set (\w+)=", text))
    return found + sorted(named & set(AS_CODE)) + sorted(typed & BARE)


@pytest.mark.parametrize("page", [page for page in PAGES if page not in HISTORY], ids=name)
def test_names_of_earlier_versions_are_gone(page: Path) -> None:
    assert not earlier_names(page)


def test_every_renamed_flag_and_setting_is_on_the_page_about_upgrading() -> None:
    text = (DOCS / "guide" / "upgrading.md").read_text(encoding="utf-8")
    for old, new in [*FLAGS.items(), *(pair for table in SETTINGS.values() for pair in table.items())]:
        assert f"| `{old}` | `{new}`" in text, old
