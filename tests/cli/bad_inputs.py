"""The bad inputs of the contract: what is given, what is typed, what must be answered.

A row runs in a folder of its own that holds ``chat.jsonl`` (a good corpus), a finished run in ``runs/tiny-maml`` and a
workspace ``home`` with the tiny base and the persona ``mira``.
"""

import json
import pickle
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from made_up_archives import CPED, convai2, dailydialog, tarred, zipped
from made_up_chat import dialogue, settings
from safetensors.torch import load_file, save_file

from menura.artefacts.persona_artefact import ABOUT
from menura.artefacts.word_vocabulary import WordVocabulary
from menura.models.catalogue import build
from menura.models.recurrent.seq2seq import Seq2SeqConfig

TURNS = '"turns": [{"speaker": "a", "text": "x"}, {"speaker": "b", "text": "y"}]'
PERSONAS = Path("home/personas")
TRAIN = " ".join(["train tiny/maml --out runs/other", *settings(Path("chat.jsonl"), "outer.steps=2")])
AGAIN = " ".join(["train tiny/maml --out runs/tiny-maml", *settings(Path("chat.jsonl"), "outer.steps=2")])
ADAPT = "adapt noa {} --base tiny"
MIRA = "--speaker person-01"


def nothing() -> None:
    """Give nothing beside what is always there."""


@dataclass(frozen=True)
class Bad:
    """One bad input. ``says`` is a pattern found in the first line told, after the code."""

    case: str
    line: str
    exit: int
    code: str
    says: str
    give: Callable[[], None] = nothing


def file(name: str, content: str | bytes) -> Callable[[], None]:
    """Return the act of writing a file."""

    def give() -> None:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return give


def chat(content: str | bytes) -> Callable[[], None]:
    """Return the act of writing a file of dialogues."""
    return file("bad.jsonl", content)


def forged_persona() -> None:
    """Say of a persona that it was made for another base."""
    repacked(PERSONAS / "mira.persona", lambda about: about | {"base_sha256": "0" * 64})


def newer_persona() -> None:
    """Say of a persona that a later program wrote it."""
    repacked(PERSONAS / "mira.persona", lambda about: about | {"schema": 99})


def repacked(path: Path, change: Callable[[dict[str, object]], dict[str, object]]) -> None:
    """Change what a persona's file says of it."""
    with zipfile.ZipFile(path) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    held[ABOUT] = json.dumps(change(json.loads(held[ABOUT]))).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in held.items():
            archive.writestr(name, content)


def page_of_no_row() -> None:
    """Write a page with a figure of a row whose name is misspelt."""
    Path("page.md").write_text("# A page\n\n<!-- figure cmaml seq2spgg adapted ppl --><!-- end -->\n")


def truncated(name: str) -> Callable[[], None]:
    """Return the act of cutting a file in half."""

    def give() -> None:
        content = Path(name).read_bytes()
        Path(name).write_bytes(content[: len(content) // 2])

    return give


def truncated_start() -> None:
    """Give the first half of good start weights."""
    shutil.copy("runs/tiny-maml/best.safetensors", "start.safetensors")
    truncated("start.safetensors")()


def start_with_a_hole() -> None:
    """Give start weights with a value that is no number."""
    weights = load_file("runs/tiny-maml/best.safetensors")
    next(iter(weights.values())).view(-1)[0] = float("nan")
    save_file(weights, "start.safetensors")


def start_of_zeros() -> None:
    """Give start weights that no gradient leaves."""
    weights = load_file("runs/tiny-maml/best.safetensors")
    save_file({name: torch.zeros_like(value) for name, value in weights.items()}, "start.safetensors")


def pickled_start() -> None:
    """Give start weights as torch saves them."""
    torch.save({"weight": torch.zeros(2)}, "start.pt")


def base_of_pickles() -> None:
    """Give a base whose weights are a pickle only."""
    shutil.copytree("home/bases/tiny", "mybase")
    for name in ("base.json", "model.safetensors"):
        Path("mybase", name).unlink()
    torch.save({"weight": torch.zeros(2)}, "mybase/pytorch_model.bin")


def base_without(name: str) -> Callable[[], None]:
    """Return the act of giving a base with a file missing."""

    def give() -> None:
        shutil.copytree("home/bases/tiny", "mybase")
        for gone in ("base.json", name):
            Path("mybase", gone).unlink()

    return give


def base_of_other_words() -> None:
    """Give a base whose vocabulary has a word more than its network has rows."""
    shutil.copytree("home/bases/tiny", "mybase")
    Path("mybase/base.json").unlink()
    words = json.loads(Path("mybase/tokenizer.json").read_text(encoding="utf-8"))
    words["added_tokens"].append(words["added_tokens"][-1] | {"id": 259, "content": "<|more|>", "special": False})
    Path("mybase/tokenizer.json").write_text(json.dumps(words), encoding="utf-8")


def changed_base() -> None:
    """Change one byte of the base's weights."""
    path = Path("home/bases/tiny/model.safetensors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def damaged_checkpoints() -> None:
    """Cut a file of every checkpoint."""
    for path in Path("runs/tiny-maml/checkpoints").glob("step_*/model.safetensors"):
        truncated(str(path))()


def home_is_a_file() -> None:
    """Put a file where the personas should lie."""
    shutil.rmtree(PERSONAS)
    PERSONAS.write_text("no folder", encoding="utf-8")


GOOD_LINE = json.dumps(dialogue(0, 0))

DATA = (
    Bad("utf-16", "data check bad.jsonl", 3, "", "not UTF-8 text .looks like UTF-16", chat(GOOD_LINE.encode("utf-16"))),
    Bad("utf-16 learnt", ADAPT, 3, "encoding", "bad.jsonl: byte 0: not UTF-8", chat(GOOD_LINE.encode("utf-16"))),
    Bad(
        "latin-1",
        ADAPT,
        3,
        "encoding",
        r"bad.jsonl: byte \d+: not UTF-8 text .looks like Windows-1252.*save as UTF-8",
        chat(f"{{{TURNS.replace('x', 'café olé')}}}".encode("latin-1")),
    ),
    Bad("missing file", "adapt noa nowhere.jsonl --base tiny", 5, "missing", "nowhere.jsonl: No such file"),
    Bad(
        "mistyped file",
        "adapt noa Chta.jsonl --base tiny",
        5,
        "missing",
        r"Chta.jsonl: No such file or directory .hint: did you mean chat.jsonl\?",
    ),
    Bad("folder without a chat", "adapt noa home/bases --base tiny", 3, "unknown_format", "none of 3 files is a chat"),
    Bad("half a line", ADAPT, 3, "jsonl_syntax", r"bad.jsonl:2:\d+: ", chat(f"{GOOD_LINE}\n{GOOD_LINE[:40]}")),
    Bad("not a number", ADAPT, 3, "json_limit", "bad.jsonl:1: .*NaN", chat(f'{{"x": NaN, {TURNS}}}')),
    Bad("key twice", ADAPT, 3, "json_limit", "bad.jsonl:1: .*turns", chat(f"{{{TURNS}, {TURNS}}}")),
    Bad(
        "forty deep",
        ADAPT,
        3,
        "json_limit",
        r"bad.jsonl:1: .*(deep|depth)",
        chat(f'{{{TURNS}, "facts": {"[" * 40}{"]" * 40}}}'),
    ),
    Bad("missing text", ADAPT, 3, "schema", r"bad.jsonl:1: turns\[0\].text", chat('{"turns": [{"speaker": "a"}]}')),
    Bad("empty file", ADAPT, 3, "empty", "bad.jsonl: no dialogues found", chat("")),
    Bad("blank lines", ADAPT, 3, "empty", "bad.jsonl: no dialogues found", chat("\n\n  \n")),
    Bad("unknown format", "adapt noa chat.jsonl --format jsonnl", 2, "unknown_format", "did you mean jsonl"),
    Bad(
        "no format fits",
        ADAPT,
        3,
        "unknown_format",
        "not recognised: lines of text without names: line 1 'la la la', line 2 'lo lo' .hint: begin every turn with",
        chat("la la la\nlo lo"),
    ),
    Bad("pickle for dialogues", ADAPT, 4, "unsafe_format", "pickle", chat(pickle.dumps([GOOD_LINE]))),
    Bad(
        "unknown speaker",
        "adapt noa chat.jsonl --speaker nobody --base tiny",
        2,
        "unknown_speaker",
        "no replies of 'nobody' .hint: type one of --speaker person-00",
    ),
    Bad("no speaker", "adapt noa chat.jsonl --base tiny", 2, "unknown_speaker", "whose persona.*type one of --speaker"),
    Bad(
        "too few dialogues",
        f"adapt noa chat.jsonl {MIRA} -k 9 --base tiny",
        3,
        "too_few_dialogues",
        "'person-01' replies in 6 dialogues, too few for 9 shots .hint: use -k 6",
    ),
    Bad("no shots", f"adapt noa chat.jsonl {MIRA} -k 0 --base tiny", 2, "config", "-k 0: at least 1 dialogue"),
    Bad("shots no number", f"adapt noa chat.jsonl {MIRA} -k abc", 2, "usage", "-k.*valid integer.*hint: menura --help"),
    Bad(
        "convert to a lossy format",
        "data convert chat.jsonl --out o.txt --to chitchat",
        2,
        "unknown_format",
        "only read",
    ),
    Bad("shares no numbers", "data split chat.jsonl --out s.json --shares a,b", 2, "config", "--shares 'a,b': three"),
    Bad(
        "shares too large", "data split chat.jsonl --out s.json --shares 1,1,1", 2, "config", "sum to 3, must sum to 1"
    ),
)

ARTEFACTS = (
    Bad(
        "other base", "chat mira", 3, "base_mismatch", "made for base 000000000000, this is .*adapt it", forged_persona
    ),
    Bad("newer persona", "chat mira", 3, "data", r"mira.persona: written by a newer Menura .schema 99", newer_persona),
    Bad(
        "half a persona",
        "chat mira",
        3,
        "persona_damaged",
        "mira.persona: not a whole persona package",
        truncated("home/personas/mira.persona"),
    ),
    Bad(
        "text for a persona",
        "persona show mira",
        3,
        "persona_damaged",
        "mira.persona: not a whole persona package",
        file("home/personas/mira.persona", "hello"),
    ),
    Bad(
        "pickle for a persona",
        "chat mira",
        3,
        "persona_damaged",
        "mira.persona: not a whole persona package",
        file("home/personas/mira.persona", pickle.dumps([1])),
    ),
    Bad("bad name", f"adapt ../x chat.jsonl {MIRA}", 2, "bad_name", r"persona name '\.\./x': letters, digits"),
    Bad("bad name to delete", "persona rm ../../etc", 2, "bad_name", "persona name"),
    Bad("unknown persona", "chat mria", 2, "model_not_found", "unknown persona 'mria' .hint: did you mean mira"),
    Bad(
        "half a start",
        f"{TRAIN} --set model.init_from=start.safetensors",
        3,
        "delta_format",
        "start.safetensors: damaged: .*not fully covered",
        truncated_start,
    ),
    Bad(
        "a start with a hole",
        f"{TRAIN} --set model.init_from=start.safetensors",
        6,
        "not_finite",
        "1 value is not finite in ",
        start_with_a_hole,
    ),
    Bad(
        "pickle for a start",
        f"{TRAIN} --set model.init_from=start.pt",
        4,
        "unsafe_format",
        "start.pt: pickle files can run code",
        pickled_start,
    ),
    Bad("no start", f"{TRAIN} --set model.init_from=gone.safetensors", 5, "missing", "gone.safetensors: No such file"),
    Bad(
        "start of another size",
        f"{TRAIN} --set model.adapters.bottleneck=8 --set model.init_from=runs/tiny-maml",
        3,
        "base_mismatch",
        r"start best.safetensors: .* is \(4,\), wanted \(8,\)",
    ),
    Bad(
        "start of other adapters",
        f"{TRAIN} --set model.adapters.kind=ia3 --set model.init_from=runs/tiny-maml",
        3,
        "base_mismatch",
        r"start best.safetensors: \d+ tensors missing, \d+ unknown .missing .*\.scale, unknown .*\.(bias|weight)",
    ),
    Bad(
        "start of zeros",
        f"{TRAIN} --set model.init_from=start.safetensors",
        3,
        "data",
        "start.safetensors: adapters.2.attention: all weights of this Houlsby are zero, so only a bias",
        start_of_zeros,
    ),
    Bad("base of pickles", "base pull ./mybase", 4, "unsafe_format", "pickle.*convert it to", base_of_pickles),
    Bad(
        "base without words",
        f"adapt noa chat.jsonl {MIRA} --base ./mybase",
        3,
        "no_tokenizer",
        "mybase: no tokenizer: tokenizer.json is missing",
        base_without("tokenizer.json"),
    ),
    Bad(
        "base of other words",
        f"adapt noa chat.jsonl {MIRA} --base ./mybase",
        3,
        "tokens_beyond_rows",
        r"tokenizer.json: the network has rows for 259 tokens; none for <\|more\|> \(259\)",
        base_of_other_words,
    ),
    Bad("base changed", "eval runs/tiny-maml --k 1", 3, "damaged", "is not what was installed", changed_base),
    Bad("base misspelt", "base pull tinny", 2, "unknown_base", "unknown base 'tinny' .hint: did you mean tiny"),
    Bad("sizes only", "base pull gpt2-config", 2, "config", "has sizes only, no weights"),
    Bad(
        "base not here",
        "base show smollm2-135m",
        2,
        "unknown_base",
        "not on this machine .hint: menura base pull smollm2",
    ),
    Bad(
        "offline", "base pull smollm2-135m --offline", 5, "unreachable", "--offline forbids to fetch it .hint: run once"
    ),
    Bad("hub offline", "base pull some/model --offline", 5, "unreachable", "'some/model' .*--offline forbids"),
)

SETTINGS = (
    Bad("unknown verb", "trian", 2, "usage", "No such command 'trian'.*menura"),
    Bad("unknown flag", "train tiny/maml --stepps 3", 2, "usage", "No such option.*--stepps.*menura"),
    Bad("word missing", "train", 2, "usage", "Missing argument 'recipe'.*hint: menura --help"),
    Bad(
        "unknown setting",
        f"{TRAIN} --set outer.stepz=3",
        2,
        "unknown_setting",
        "outer.stepz' .hint: did you mean steps",
    ),
    Bad("no equals sign", f"{TRAIN} --set outer.steps", 2, "config", "--set 'outer.steps': no '=' .*hint: write --set"),
    Bad(
        "wrong type", f"{TRAIN} --set outer.steps=many", 2, "bad_setting", "outer.steps: 'many' is not valid: .*integer"
    ),
    Bad("truth for a number", f"{TRAIN} --set outer.steps=true", 2, "bad_setting", "outer.steps: 'True' is not valid"),
    Bad("half a value", f"{TRAIN} --set outer.steps=[1", 2, "yaml_syntax", r"--set 'outer.steps=\[1': not valid YAML"),
    Bad("no rate", f"{TRAIN} --set outer.lr=0", 2, "config", "outer.lr: 0.*must be > 0"),
    Bad("rate no number", f"{TRAIN} --set outer.lr=.nan", 2, "bad_setting", "outer.lr: 'nan' is not valid: .*finite"),
    Bad("inner rate no number", f"{TRAIN} --set method.inner.lr=.nan", 2, "bad_setting", "method.inner.lr: 'nan'"),
    Bad("backward clip", f"{TRAIN} --set outer.max_grad_norm=-1", 2, "config", "outer.max_grad_norm: -1.*must be > 0"),
    Bad(
        "no adapter",
        f"{TRAIN} --set model.adapters.bottleneck=0",
        2,
        "config",
        "adapters.bottleneck: 0, must be at least 1",
    ),
    Bad(
        "near-zero elsewhere",
        f"{TRAIN} --set model.adapters.kind=lora --set model.adapters.init=near-zero",
        2,
        "config",
        "adapters.init: near-zero is for houlsby, not for lora .hint: --set model.adapters.init=identity",
    ),
    Bad(
        "unknown adapter",
        f"{TRAIN} --set model.adapters.kind=ia4",
        2,
        "bad_setting",
        "adapters.kind: 'ia4' is not valid: .*'houlsby', 'lora', 'ia3' or 'prompt'",
    ),
    Bad(
        "vast adapter",
        f"{TRAIN} --set model.adapters.bottleneck=999999999999",
        6,
        "out_of_memory",
        "out of memory .hint: .*smaller",
    ),
    Bad(
        "turns below none", f"{TRAIN} --set data.max_turns=-1", 2, "config", "data.max_turns: -1, must not be negative"
    ),
    Bad("vast seed", f"{TRAIN} --seed 99999999999999999999", 2, "usage", "--seed: .*from 0 to"),
    Bad("seed no number", f"{TRAIN} --seed x", 2, "usage", "--seed: invalid .*'x'.*menura"),
    Bad(
        "unknown recipe",
        "train tiny/mamll",
        2,
        "unknown_recipe",
        "unknown recipe 'tiny/mamll' .hint: did you mean tiny/maml",
    ),
    Bad("unknown recipe or run", "eval runs/gone", 2, "unknown_recipe", "unknown recipe 'runs/gone'"),
    Bad(
        "unknown method",
        f"{TRAIN} --set method=mamml",
        2,
        "unknown_method",
        "unknown method 'mamml' .hint: did you mean maml",
    ),
    Bad("unknown model", "model show causal_ml", 2, "unknown_model", "unknown model 'causal_ml' .hint: did you mean"),
    Bad(
        "unknown metric", "eval runs/tiny-maml --metrics pppl", 2, "config", "unknown metric 'pppl' .hint: did you mean"
    ),
    Bad(
        "sweep no number", "eval runs/tiny-maml --k abc", 2, "config", "--k 'abc': numbers wanted .hint: --k 0,1,3,5,10"
    ),
    Bad("epochs of nothing", "eval runs/tiny-maml --epochs 0,1", 2, "config", "epochs .0, 1.: each must be at least 1"),
    Bad(
        "epochs no number", "eval runs/tiny-maml --epochs few", 2, "config", "--epochs 'few': numbers .*--epochs 1,2,4"
    ),
    Bad("no such protocol", "eval runs/tiny-maml --protocol loo", 2, "config", "--protocol 'loo': .*leave-one-out"),
    Bad("no such side", "eval runs/tiny-maml --split train", 2, "config", "--split 'train': test or valid wanted"),
    Bad("chosen by who judges", "eval runs/tiny-maml --split valid --epochs 1,2", 2, "config", "epochs .*held-back"),
    Bad("no draws", "eval runs/tiny-maml --draws 0", 2, "config", "draws: 0, must be at least 1"),
    Bad(
        "no such size",
        "train mamlviapp/in_place --size big",
        2,
        "unknown_size",
        "unknown size 'big' .*tiny, cpu, paper",
    ),
    Bad("size of what has none", "train tiny/maml --size cpu", 2, "unknown_size", "comes in one size only"),
    Bad("corpus not there yet", "train mamlviapp/in_place", 3, "no_corpus", "menura data add convai2 FILE"),
    Bad("corpus of no name", "data add a/b chat.jsonl", 2, "config", "corpus name 'a/b': letters, digits"),
    Bad(
        "no test split in the corpus",
        f"{TRAIN} --set data.test_id_prefixes=valid",
        *(3, "data", "none of the .* begins? with 'valid'"),
    ),
    Bad(
        "no such experiment",
        "reproduce cmal",
        2,
        "unknown_experiment",
        "no experiment .* 'cmal' .hint: did you mean cmaml",
    ),
    Bad(
        "no such row",
        "reproduce cmaml --row maml_seq2sp",
        2,
        "unknown_row",
        "no row of cmaml .*did you mean maml_seq2spg",
    ),
    Bad("no such size to reproduce", "reproduce cmaml --size big", 2, "unknown_size", "'big' .*tiny, cpu, paper"),
    Bad(
        "a page with a row that there is not",
        "report page.md",
        3,
        "unknown_row",
        "line 3, .* no row of cmaml is called 'seq2spgg'.*did you mean seq2spg",
        page_of_no_row,
    ),
    Bad("a page that is not there", "verify gone.md", 5, "missing", "gone.md: No such file"),
    Bad("pages beside folders", "report page.md runs/tiny-maml", 2, "usage", "pages and folders together"),
    Bad("report of no evaluation", "report runs/tiny-maml --out new", 3, "data", "no scores.json here"),
    Bad("sweep below none", "eval runs/tiny-maml --k -3", 2, "config", "shots .*none negative"),
    Bad("nothing to judge by", "eval runs/tiny-maml --queries 0", 2, "config", "queries: 0, must be at least 1"),
    Bad(
        "personas below none", "eval runs/tiny-maml --personas -1", 2, "usage", "--personas.*greater than or equal to 0"
    ),
    Bad("no workers", "eval runs/tiny-maml -j 0", 2, "usage", "'--jobs'.*greater than or equal to 1|x>=1"),
    Bad(
        "no such executor",
        "eval runs/tiny-maml --executor slurm",
        *(2, "config", "--executor 'slurm': local, ray, dask wanted .hint: --executor local"),
    ),
    Bad("workers for a scorer", "eval scorer/nli -j 2", 2, "usage", "--jobs 2: .*no personas .*leave --jobs out"),
    Bad("no share", "chat mira --top-p 0", 2, "config", "nucleus p: 0.*must be above 0"),
    Bad("no such device", "chat mira --device nowhere", 2, "config", "--device nowhere: .*--device cpu"),
    Bad("bad yaml", f"{TRAIN} -c c.yaml", 2, "yaml_syntax", "c.yaml: not valid YAML", file("c.yaml", "outer: [1")),
    Bad(
        "yaml in utf-16",
        f"{TRAIN} -c c.yaml",
        3,
        "encoding",
        "c.yaml: .*not UTF-8",
        file("c.yaml", "a: é".encode("utf-16")),
    ),
    Bad(
        "yaml list",
        f"{TRAIN} -c c.yaml",
        2,
        "config",
        "c.yaml: settings must be a mapping",
        file("c.yaml", "- 1\n- 2\n"),
    ),
    Bad("yaml key", f"{TRAIN} -c c.yaml", 2, "unknown_setting", "'outer.stepz'", file("c.yaml", "outer: {stepz: 3}")),
    Bad("yaml missing", f"{TRAIN} -c gone.yaml", 5, "missing", "gone.yaml: No such file"),
    Bad(
        "yaml of a persona",
        f"adapt noa chat.jsonl {MIRA} --base tiny -c gone.yaml",
        5,
        "missing",
        "gone.yaml: No such file",
    ),
)

RUNS = (
    Bad(
        "other settings",
        f"{AGAIN} --set outer.lr=0.5",
        3,
        "config_changed",
        "run.json: settings.outer.lr: 0.01 -> 0.5",
    ),
    Bad(
        "no whole checkpoint",
        AGAIN,
        3,
        "damaged",
        "no checkpoint is whole .hint: start anew with --fresh",
        damaged_checkpoints,
    ),
    Bad(
        "no personas left",
        f"{TRAIN} --set outer.shots=40",
        3,
        "too_few_dialogues",
        r"no training persona has 40 \+ 1 dialogues",
    ),
    Bad(
        "a run in a file",
        TRAIN.replace("runs/other", "chat.jsonl/x"),
        5,
        "storage_error",
        "chat.jsonl/x: Not a directory",
    ),
    Bad(
        "rows into a file",
        "eval runs/tiny-maml --k 1 --candidates 2 --replies 1 --metrics ppl --out chat.jsonl",
        5,
        "storage_error",
        "chat.jsonl.*: ",
    ),
    Bad(
        "personas in a file",
        f"adapt noa chat.jsonl {MIRA} --base tiny",
        5,
        "storage_error",
        "home/personas",
        home_is_a_file,
    ),
    Bad(
        "settings of a run damaged",
        "eval runs/tiny-maml",
        3,
        "damaged",
        "run.json: damaged",
        truncated("runs/tiny-maml/run.json"),
    ),
)


def tweets(dev: str = "😂 the goat ate it\n", replies: str = "once again .\n") -> Callable[[], None]:
    """Return the act of writing MojiTalk's files for two sides; the test split is always good."""

    def give() -> None:
        for name, content in (("dev.ori", dev), ("dev.rep", replies)):
            file(name, content)()
        asked = "".join(f"{emoji} what is new {number} ?\n" for emoji in "😂❤" for number in range(8))
        file("test.ori", asked)()
        file("test.rep", "not much today .\n" * 16)()

    return give


def tweets_alone() -> None:
    """Give queries without their replies."""
    file("dev.ori", "😂 the goat ate it\n")()


FACES = "train tiny/maml --out new --set data.corpus=dev.ori,test.ori --set data.min_heldout_dialogues=4"
MOJITALK = (
    Bad(
        "replies of another length",
        "data add moji dev.ori dev.rep",
        *(3, "misaligned", "dev.ori: 1 line, but dev.rep has 2: .*fetch both files again"),
        tweets(replies="once again .\ntwice .\n"),
    ),
    Bad(
        "queries without replies",
        "data add moji dev.ori",
        *(3, "missing_partner", "dev.ori: dev.rep with the replies is not beside it .hint: put dev.rep or dev.rep.xz"),
        tweets_alone,
    ),
    Bad(
        "no emoji first",
        "data check dev.ori",
        *(3, "", "dev.ori:1: begins with 'the', wanted one of MojiTalk's 64 emojis .hint: the emoji of the reply"),
        tweets("the goat ate it 😂\n"),
    ),
    Bad(
        "people on both sides",
        f"{FACES} --set data.test_id_prefixes=test",
        *(
            3,
            "leak",
            "1 persona speaks in both splits .*'😂' is one .hint: choose who is tested: --set data.num_test_personas",
        ),
        tweets(),
    ),
    Bad(
        "unknown emoji",
        f"{FACES} --set data.test_id_prefixes=test --set data.test_speakers=🦜",
        *(2, "unknown_persona", "nobody in the test split is called '🦜' .hint: choose among 😂, ❤"),
        tweets(),
    ),
    Bad(
        "more to test than there are",
        f"{FACES} --set data.test_id_prefixes=test --set data.num_test_personas=3",
        *(2, "config", "3 test personas wanted, 2 have 4 dialogues or more"),
        tweets(),
    ),
    Bad(
        "people to test but no side",
        f"{TRAIN} --set data.num_test_personas=3",
        2,
        "config",
        "must set a test split apart",
    ),
    Bad(
        "a bound of one utterance",
        f"{TRAIN} --set data.max_utterances=1",
        *(2, "config", "data.max_utterances: 1, must be at least 2"),
    ),
    Bad(
        "unknown draw",
        f"{TRAIN} --set data.select_dialogues=last",
        2,
        "bad_setting",
        "data.select_dialogues: 'last' is not valid: .*'draw'",
    ),
    Bad(
        "alike without facts",
        f"{TRAIN} --set data.user_subset=similar",
        *(3, "no_facts", "personas in the train split have no facts to compare .hint: --set data.user_subset=all"),
    ),
)


def pairs(content: str) -> Callable[[], None]:
    """Return the act of writing pairs for a scorer of entailment."""
    return file("pairs.txt", content)


def scorer(**said: object) -> Callable[[], None]:
    """Return the act of writing what a trained scorer's folder says of it, some of it otherwise."""
    about = {"schema": 1, "kind": "nli", "labels": ["contradiction", "entailment", "neutral"], "settings": {}}
    about |= {"network": {}, "files": {}, "said": "", "within": [], "judged": [1, 2], "sums": {}, "seconds": 1}
    return file("home/scorers/nli/scorer.json", json.dumps(about | said))


SCORERS = (
    Bad(
        "no scorer of facts",
        "eval runs/tiny-maml --k 1 --metrics ppl,c-score",
        *(2, "no_scorer", "no nli scorer was trained yet: .*hint: menura train scorer/nli --set data.corpus="),
    ),
    Bad(
        "no scorer of emojis",
        "eval runs/tiny-maml --k 1 --metrics e-acc-5",
        *(
            2,
            "no_scorer",
            "no emoji scorer was trained yet: .*hint: menura train scorer/emoji --set data.corpus=mojitalk",
        ),
    ),
    Bad(
        "no scorer to check",
        "eval scorer/nli --scorers elsewhere",
        *(2, "no_scorer", "elsewhere/nli holds none .hint: menura train scorer/nli .* --out elsewhere/nli"),
    ),
    Bad("unknown scorer", "train scorer/nil", 2, "unknown_scorer", "'nil' .hint: did you mean scorer/nli"),
    Bad(
        "a scorer of nothing",
        "train scorer/nli",
        2,
        "config",
        "data.corpus: .*none are named .hint: --set data.corpus=",
    ),
    Bad(
        "a scorer's setting",
        "train scorer/nli --set learning.epoch=1",
        *(2, "unknown_setting", "'learning.epoch' .hint: did you mean epochs"),
    ),
    Bad(
        "a scorer of no epochs",
        "train scorer/emoji --set learning.epochs=0",
        *(2, "config", "learning.epochs: 0, must be at least 1"),
    ),
    Bad(
        "pairs of no label",
        "train scorer/nli --set data.corpus=pairs.txt",
        *(3, "nli_format", "pairs.txt:2: unknown label 'perhaps' .hint: wanted: sentence</s>sentence</s>positive"),
        pairs("a</s>b</s>neutral\na</s>b</s>perhaps\n"),
    ),
    Bad(
        "pairs of one label",
        "train scorer/nli --set data.corpus=pairs.txt",
        *(3, "data", "pairs.txt: 18 examples of 1 labels to learn from, 2 to judge by"),
        pairs("a</s>b</s>neutral\n" * 20),
    ),
    Bad(
        "no such encoder",
        "train scorer/nli --set encoder=nowhere --set data.corpus=pairs.txt",
        *(2, "unknown_encoder", "encoder 'nowhere' is neither minilm nor a folder .*hint: --set encoder=minilm"),
        pairs("a</s>b</s>neutral\na</s>c</s>positive\n" * 10),
    ),
    Bad(
        "labels in another order",
        "eval scorer/nli",
        *(3, "labels_differ", "its labels are entailment, neutral, contradiction, wanted in this order: contradiction"),
        scorer(labels=["entailment", "neutral", "contradiction"]),
    ),
    Bad(
        "labels in another order in a table",
        "eval runs/tiny-maml --k 1 --metrics c-mean",
        *(3, "labels_differ", "its labels are neutral, contradiction, entailment"),
        scorer(labels=["neutral", "contradiction", "entailment"]),
    ),
    Bad("a scorer from later", "eval scorer/nli", 3, "damaged", "not a scorer's description", scorer(schema=2)),
    Bad("a scorer without weights", "eval scorer/nli", 3, "damaged", "model.safetensors is not what was", scorer()),
    Bad(
        "no facts to agree with",
        "eval runs/tiny-maml --k 1 --metrics c-score-lexical",
        *(3, "no_facts", "no persona of these has facts to agree with .hint: leave the c- metrics out"),
    ),
)

SPG = " ".join(
    ["train cmaml/maml_seq2spg --size tiny --out runs/other", *settings(Path("chat.jsonl"), "outer.steps=2")]
)


def another_vocabulary() -> None:
    """Give the weights of a run the words of another."""
    model = build(None, Seq2SeqConfig(vocab_size=9, hidden_size=12, num_layers=1))
    WordVocabulary(("a", "b", "c", "d"), ()).write(Path("words"))
    save_file(dict(model.state_dict()), "words/best.safetensors")


def each_once() -> None:
    """Give a corpus in which everybody speaks in one dialogue."""
    lines = (
        json.dumps({"dialogue_id": str(n), "turns": [{"speaker": f"{who}{n}", "text": "x"} for who in "abab"]})
        for n in range(20)
    )
    Path("once.jsonl").write_text("\n".join(lines), encoding="utf-8")


WORDS = (
    Bad(
        "word vectors of another width",
        f"{SPG} --set model.word_vectors=v.txt",
        *(
            3,
            "vector_size",
            "vectors of 3 numbers, the model is 12 wide .hint: --set model.hidden_size=3 or --set model.project",
        ),
        file("v.txt", "the 1 0 0\nhello 0 1 0\n"),
    ),
    Bad(
        "word vectors wider than the model",
        f"{SPG} --set model.word_vectors=v.txt --set model.hidden_size=2 --set model.project_vectors=yes",
        *(3, "vector_size", "vectors of 3 numbers, the model is 2 wide .hint: --set model.hidden_size=3"),
        file("v.txt", "the 1 0 0\n"),
    ),
    Bad(
        "word vectors of unequal width",
        f"{SPG} --set model.word_vectors=v.txt",
        *(3, "vector_size", "v.txt:2: 2 numbers, the lines before have 3"),
        file("v.txt", "the 1 0 0\nhello 0 1\n"),
    ),
    Bad(
        "word vectors nobody has",
        f"{SPG} --set model.word_vectors=glove-51d",
        *(2, "no_vectors", "word vectors 'glove-51d' are neither a file nor a name .hint: known by name: glove-50d"),
    ),
    Bad(
        "a vocabulary of another model",
        f"{SPG} --set model=seq2seq --set method=maml --set model.init_from=words",
        *(3, "base_mismatch", r"start best.safetensors: bias is .9,., wanted .8,."),
        another_vocabulary,
    ),
    Bad(
        "personas with one dialogue each",
        SPG.replace("chat.jsonl", "once.jsonl"),
        *(3, "too_few_personas", "the train split gets no persona with 2 dialogues or more .hint: give more dialogues"),
        each_once,
    ),
    Bad(
        "one dialogue to adapt and to hold out",
        "adapt noa bad.jsonl --speaker b -k 2 --base tiny",
        *(3, "too_few_dialogues", "'b' replies in 1 dialogue, too few for 2 shots .hint: use -k 1"),
        chat(f'{{"dialogue_id": "1", {TURNS}}}\n'),
    ),
    Bad(
        "a method for another model",
        "adapt noa chat.jsonl --speaker person-01 --base tiny --method cmaml",
        *(2, "method_misfit", "cmaml needs a model with a private part"),
    ),
    Bad(
        "a method that is none",
        f"adapt noa chat.jsonl {MIRA} --base tiny --method cmal",
        *(2, "unknown_method", "'cmal'"),
    ),
    Bad(
        "two ways to find a reply",
        "eval runs/tiny-maml --greedy --num-beams 5",
        *(2, "config", "--greedy and --num-beams: two ways .*hint: leave --greedy out: a beam of 1 is greedy"),
    ),
    Bad(
        "a length of no beam",
        "eval runs/tiny-maml --length-penalty 1",
        *(2, "config", "--length-penalty: it is a beam.s replies"),
    ),
    Bad("a reply of no beam collapsed", "eval runs/tiny-maml --collapse", *(2, "config", "--collapse: it is a beam's")),
)


def cut_off(make: Callable[[Path], Path], name: str) -> Callable[[], None]:
    """Return the act of writing an archive of which the second half is missing."""

    def give() -> None:
        path = make(Path(name))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return give


def made(make: Callable[..., object], *arguments: object) -> Callable[[], None]:
    """Return the act of making an archive."""

    def give() -> None:
        make(*arguments)

    return give


PUBLISHED = (
    Bad(
        "archive with none of the files",
        "data add mojitalk notes.zip",
        *(3, "no_members", r"notes.zip: none of the files of mojitalk is in it \(train.ori, .* it has 'one.md'"),
        made(zipped, Path("notes.zip"), {"one.md": "x"}),
    ),
    Bad(
        "archive of nothing known",
        "data add mine notes.tgz",
        *(3, "no_members", "notes.tgz: it has no file of a published corpus: 'one.md' .hint: unpack it"),
        made(tarred, Path("notes.tgz"), {"one.md": "x"}),
    ),
    Bad(
        "archive cut off",
        "data add convai2 convai2_fix_723.tgz",
        *(3, "damaged", "convai2_fix_723.tgz: archive is cut off or damaged .*hint: fetch it again"),
        cut_off(convai2, "convai2_fix_723.tgz"),
    ),
    Bad(
        "zip archive cut off",
        "data add dailydialog ijcnlp_dailydialog.zip",
        *(3, "damaged", "ijcnlp_dailydialog.zip: archive is cut off or damaged"),
        cut_off(dailydialog, "ijcnlp_dailydialog.zip"),
    ),
    Bad(
        "page of a download in place of the archive",
        "data add mojitalk mojitalk_data.zip",
        *(3, "web_page", "mojitalk_data.zip: is a web page, not an archive .hint: open the address .* in a browser"),
        file("mojitalk_data.zip", "<!DOCTYPE html><html><title>Google Drive - Virus scan warning</title>"),
    ),
    Bad(
        "archive of another corpus",
        "data add mojitalk convai2_fix_723.tgz",
        *(3, "other_corpus", "this is of another corpus: ConvAI2.*hint: menura data add convai2 convai2_fix_723.tgz"),
        made(convai2, Path("convai2_fix_723.tgz")),
    ),
    Bad(
        "file of another corpus",
        "data add rpc rows.csv",
        *(3, "other_corpus", "rows.csv: this is of another corpus: CPED.*hint: menura data add cped rows.csv"),
        file("rows.csv", CPED),
    ),
    Bad(
        "bad line in an archive",
        "data add cped CPED-main.zip",
        *(3, "schema", "CPED-main.zip:valid_split.csv: no column Gender"),
        made(zipped, Path("CPED-main.zip"), {"valid_split.csv": CPED.replace("Gender", "G")}),
    ),
    Bad("corpus that comes with it", "data add chitchat chat.jsonl", 2, "config", "chitchat comes with Menura"),
    Bad("corpus that nobody has", "data add twitter-reddit chat.jsonl", 2, "config", "twitter-reddit is not published"),
    Bad("source of no name", "data sources convai", 2, "unknown_corpus", "'convai' .hint: names: convai2, personachat"),
)

ROWS = [
    Bad(
        row.case,
        row.line.format("bad.jsonl") if row.line == ADAPT else row.line,
        row.exit,
        row.code,
        row.says,
        row.give,
    )
    for row in (*DATA, *ARTEFACTS, *SETTINGS, *RUNS, *MOJITALK, *PUBLISHED, *SCORERS, *WORDS)
]
