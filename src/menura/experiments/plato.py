"""PLATO's tables: does a latent that is used make replies likelier, and is response selection's choice better?"""

from dataclasses import replace

from menura.experiments.experiment import Experiment, ExperimentRow, Kind, Table

SEEDS = 3  # of the pair that decides
SAID = ("bleu-1-chencherry", "bleu-2-chencherry", "dist-1", "dist-2")
LATENT = ("ppl", "ppl-best", "ppl-posterior", "latent-information", "hits@1")
IN_AVSD = ("BLEU-1, six references", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr")
PRINTED_AVSD = {  # Table 3 of the paper, against six references; PLATO's reply is chosen by a ranker of its own there
    "baseline": (".626", ".309", ".215", ".487", ".746"),
    "without": (".780", ".441", ".293", ".607", "1.235"),
    "latent": (".784", ".435", ".286", ".596", "1.209"),
    "latent: upper bound": (".925", ".689", ".361", ".731", "1.716"),
}
KNOWN = ("knowledge-recall", "knowledge-precision", "knowledge-f1")
CAPTIONED = ("coco-bleu-1", "coco-bleu-4", "meteor-exact-stem", "rouge-l", "cider-d")
LINES: tuple[Kind, ...] = ("un-adapted",)
PAIRS = ("--candidates", "2")  # a reference against the reply of another dialogue: chance is 50 %
KEPT = "model.targets=none"  # of a row that begins at another's latents: clusters would number them anew
MORE = "outer.steps=600"  # as long as a latent's steps take, with half of the tokens
PRINTED = {  # Table 2 of the paper, on DailyDialog: BLEU-1, BLEU-2, Distinct-1, Distinct-2
    "seq2seq": ("0.336", "0.268", "0.030", "0.128"),
    "ivae_mi": ("0.309", "0.249", "0.029", "0.250"),
    "without": ("0.405", "0.322", "0.046", "0.246"),
    "latent": ("0.397", "0.311", "0.053", "0.291"),
}
COLUMNS = ("BLEU-1", "BLEU-2", "Dist-1", "Dist-2")


def _scored(queries: int, *metrics: str, personas: int = 100, max_new_tokens: int = 24) -> tuple[str, ...]:
    return (
        *("-k", "0", "--queries", str(queries), "--personas", str(personas), "--num-beams", "1"),
        *("--max-new-tokens", str(max_new_tokens), "--replies", "1", *PAIRS),
        *("--metrics", ",".join(("ppl-word", *LATENT, *metrics))),
    )


def _scored_tiny(*metrics: str) -> tuple[str, ...]:
    return _scored(1, *metrics, personas=3, max_new_tokens=4)


SEARCH = Experiment(
    name="plato-latent",
    question="Which of the field's means against a dead discrete latent keeps PLATO's alive, at the smallest size?",
    rule=(
        "On validation dialogues a latent is alive if its mutual information with the references is above 0.3 nats, "
        "the best of K latents is at least 3 % below the mixture in perplexity, and response selection finds more than "
        "60 % of references beside another dialogue's reply. The first row that is alive at the lowest perplexity of "
        "the mixture is what the other experiments of PLATO use."
    ),
    core_hours=1.5,
    rows=(
        ExperimentRow(
            "clusters-late-em-longer",
            "clusters for 80% of twice the steps, then hard EM; matching selection",
            "plato-latent/clusters-hard-em",
            ("model.target_share=0.8", "outer.steps=300", "outer.eval_every=300"),
        ),
        *(
            ExperimentRow(
                name,
                f"clusters for {share:.0%} of the steps, then hard EM; matching selection",
                "plato-latent/clusters-hard-em",
                (f"model.target_share={share}",),
            )
            for name, share in (("clusters-em", 0.7), ("clusters-late-em", 0.8))
        ),
        *(
            ExperimentRow(name, title, f"plato-latent/{name}")
            for name, title in (
                ("clusters-hard-em", "clusters for half, then hard EM; matching selection"),
                ("clusters-match", "clusters for half, then the posterior; matching selection"),
                ("plain", "PLATO's objective in large batches"),
                ("without", "without latent"),
                ("hard-em", "hard EM from the first step"),
                ("usage", "a usage term"),
                ("clusters", "clusters for half, then the posterior"),
            )
        ),
    ),
    tables=(
        Table(
            "search",
            LATENT,
            (
                *("without", "plain", "usage", "hard-em", "clusters"),
                *("clusters-match", "clusters-hard-em", "clusters-em", "clusters-late-em", "clusters-late-em-longer"),
            ),
            LINES,
        ),
    ),
    scored_with=(
        *("-k", "0", "--queries", "2", "--split", "valid", "--personas", "60", "--replies", "4"),
        *("--num-beams", "1", "--max-new-tokens", "1", *PAIRS, "--metrics", ",".join(LATENT)),
    ),
    scored_with_tiny=(*_scored_tiny(), "--split", "valid"),
)

DAILYDIALOG = Experiment(
    name="plato",
    question="On DailyDialog: does a latent that is used make the replies of one transformer likelier?",
    rule=(
        "The latent helps if the perplexity of the mixture, less that of the same transformer without latent with as "
        "many steps, paired over dialogues and three seeds, has a 95 % interval below 0; it harms if the interval lies "
        "above 0; otherwise nothing is shown. The row without latent that had as much time is reported beside it. "
        "BLEU and Distinct are reported and decide nothing."
    ),
    core_hours=4.5,
    rows=(
        ExperimentRow("latent", "PLATO", "plato/finetune-dailydialog", seeds=SEEDS),
        ExperimentRow("without", "without latent", "plato/finetune-dailydialog-without", seeds=SEEDS),
        ExperimentRow("without-longer", "without latent, as long", "plato/finetune-dailydialog-without", (MORE,)),
        # As long as the latent's steps take, on one thread.
        ExperimentRow("seq2seq", "Seq2Seq", "plato/seq2seq-dailydialog", ("outer.steps=1000",)),
        ExperimentRow("ivae_mi", "iVAE_MI", "plato/ivae_mi", ("outer.steps=700",)),
        ExperimentRow(
            "latent-beam",
            "PLATO, a beam of 5 a latent",
            "plato/finetune-dailydialog",
            run_of="latent",
            scored_with=("--num-beams", "5"),
        ),
        ExperimentRow(
            "latent-likeliest",
            "PLATO, the likeliest latent's reply",
            "plato/finetune-dailydialog",
            run_of="latent",
            scored_with=("--top-latents", "1"),
        ),
        ExperimentRow(
            "policy",
            "PLATO, its latent a policy: the likeliest latent's reply",
            "plato/finetune-dailydialog",
            (
                *("method=latent-policy", "method.rewards=rs", KEPT),
                *("outer.steps=40", "outer.eval_every=40", "outer.lr=2e-4"),
            ),
            ("method=latent-policy", "method.rewards=rs", "method.max_new_tokens=4"),
            start="latent",
            scored_with=("--top-latents", "1"),
        ),
        ExperimentRow("paper", "PLATO, preset paper", "plato/paper-dailydialog"),
    ),
    tables=(
        Table(
            "scores",
            ("ppl", "ppl-word", *SAID),
            ("seq2seq", "ivae_mi", "without", "without-longer", "latent"),
            LINES,
            "",
            COLUMNS,
            PRINTED,
        ),
        Table("latent", LATENT, ("latent", "paper"), LINES),
        Table("decides", ("ppl", *SAID), ("latent",), LINES, against="without"),
        Table("decoding", SAID, ("latent", "latent-beam", "latent-likeliest", "policy", "paper"), LINES),
    ),
    scored_with=_scored(2, *SAID),
    scored_with_tiny=_scored_tiny(*SAID),
)

PERSONACHAT = replace(
    DAILYDIALOG,
    name="plato-personachat",
    question="On Persona-Chat: the same, and do replies under a latent have more of the persona in them?",
    core_hours=2,
    rows=(
        ExperimentRow("latent", "PLATO", "plato/finetune-personachat"),
        ExperimentRow("without", "without latent", "plato/finetune-personachat-without"),
        ExperimentRow("seq2seq", "Seq2Seq", "plato/seq2seq-personachat"),
        ExperimentRow("lic", "LIC", "plato/lic", ("outer.steps=380",)),
    ),
    rule=(
        "As for DailyDialog, over personas and one seed; and the latent has more of the persona if the interval of the "
        "paired difference of knowledge F1 lies above 0."
    ),
    tables=(
        Table(
            "scores",
            ("ppl", "ppl-word", *SAID, *KNOWN),
            ("seq2seq", "lic", "without", "latent"),
            LINES,
            "",
            (*COLUMNS, "knowledge R/P/F1"),
            {
                "seq2seq": ("0.448", "0.353", "0.004", "0.016", ".004/.016/.006"),
                "lic": ("0.405", "0.320", "0.019", "0.113", ".042/.154/.064"),
                "without": ("0.458", "0.357", "0.012", "0.064", ".085/.263/.125"),
                "latent": ("0.406", "0.315", "0.021", "0.121", ".142/.461/.211"),
            },
        ),
        Table("latent", LATENT, ("latent",), LINES),
        Table("decides", ("ppl", *SAID, KNOWN[-1]), ("latent",), LINES, against="without"),
    ),
    scored_with=_scored(1, *SAID, *KNOWN),
)

AVSD = replace(
    DAILYDIALOG,
    name="plato-avsd",
    question="On DSTC7-AVSD, of text alone and with one reference: the same, and how much is in the best candidate?",
    core_hours=1.5,
    rows=(
        ExperimentRow("latent", "PLATO", "plato/finetune-avsd", scored_with=("--upper-bound",)),
        ExperimentRow("without", "without latent", "plato/finetune-avsd-without"),
        ExperimentRow("baseline", "text-only baseline", "plato/avsd-baseline"),
    ),
    rule="As for DailyDialog, over videos and one seed. The upper bound is an oracle, and decides nothing.",
    tables=(
        Table(
            "scores",
            ("ppl", "ppl-word", *CAPTIONED),
            ("baseline", "without", "latent"),
            ("un-adapted", "upper bound"),
            "",
            IN_AVSD,
            PRINTED_AVSD,
        ),
        Table("latent", LATENT, ("latent",), LINES),
        Table("decides", ("ppl", *CAPTIONED), ("latent",), LINES, against="without"),
    ),
    scored_with=_scored(1, *CAPTIONED),
    scored_with_tiny=_scored_tiny(*CAPTIONED),
)

AMOUNTS = {"1k": 1000, "5k": 5000, "9k": 0}  # training dialogues; 0: all, of which the published set has 8,939
CELLS = {"1.1": "", "2.2": "pretrain-without", "3.1": "pretrain"}  # rows without GPT-2, and what each begins at
TITLES = {"1.1": "BERT", "2.2": "BERT, dialogue first", "3.1": "BERT, dialogue first, latent"}
TABLE_5 = {  # perplexity by training dialogues: 1k, 5k, 9k
    "1.1": ("58.091", "33.143", "26.727"),
    "2.2": ("15.836", "13.799", "13.105"),
    "3.1": ("15.080", "12.936", "12.285"),
}


def _cells() -> tuple[ExperimentRow, ...]:
    return tuple(
        ExperimentRow(
            f"{row}-{amount}",
            f"{TITLES[row]}, {amount}",
            f"plato-grid/{row}",
            (f"data.total_train_dialogues={dialogues}", *((KEPT,) if row == "3.1" else ())),
            (f"data.total_train_dialogues={min(dialogues, 1000) // 100 or 20}",),
            start=start,
        )
        for amount, dialogues in AMOUNTS.items()
        for row, start in CELLS.items()
    )


GRID = replace(
    DAILYDIALOG,
    name="plato-table5",
    question="On Persona-Chat: what do dialogue first, and a latent, give on less data and on more?",
    rule=(
        "Dialogue first, or the latent, helps on an amount of data if the 95 % interval of the paired difference of "
        "perplexity to the row before it, over personas, lies below 0. The rows of GPT-2 need one, and are left out."
    ),
    core_hours=4,
    rows=(
        ExperimentRow("pretrain", "dialogue first, latent", "plato/pretrain", scored=False),
        ExperimentRow("pretrain-without", "dialogue first", "plato/pretrain-without", scored=False),
        *_cells(),
    ),
    tables=(
        Table(
            "cells",
            ("ppl", "ppl-word", "bits-per-byte"),
            tuple(f"{row}-{amount}" for row in CELLS for amount in AMOUNTS),
            LINES,
            "",
            ("PPL",),
            {f"{row}-{amount}": (TABLE_5[row][place],) for row in CELLS for place, amount in enumerate(AMOUNTS)},
        ),
        *(
            Table(f"dialogue-{amount}", ("ppl", "ppl-word"), (f"2.2-{amount}",), LINES, against=f"1.1-{amount}")
            for amount in AMOUNTS
        ),
        *(
            Table(f"latent-{amount}", ("ppl", "ppl-word"), (f"3.1-{amount}",), LINES, against=f"2.2-{amount}")
            for amount in AMOUNTS
        ),
    ),
    scored_with=("-k", "0", "--queries", "1", "--personas", "100", "--metrics", "ppl,ppl-word,bits-per-byte"),
    scored_with_tiny=("-k", "0", "--queries", "1", "--personas", "3", "--metrics", "ppl,ppl-word,bits-per-byte"),
)
