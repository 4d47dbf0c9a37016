"""CMAML's tables (Song et al., 2020): do personas, or emojis, profit from a mask of their own?"""

from collections.abc import Mapping
from dataclasses import replace

from menura.experiments.experiment import Experiment, ExperimentRow, Table

SEEDS = 3  # of the pair that decides
POOLED = ("seq2seq", "speaker", "seq2spg")
META = (
    *("maml_seq2seq", "maml_seq2spg", "maml_seq2spg_exact", "maml_seq2spg_more", "cmaml_seq2spg_prime"),
    *("cmaml_seq2spg", "cmaml_found"),
)
OF_USER_SUBSETS = ("maml_seq2spg", "maml_seq2spg_more", "cmaml_seq2spg")
DECIDES = ("maml_seq2spg", "cmaml_seq2spg", "cmaml_found")
# The line "adapted" of a pooled row is the paper's -F row.
FINETUNED = ("--set", "method=finetune", "--set", "method.inner.lr=0.01")
Printed = Mapping[str, Mapping[str, tuple[str, ...]]]  # by experiment and row
PRINTED: Printed = {  # Tables 1 and 2 of the paper: PPL, BLEU, Dist-1, and C score or E-acc
    "cmaml": {
        "seq2seq": ("37.91", "1.27", "0.0019", "−0.16"),
        "speaker": ("40.17", "1.25", "0.0037", "−0.14"),
        "seq2spg": ("36.46", "1.41", "0.0023", "−0.14"),
        "seq2seq_f": ("33.65", "1.56", "0.0046", "−0.05"),
        "speaker_f": ("35.61", "1.52", "0.0059", "0.03"),
        "seq2spg_f": ("32.68", "1.54", "0.0045", "−0.05"),
        "maml_seq2seq": ("37.43", "1.54", "0.0087", "0.14"),
        "maml_seq2spg": ("35.89", "1.70", "0.0074", "0.16"),
        "cmaml_seq2spg_prime": ("37.32", "1.43", "0.0089", "0.15"),
        "cmaml_seq2spg": ("36.30", "1.70", "0.0097", "0.18"),
    },
    "cmaml-mojitalk": {
        "seq2seq": ("218.95", "0.36", "0.0342", "0.73"),
        "speaker": ("418.96", "0.19", "0.0530", "0.70"),
        "seq2spg": ("158.74", "0.64", "0.0239", "0.74"),
        "seq2seq_f": ("217.60", "0.40", "0.0326", "0.72"),
        "speaker_f": ("403.92", "0.21", "0.0528", "0.72"),
        "seq2spg_f": ("157.92", "0.65", "0.0228", "0.74"),
        "maml_seq2seq": ("179.02", "0.54", "0.0109", "0.70"),
        "maml_seq2spg": ("181.56", "0.73", "0.0246", "0.74"),
        "cmaml_seq2spg_prime": ("172.92", "0.76", "0.0102", "0.75"),
        "cmaml_seq2spg": ("185.97", "0.85", "0.0210", "0.77"),
    },
    "cmaml-similar": {"maml_seq2spg": ("82.37", "−0.06"), "cmaml_seq2spg": ("82.78", "−0.07")},
    "cmaml-dissimilar": {"maml_seq2spg": ("39.41", "0.12"), "cmaml_seq2spg": ("39.55", "0.16")},
}
PRINTED_DISTANCES: Printed = {  # Table 1 of the paper: Δ and Diff, e-10
    "cmaml": {
        "seq2seq": ("9.19", "17.97"),
        "speaker": ("143.90", "285.11"),
        "seq2spg": ("156.30", "292.85"),
        "maml_seq2seq": ("67.79", "134.01"),
        "maml_seq2spg": ("198.90", "401.28"),
        "cmaml_seq2spg_prime": ("238.64", "479.21"),
        "cmaml_seq2spg": ("263.82", "514.44"),
    },
    "cmaml-mojitalk": {
        "seq2seq": ("8.88", "15.96"),
        "speaker": ("29.10", "39.08"),
        "seq2spg": ("40.94", "72.43"),
        "maml_seq2seq": ("117.09", "183.05"),
        "maml_seq2spg": ("176.31", "306.40"),
        "cmaml_seq2spg_prime": ("81.15", "142.90"),
        "cmaml_seq2spg": ("190.64", "345.42"),
    },
}
TINY = (
    *("-k", "2", "--protocol", "leave-one-out", "--queries", "1", "--personas", "3", "--epochs", "1,2"),
    *("--metrics", "ppl,multi-bleu,dist-1", "--replies", "1", "--max-new-tokens", "4"),
)
BY_BEAM = ("--epochs", "1,2,4", "--num-beams", "5", "--max-new-tokens", "20")


# Ways to find a persona's mask, tried on validation personas before anything is trained with them.
QUARTER = ("method.threshold=quantile", "method.keep_share=0.25")
SCALED = ("method.threshold=scaled", "method.gamma=1.2")
ADAM = ("method.prune_optimizer=adam", "method.prune_lr=0.001")
PROXIMAL = ("method.l1_step=proximal",)
MASKS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "published": ("as published", ()),
    "scaled": ("γ in bounds of the initialisation", SCALED),
    "adam": ("the same, Adam on the copy", (*SCALED, *ADAM)),
    "proximal-0.1": ("the same, proximal, λ 0.1", (*SCALED, *ADAM, *PROXIMAL, "method.l1_weight=0.1")),
    "proximal-1": ("the same, proximal, λ 1", (*SCALED, *ADAM, *PROXIMAL, "method.l1_weight=1")),
    "proximal-sgd": ("γ in bounds, SGD, proximal, λ 1", (*SCALED, *PROXIMAL, "method.l1_weight=1")),
    "quarter": ("the largest quarter", QUARTER),
    "quarter-adam": ("the largest quarter, Adam", (*QUARTER, *ADAM)),
    "change": ("what changed most, a quarter", ("method.prune_by=change", *QUARTER)),
    "change-adam": ("what changed most, a quarter, Adam", ("method.prune_by=change", *QUARTER, *ADAM)),
    "change-half": (
        "what changed most, half",
        ("method.prune_by=change", "method.threshold=quantile", "method.keep_share=0.5"),
    ),
    "saliency": ("weight times gradient, a quarter", ("method.prune_by=saliency", *QUARTER)),
    "saliency-adam": ("weight times gradient, a quarter, Adam", ("method.prune_by=saliency", *QUARTER, *ADAM)),
    "saliency-start": (
        "weight times gradient before any step, a quarter",
        ("method.prune_by=saliency", "method.prune_epochs=0", *QUARTER),
    ),
}
OF_THREE = ("published", "change", "saliency-start")  # as many dialogues as a test persona has
FOUND = "saliency-start"  # none passed: the one of the lowest p
ON_VALIDATION = ("--split", "valid", "--protocol", "leave-one-out", "--queries", "1", "--metrics", "ppl")


def _search() -> tuple[ExperimentRow, ...]:
    """Return a row for each way to find masks, from all of a persona's dialogues but the query, and some from three."""
    return tuple(
        ExperimentRow(
            f"masks-{name}{suffix}",
            f"{MASKS[name][0]}{words}",
            "cmaml/cmaml_seq2spg",
            MASKS[name][1],
            start="maml_seq2spg",
            trains=False,
            scored_with=("-k", shots, *ON_VALIDATION),
            scored_otherwise=True,
        )
        for suffix, words, shots, names in (("", "", "20", MASKS), ("-3", ", three dialogues", "3", OF_THREE))
        for name in names
    )


def _rows(setting: str, more_steps: int, seeds: int = SEEDS) -> tuple[ExperimentRow, ...]:
    """Return the rows, the pair that decides first; the CMAML rows begin at the run of MAML on the same model."""
    steps = (f"outer.steps={more_steps}", "outer.meta_batch_size=4")  # what the CMAML rows train beyond MAML's
    return (
        ExperimentRow("maml_seq2spg", "MAML-Seq2SPG", f"{setting}/maml_seq2spg", seeds=seeds),
        ExperimentRow(
            "maml_seq2spg_more",
            f"MAML-Seq2SPG, {more_steps} steps more",
            f"{setting}/maml_seq2spg",
            steps,
            start="maml_seq2spg",
            seeds=seeds,
        ),
        ExperimentRow("cmaml_seq2spg", "CMAML-Seq2SPG", f"{setting}/cmaml_seq2spg", start="maml_seq2spg", seeds=seeds),
        ExperimentRow(
            "cmaml_found",
            f"CMAML-Seq2SPG, {MASKS[FOUND][0]}",
            f"{setting}/cmaml_seq2spg",
            (*MASKS[FOUND][1], "method.mask_dialogues=20"),
            start="maml_seq2spg",
            seeds=seeds,
        ),
        ExperimentRow("seq2spg", "Seq2SPG", f"{setting}/seq2spg", scored_with=FINETUNED),
        ExperimentRow("maml_seq2seq", "MAML-Seq2seq", f"{setting}/maml_seq2seq"),
        ExperimentRow("seq2seq", "Seq2seq", f"{setting}/seq2seq", scored_with=FINETUNED),
        ExperimentRow("speaker", "Speaker", f"{setting}/speaker", scored_with=FINETUNED),
        ExperimentRow("maml_seq2spg_prime", "MAML-Seq2SP′G", f"{setting}/maml_seq2spg", ("model.reads=state",)),
        ExperimentRow(
            "cmaml_seq2spg_prime",
            "CMAML-Seq2SP′G",
            f"{setting}/cmaml_seq2spg_prime",
            start="maml_seq2spg_prime",
        ),
        ExperimentRow("maml_seq2spg_exact", "MAML-Seq2SPG, exact", f"{setting}/maml_seq2spg", ("method.order=exact",)),
    )


def _tables(setting: str, figures: tuple[str, ...], columns: tuple[str, ...]) -> tuple[Table, ...]:
    printed = PRINTED.get(setting, {})
    columns = columns if printed else ()
    adapted = {name: printed.get(f"{name}_f", printed.get(name, ())) for name in (*POOLED, *META)}
    return (
        Table("not-adapted", figures, POOLED, ("un-adapted",), "", columns, {n: printed[n] for n in POOLED if printed}),
        Table("adapted", figures, (*POOLED, *META), ("adapted",), "", columns, {n: p for n, p in adapted.items() if p}),
        Table(
            "weights",
            (),
            (*POOLED, *META),
            paper_columns=("Δ", "Diff"),
            paper=PRINTED_DISTANCES[setting],
            beside=("distances", "masks", "costs"),
        ),
        Table("controls", figures[:1], (*POOLED, *META), ("un-adapted", "wrong persona", "adapted")),
        Table("decides", (figures[0], figures[-1]), DECIDES, against="maml_seq2spg_more"),
    )


MASK_TABLE = Table(
    "masks",
    ("ppl",),
    (*(f"masks-{way}" for way in MASKS), *(f"masks-{way}-3" for way in OF_THREE)),
    beside=("masks",),
)
PERSONACHAT = Experiment(
    name="cmaml",
    question=(
        "Can masks be found that differ between personas as the personas do, and does a network with a mask of each "
        "persona (CMAML) beat MAML that has had as many steps?"
    ),
    rule=(
        "A way to find masks passes if on validation personas the mean Jaccard index of two masks is below 0.9, and "
        "masks are the more alike the more personas are (Mantel test, p below 0.05). CMAML is trained with the one of "
        "those that pass that has the lowest perplexity, or else with the one of the lowest p. "
        "CMAML beats the control if its perplexity, adapted, is below that of MAML-Seq2SPG with as many steps, and the "
        "95 % interval of the paired difference over personas and three seeds excludes 0; it is worse if the interval "
        "lies above 0; otherwise nothing is shown. C score, BLEU and Dist are reported and decide nothing."
    ),
    core_hours=6,
    rows=(*_rows("cmaml", 150)[:1], *_search(), *_rows("cmaml", 150)[1:]),
    tables=(
        MASK_TABLE,
        *_tables("cmaml", ("ppl", "multi-bleu", "dist-1", "c-score"), ("PPL", "BLEU", "Dist-1", "C score")),
    ),
    scored_with=(
        *("-k", "3", "--protocol", "leave-one-out", "--queries", "1", *BY_BEAM),
        *("--metrics", "ppl,ppl-paml,multi-bleu,multi-bleu-paml,dist-1,dist-2,c-score,c-mean,c-contradictions"),
    ),
    scored_with_tiny=TINY,
)
SIMILAR, DISSIMILAR = (
    replace(
        PERSONACHAT,
        name=f"cmaml-{which}",
        question=f"The same, trained on the 100 users that are most {which}: do masks help more where users differ?",
        rows=_rows(f"cmaml-{which}", 150, seeds=1)[:3],
        rule="As on all users, over personas and one seed.",
        tables=(
            Table(
                "adapted",
                ("ppl", "c-score"),
                OF_USER_SUBSETS,
                ("adapted",),
                paper_columns=("PPL", "C score"),
                paper=PRINTED[f"cmaml-{which}"],
            ),
            Table("decides", ("ppl", "c-score"), OF_USER_SUBSETS, against="maml_seq2spg_more"),
        ),
        core_hours=1,
    )
    for which in ("similar", "dissimilar")
)
MOJITALK = replace(
    PERSONACHAT,
    name="cmaml-mojitalk",
    question="The same on MojiTalk, where a task is an emoji.",
    core_hours=2,
    rows=_rows("cmaml-mojitalk", 75),
    tables=_tables(
        "cmaml-mojitalk", ("ppl", "multi-bleu", "dist-1", "e-acc-within"), ("PPL", "BLEU", "Dist-1", "E-acc")
    ),
    scored_with=(
        *("-k", "100", "--queries", "50", "--replies", "16", "--length-penalty", "1", *BY_BEAM),
        *("--metrics", "ppl,ppl-paml,multi-bleu,multi-bleu-paml,dist-1,dist-2,e-acc,e-acc-5,e-acc-within"),
    ),
)
