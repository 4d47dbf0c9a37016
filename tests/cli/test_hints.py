"""Every hint works: what it says to type, typed after the line that printed it, is understood and goes further.

The tables of bad input (``bad_inputs.py``, ``bad_exchange.py``, ``bad_chats.py``) are walked by their own tests. Here
stand bases, warnings, and all strings of the source by their shape.
"""

import ast
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from hints import COMMAND, OF_OTHERS, OPTION, Command, Option, Walk, typed, with_meant, with_options
from made_up_chat import settings, write
from made_up_files import file, whatsapp
from safetensors.torch import load_file, save_file

import menura
from menura import api, registry
from menura.cli.hints import as_typed
from menura.cli.main import app, run
from menura.errors import Problem
from menura.scorers.catalogue import SCORERS
from menura.training.overrides import paths_of
from menura.training.recipes import RECIPES, recipe

Captured = pytest.CaptureFixture[str]
SOURCE = Path(menura.__file__).parent
TRAIN = ["train", "tiny/maml", *settings(Path("chat.jsonl"), "outer.steps=2", "model.base=./mybase")]
OTHERS = {"--quiet", "--no-deps", "--dest", "--nproc-per-node", "--nnodes"}  # flags of pip and of torchrun
ADAPT = ["adapt", "noa", "chat.jsonl", "--speaker", "person-01", "--base", "./mybase"]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with a corpus, and a workspace that has the tiny base."""
    folder = tmp_path_factory.mktemp("good")
    write(folder / "chat.jsonl", people=6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MENURA_HOME", str(folder / "home"))
        assert run(["base", "pull", "tiny"]) == 0
    return folder


@pytest.fixture
def here(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a copy of it, in which ``mybase`` is a base like the tiny one."""
    folder = tmp_path / "here"
    shutil.copytree(good, folder)
    shutil.copytree(folder / "home" / "bases" / "tiny", folder / "mybase")
    (folder / "mybase" / "base.json").unlink()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MENURA_HOME", "home")
    return folder


def changed_config(**values: Any) -> Callable[[], None]:
    """Return the act of changing what a base says of itself."""

    def give() -> None:
        path = Path("mybase/config.json")
        path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")

    return give


def half_weights() -> None:
    """Cut the weights of a base."""
    path = Path("mybase/model.safetensors")
    path.write_bytes(path.read_bytes()[:9000])


def fewer_weights() -> None:
    """Leave a tensor of a base out."""
    held = load_file("mybase/model.safetensors")
    held.pop(next(name for name in held if "mlp" in name))
    save_file(held, "mybase/model.safetensors", metadata={"format": "pt"})


def alone(*files: str) -> Callable[[], None]:
    """Return the act of putting other files in place of a base."""

    def give() -> None:
        shutil.rmtree("mybase")
        for name in files:
            file(f"mybase/{name}", b"GGUF" if name.endswith(".gguf") else b"{}")()

    return give


def a_file() -> None:
    """Put a file of weights in place of a base."""
    shutil.move("mybase/model.safetensors", "weights")
    shutil.rmtree("mybase")
    shutil.move("weights", "mybase")


BASES: dict[str, Callable[[], None]] = {
    "quantised": changed_config(quantization_config={"quant_method": "gptq"}),
    "own code": changed_config(model_type="mine", auto_map={"AutoConfig": "mine.Config"}),
    "unknown": changed_config(model_type="llamma"),
    "masked": changed_config(model_type="bert", architectures=["BertForMaskedLM"]),
    "encoder-decoder": changed_config(model_type="t5", is_encoder_decoder=True),
    "adapter": file("mybase/adapter_config.json", '{"peft_type": "LORA"}'),
    "half": half_weights,
    "fewer": fewer_weights,
    "ggufs": alone("a b.gguf", "c.gguf"),
    "one gguf": alone("a.gguf"),
    "parts of a gguf": alone("a-00001-of-00002.gguf", "a-00002-of-00002.gguf"),
    "nothing": alone(),
    "pickles": alone("config.json", "pytorch_model.bin"),
    "a file": a_file,
}


@pytest.mark.parametrize("case", BASES)
def test_the_hint_of_a_base_that_is_refused_works(
    case: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    BASES[case]()
    walk = Walk(monkeypatch, capsys)
    for words in (ADAPT, TRAIN, ["base", "check", "./mybase"], ["base", "pull", "./mybase"]):
        capsys.readouterr()
        code = run(words)
        told = "".join(capsys.readouterr())
        assert ("(hint: " in told) == (code != 0), told
        assert code or "pull" in words, told  # which reads no weights
        walk.after(words, told)


# What is typed beside a good chat or base, and the code of the error or the warning that has a hint.
LINES = {
    "a start that a base has not": ([*TRAIN, "--set", "model.init_from=shipped"], "config"),
    "a base that is not prepared": ([*TRAIN, "--set", "model.init_from=prepared"], "config"),
    "layers for lora only": ([*ADAPT, "--set", "model.adapters.init=near-zero"], "config"),
    "no map of that name": ([*ADAPT, "--set", "model.adapters.target_modules=nope"], "config"),
    "self-play": ([*ADAPT, "--method", "self-play"], "method_misfit"),
    "latent-policy": ([*ADAPT, "--method", "latent-policy"], "method_misfit"),
    "settings of a model": (
        ["model", "show", "causal_lm", "--set", "adapters.init=near-zero", "--set", "adapters.kind=lora"],
        "config",
    ),
    "groups": (["model", "show", "attention_routing", "--set", "groups=5"], "config"),
    "a base of sizes alone": (["base", "show", "gpt2-config"], "unknown_base"),
    "no number type": ([*ADAPT, "--dtype", "int4"], "config"),
    "a flag of before": (["eval", "runs/gone", "--side", "valid"], "renamed"),
    "private words": (["data", "check", "private.txt"], "email_addresses"),
    "names alike": (["data", "check", "alike.txt"], "alike"),
    "rates of no search": (["train", "tiny/maml", "--from", "1e-5"], "usage"),
}


@pytest.mark.parametrize("case", LINES)
def test_the_hint_of_a_line_works(case: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    file("private.txt", whatsapp(said=("write to ines@example.org", "i will", "good", "yes")))()
    file("alike.txt", whatsapp(("Ines", "Tomo", "ines")))()
    words, code = LINES[case]
    capsys.readouterr()
    run(words)
    told = "".join(capsys.readouterr())
    assert f"[{code}]: " in told, told
    walk = Walk(monkeypatch, capsys)
    walk.after(words, told)
    assert walk.walked, told


@pytest.mark.parametrize(
    "hint",
    [
        "--nope 3",
        "--set outer.steps=3",
        "use --encoding klingon",
        "menura data chekc FILE",
        "menura data check FILE --nope",
        "menura base show nothing --nope",
    ],
)
def test_a_hint_that_does_not_work_fails(
    hint: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    words = ["data", "check", "chat.jsonl"] if "outer" not in hint else ADAPT
    told = f"error[config]: --encoding 'klingon' is not known (hint: {hint})"
    with pytest.raises(AssertionError):
        Walk(monkeypatch, capsys).after(words, told)


@pytest.mark.parametrize(
    ("hint", "commands", "alternatives"),
    [
        ("menura base list", ("base list",), ()),
        ("menura data add moji FILE …, or --set data.corpus=FILE", ("data add moji FILE …",), (("--set",),)),
        ("menura data check shows how; --format NAME says it", ("data check",), (("--format",),)),
        ("--set model.init=random --set model.base=tiny", (), (("--set", "--set"),)),
        ("type one of --speaker 'A B' (2 replies), --speaker C", (), (("--speaker",), ("--speaker",))),
        ("leave --epochs out, or --split test", (), (("--epochs",), ("--split",))),
        ("pip install --upgrade transformers", (), ()),
        ("save as UTF-8", (), ()),
    ],
)
def test_what_can_be_typed_is_found(hint: str, commands: tuple[str, ...], alternatives: tuple[Any, ...]) -> None:
    found = typed(hint, lambda name: True)
    assert found.commands == commands
    assert tuple(tuple(option.name for option in group) for group in found.alternatives) == alternatives


def test_an_option_of_a_hint_takes_the_place_of_the_same_one() -> None:
    words = ["adapt", "noa", "chat.txt", "-k", "9", "--set", "inner.lr=1", "--set", "model.base=x", "--base=y"]
    command = Command.of(words)
    assert command
    changed = [Option("--shots", "3"), Option("--set", "inner.lr=2"), Option("--base", "'a b'")]
    line = ["adapt", "noa", "chat.txt", "--set", "model.base=x", "--shots", "3", "--set", "inner.lr=2"]
    assert with_options(words, changed, command) == [*line, "--base", "a b"]
    assert with_options(words[:5], [Option("-k", left_out=True)], command) == words[:3]
    assert with_meant(["train", "--set", "outer.stepz=3"], "unknown setting 'outer.stepz'", "steps") == [
        *("train", "--set", "outer.steps=3")
    ]


@pytest.mark.parametrize(
    ("words", "hint", "now"),
    [
        ("adapt noa x", "--set method=maml", "--method maml"),
        ("adapt noa x", "--set method.rewards=knowledge", "--set rewards=knowledge"),
        ("adapt noa x", "--base 'a b'", "--base 'a b'"),
        ("train tiny/maml", "--base x", "--set model.base=x"),
        ("base check x", "--base 'a b', or a folder", "menura base check 'a b', or a folder"),
        ("model show seq2seq", "--set model.hidden_size=3", "--set hidden_size=3"),
        ("model show tiny/maml", "--set model.hidden_size=3", "--set model.hidden_size=3"),
        (
            "base prepare x",
            "use another --out, --fresh to start anew, or --allow-config-change",
            "--fresh to start anew",
        ),
        ("", "--base x", "--base x"),
    ],
)
def test_a_hint_names_what_the_command_has(words: str, hint: str, now: str) -> None:
    problem = Problem("config", "wrong", hint=hint)
    assert as_typed(problem, words.split()) == replace(problem, hint=now)


def strings_of(tree: ast.AST) -> Iterator[str]:
    """Yield the strings of a module but its docstrings, NAME where a value is put in."""
    if isinstance(tree, ast.JoinedStr):
        yield "".join(part.value if isinstance(part, ast.Constant) else "NAME" for part in tree.values)  # type: ignore[misc]  # of text
    elif isinstance(tree, ast.Constant) and isinstance(tree.value, str):
        yield tree.value
    elif not isinstance(tree, ast.Expr) or not isinstance(tree.value, ast.Constant):
        for child in ast.iter_child_nodes(tree):
            yield from strings_of(child)


def commands_of(group: Any, before: str = "") -> Iterator[str]:
    """Yield every command by its words."""
    for name, found in group.commands.items():
        yield f"{before}{name}"
        if hasattr(found, "commands"):
            yield from commands_of(found, f"{before}{name} ")


def all_settings() -> set[str]:
    """Return the paths of all settings of runs, models, methods, scorers, and of a persona's method."""
    found = {path for name in RECIPES for path, _ in paths_of(recipe(name))}
    for model in registry.models():
        found |= {f"model.{path}" for path, _ in paths_of(model.entry.settings())}
    for name in registry.method_names():
        own = {path for path, _ in paths_of(registry.method(name)())}
        found |= own | {f"method.{path}" for path in own}
    return found.union(*({path for path, _ in paths_of(spec.config())} for spec in SCORERS.values()))


def test_all_flags_settings_and_commands_that_are_said_anywhere_are_there() -> None:
    verbs = set(commands_of(typer.main.get_command(app)))
    commands = [found for verb in verbs if (found := Command.of(verb.split()))]
    flags = {flag for command in commands for flag in command.options} | {"--help", "--version", *api.FLAGS, *OTHERS}
    paths = all_settings() | {"path"}
    wrong = []
    for path in sorted(SOURCE.rglob("*.py")):
        for said in strings_of(ast.parse(path.read_text(encoding="utf-8"))):
            text = OF_OTHERS.sub("", said)
            named = [line.split()[0] for line in COMMAND.findall(text) if line.split()]
            wrong += [
                (path.name, said, verb) for verb in named if verb[0].isalpha() and verb.islower() and verb not in verbs
            ]
            wrong += [(path.name, said, flag) for flag in OPTION.findall(text) if flag not in flags]
            for setting in re.findall(r"--set ([a-zA-Z_.]+)=", text):
                known = setting.partition("NAME")[0]
                if setting not in paths and not (known != setting and any(one.startswith(known) for one in paths)):
                    wrong.append((path.name, said, setting))
    assert not wrong, "\n".join(map(str, wrong))
