"""What hints say to type becomes lines, each typed after the line whose error gave the hint."""

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import pytest
import typer
from counts import count
from typer.core import TyperOption

from menura.cli.globals import taken_from
from menura.cli.main import app, run
from menura.errors import MenuraError

TOLD = re.compile(r"^\s*(?:error|warn)\[(\w+)\]: (.*?)(?: \(hint: (.*)\))?$", re.MULTILINE)
COMMAND = re.compile(r"\bmenura (?!\[)((?:(?! (?:shows|lists|makes|or|and) |, )[^;()])*)")
OF_OTHERS = re.compile(r"\b(?:pip install|llama-gguf-split)\b[^;()]*|\bpython -c .*")  # commands of other programs
PLACEHOLDER = re.compile(r"(?<![A-Za-z])[A-Z]{2,}(?![a-z])|…")
OPTION = re.compile(r"(?<![\w-])(--[a-z][\w-]*|-k)(?![\w-])")
VALUE = re.compile(r"""=?(?!instead\b)((?:"[^"]*"|'[^']*'|[^\s,;()"'?]|,(?=\S))+)""")
LEFT_OUT = re.compile(r"(?:leave|without) $")
MEANT = re.compile(r"did you mean ([^?]+)\?")
NEVER_MEANT = {"usage", "unknown_setting", "renamed", "internal"}
GLOBAL = {"-c": True, "--config": True, "--set": True, "--seed": True, "--device": True}
GLOBAL |= {"--dry-run": False, "-n": False, "--json": False, "--offline": False, "--debug": False}
# What takes long or a network: asked what it would do, or kept from the network, or only its words are checked.
QUICK = count(full_count=0, quick_count=1)
PLANNED = {"train", "eval", "adapt", "data add", "data convert", "data split", "base prepare"}
OFFLINE = {"base pull", "base prepare", "base check"}
CHECKED = {"demo", "chat"}


@dataclass(frozen=True)
class Command:
    """A verb, and its options: by each of their names all of their names and whether a value follows."""

    verb: str
    options: dict[str, tuple[frozenset[str], bool]]

    @classmethod
    def of(cls, words: Sequence[str]) -> "Command | None":
        """Return the command of a line; None if there is none."""
        found, verb = typer.main.get_command(app), []
        try:
            rest = taken_from(words)[1]
        except MenuraError:  # of the flags of all verbs
            rest = [word for word in words if not word.startswith("-")]
        for word in rest:
            if not hasattr(found, "commands"):
                break
            if word not in found.commands:
                return None
            found = found.commands[word]
            verb.append(word)
        options = {name: (frozenset((name,)), takes) for name, takes in GLOBAL.items()}
        for option in found.params:
            if isinstance(option, TyperOption):
                names = frozenset((*option.opts, *option.secondary_opts))
                options |= dict.fromkeys(names, (names, not option.is_flag))
        return cls(" ".join(verb), options)


@dataclass(frozen=True)
class Option:
    """An option that a hint names: its value, None where it has none, and whether it is to be left out."""

    name: str
    value: str | None = None
    left_out: bool = False


@dataclass(frozen=True)
class Typed:
    """What a hint says to type: whole commands; options that go together, in alternatives; a word for another."""

    commands: tuple[str, ...]
    alternatives: tuple[tuple[Option, ...], ...]
    meant: str = ""

    @property
    def count(self) -> int:
        """How many lines that makes."""
        return len(self.commands) + len(self.alternatives) + bool(self.meant)


def typed(hint: str, takes_value: Callable[[str], bool]) -> Typed:
    """Find in a hint what can be typed."""
    hint = OF_OTHERS.sub("", hint)
    commands = tuple(found.strip().rstrip(",.") for found in COMMAND.findall(hint))
    rest = COMMAND.sub(";", hint)
    groups: list[list[Option]] = []
    end = 0
    for found in OPTION.finditer(rest):
        if found.start() < end:
            continue  # inside the value before it
        between = rest[end : found.start()]
        name, value = found[1], None
        left_out = bool(LEFT_OUT.search(between))
        end_before, end = end, found.end()
        if not left_out and takes_value(name):
            told = VALUE.match(rest, end + (rest[end : end + 1] == " "))
            if told:
                value, end = told[1], told.end()
        if not groups or between.strip() or not end_before:
            groups.append([])
        groups[-1].append(Option(name, value, left_out))
    meant = MEANT.search(rest) if not groups else None
    return Typed(commands, tuple(map(tuple, groups)), meant[1] if meant else "")


def with_options(words: Sequence[str], options: Sequence[Option], command: Command) -> list[str]:
    """Return a line with options added, or left out, in place of the same ones."""
    line = list(words)
    for option in options:
        names, takes = command.options[option.name]
        path = option.value.partition("=")[0] + "=" if option.name == "--set" and option.value else ""
        line = list(_without(line, names, takes=takes, path=path))
        if not option.left_out:
            line += [option.name, *(shlex.split(option.value) or [""] if option.value is not None else [])]
    return line


def _without(line: Sequence[str], names: frozenset[str], *, takes: bool, path: str) -> Iterator[str]:
    after = False
    for word, following in pairwise((*line, "")):
        if after:
            after = False
        elif word in names and (not path or following.startswith(path) or "=" not in following):
            after = takes
        elif word.partition("=")[0] not in names or "=" not in word:
            yield word


def with_meant(words: Sequence[str], message: str, meant: str) -> list[str] | None:
    """Return a line with the word that is meant in place of what the message shows; None if it is not in the line."""
    for wrong in (*re.findall("'([^']+)'", message), message.partition(": ")[0]):
        line = [_for(word, wrong, meant) for word in words]
        if line != list(words):
            return line
    return None


def _for(word: str, wrong: str, meant: str) -> str:
    if word.startswith(f"{wrong}="):  # the last part of a setting's path
        return ".".join([*wrong.split(".")[:-1], meant]) + word.removeprefix(wrong)
    return meant if word == wrong else word.replace(f"={wrong}", f"={meant}")


class Walk:
    """Types what hints say, and counts the lines."""

    def __init__(self, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.walked = 0
        self._patch, self._capsys = patch, capsys

    def after(self, words: Sequence[str], told: str) -> None:
        """Type what each hint says after the line that gave it; AssertionError for a hint that does not work."""
        for code, message, hint in TOLD.findall(told):
            command = Command.of(words)
            parts = typed(hint, lambda name, own=command: not own or own.options.get(name, ((), True))[1])
            self.walked += parts.count
            for line in parts.commands:
                self._command(line, hint)
            for options in parts.alternatives[: count(full_count=20, quick_count=2)]:
                self._options(words, options, command, (code, message, hint))
            line = with_meant(words, message, parts.meant) if parts.meant else None
            if line:
                self._types(line, (code, message, hint))

    def _options(
        self, words: Sequence[str], options: Sequence[Option], command: Command | None, told: tuple[str, str, str]
    ) -> None:
        hint = told[2]
        assert command, f"{hint}: options of no command"
        for option in options:
            assert option.name in command.options, f"menura {command.verb} has no {option.name}: {hint}"
        takes = [option for option in options if command.options[option.name][1] and not option.left_out]
        if any(option.value is None or PLACEHOLDER.search(option.value) for option in takes):
            return
        self._types(with_options(words, options, command), told)

    def _types(self, words: list[str], told: tuple[str, str, str]) -> None:
        code, answer = self._run(words)
        found = [(its_code, message) for its_code, message, _ in TOLD.findall(answer)]
        line = f"{told[2]}\nas: menura {shlex.join(words)}\n{answer}"
        assert not NEVER_MEANT & {its_code for its_code, _ in found}, line
        assert told[:2] not in found, line
        assert code == 0 or found, line

    def _command(self, line: str, hint: str) -> None:
        assert "menura …" not in hint, hint
        words = shlex.split(line)
        command = Command.of(words)
        assert command or words == ["--help"], f"no command {line!r}: {hint}"
        flags = [word.partition("=")[0] for word in words if word.startswith("-")]
        assert words == ["--help"] or set(flags) <= set(command.options), f"{command} has not all of {flags}: {hint}"
        if PLACEHOLDER.search(line):
            return
        verb = command.verb if command else ""
        if verb in CHECKED:
            with typer.main.get_command(app).make_context("menura", taken_from(words)[1]) as context:
                assert context, hint
            return
        code, told = self._run([*words, *["--dry-run"] * (verb in PLANNED), *["--offline"] * (verb in OFFLINE)])
        assert code != 2, f"{hint}\n{told}"
        assert "This is a bug" not in told, told

    def _run(self, words: list[str]) -> tuple[int, str]:
        # The packaged corpus, read where none is named, takes seconds.
        named = any(word.startswith("data.corpus=") for word in words)
        reads_much = words[:1] == ["train"] and not named or words[:1] == ["reproduce"] and bool(QUICK)
        self._capsys.readouterr()
        with self._patch.context() as patch:
            if QUICK:
                stop_before_the_work(patch)
            code = run([*words, *["--dry-run"] * reads_much])
        return code, "".join(self._capsys.readouterr())


def stop_before_the_work(patch: pytest.MonkeyPatch) -> None:
    """Let training, adapting and evaluating end where all that can be refused was refused."""

    def stop(*_: object, **__: object) -> None:
        raise typer.Exit(0)

    for place in (
        "menura.training.trainer.Training.go",
        "menura.training.train_scorer.ScorerTraining.go",
        "menura.evaluation.evaluate.Evaluation.results",
        "menura.api.make_persona.control_for",
    ):
        patch.setattr(place, stop)
