"""AR against AR+, and AR+ without each of its parts, on RealPersonaChat: each at its own best learning rate."""

from menura.experiments.experiment import Experiment, ExperimentRow, Table

SEEDS = 3  # of the pair that decides
FAST, SLOW = (3e-3, 1e-2, 3e-2), (1e-4, 3e-4, 1e-3)  # tried on validation speakers; SLOW where nothing scales a layer
PARTS = {
    "no-rezero": ("AR+ without ReZero", (3e-4, 1e-3, 3e-3)),
    "no-albert": ("AR+ without ALBERT", FAST),
    "no-factor-ff": ("AR+ without the factorised feed-forward", FAST),
    "no-memn2n": ("AR+ without its memory", FAST),
    "no-bart-mlm": ("AR+ without the masked auxiliary task", FAST),
}
USUAL = ("ppl", "f1-char", "bleu-char", "dist-1-char", "dist-2-char")
AS_RELEASED = ("ppl-release-sum", "f1-release-macro", "bleu-release-padded", "dist-1-release", "dist-2-release")
# 100,000 exchanges of the training speakers, three times, by a network of half the width.
FACTORISED = ("model.embedding=32", "model.rank=16")
LONG = (
    *("model.hidden_size=64", "model.intermediate_size=256"),
    *("data.max_dialogues=80", "outer.steps=1300", "outer.meta_batch_size=8", "outer.eval_every=325"),
)
METRICS = ("--metrics", ",".join((*USUAL, *AS_RELEASED)))

PRINTED = {  # Tables 1 and 2 of the paper: what it calls PPL, F1 and BLEU, and Dist-1/2
    "ar": ("614", ".00017", ".00257", ".842/.772"),
    "arplus": ("120", ".00024", ".00510", ".830/.780"),
    "no-rezero": ("172", ".00019", ".00371", ".821/.746"),
    "no-albert": ("123", ".00027", ".00473", ".850/.784"),
    "no-factor-ff": ("110", ".00024", ".00345", ".875/.789"),
    "no-memn2n": ("117", ".00021", ".00260", ".878/.807"),
    "no-bart-mlm": ("636", ".00024", ".00499", ".831/.780"),
}
COLUMNS = ("PPL", "F1", "BLEU", "Dist-1/2")

RPC = Experiment(
    name="arplus",
    question="Is AR+ better than AR, and which of its parts is it, where each row has its own best learning rate?",
    rule=(
        "Each row is trained at three learning rates and scored at the one that is best on validation speakers. AR+ is "
        "better than AR if the 95 % interval of the paired difference of perplexity over speakers and three seeds lies "
        "below 0. A part matters if the interval of AR+ without it, less AR+, lies above 0; otherwise nothing is shown."
    ),
    core_hours=8,
    rows=(
        ExperimentRow("arplus", "AR+", "arplus/arplus", rates=FAST, seeds=SEEDS),
        ExperimentRow("ar", "AR", "arplus/ar", rates=SLOW, seeds=SEEDS),
        ExperimentRow(
            "ar-predictor", "AR with its predictor", "arplus/ar", ("model.strength_by=labelled",), rate_of="ar"
        ),
        *(ExperimentRow(name, title, f"arplus/{name}", rates=rates) for name, (title, rates) in PARTS.items()),
        ExperimentRow("arplus-long", "AR+, long", "arplus/arplus", (*LONG, *FACTORISED), rate_of="arplus"),
        ExperimentRow("ar-long", "AR, long", "arplus/ar", LONG, rate_of="ar"),
        ExperimentRow("arplus-as-published", "AR+ at the study's rate", "arplus/arplus-as-published"),
        ExperimentRow("ar-as-published", "AR at the study's rate", "arplus/ar-as-published"),
        *(
            ExperimentRow(f"{name}-as-published", f"{title}, at the study's rate", f"arplus/{name}-as-published")
            for name, (title, _) in PARTS.items()
        ),
        ExperimentRow(
            "arplus-people",
            "AR+",
            "arplus/arplus",
            run_of="arplus",
            scored_with=("-k", "5", "--epochs", "1,2,4", "--metrics", "ppl"),
        ),
    ),
    tables=(
        Table("scores", USUAL, ("ar", "ar-predictor", "arplus", *PARTS), ("un-adapted",)),
        Table("as-released", AS_RELEASED, ("ar", "arplus", *PARTS), ("un-adapted",), "", COLUMNS, PRINTED),
        Table("longer", (*USUAL, *AS_RELEASED[:1]), ("ar-long", "arplus-long"), ("un-adapted",)),
        Table("people", ("ppl",), ("arplus-people",), ("un-adapted", "wrong persona", "adapted")),
        Table("decides", USUAL, ("ar", "arplus", "ar-predictor"), ("un-adapted",), against="ar"),
        Table("decides-longer", USUAL, ("ar-long", "arplus-long"), ("un-adapted",), against="ar-long"),
        Table("parts", USUAL, ("arplus", *PARTS), ("un-adapted",), against="arplus"),
        Table(
            "parts-as-published",
            USUAL,
            ("arplus-as-published", "ar-as-published", *(f"{name}-as-published" for name in PARTS)),
            ("un-adapted",),
            against="arplus-as-published",
        ),
    ),
    scored_with=(
        *("-k", "0", "--queries", "2", "--replies", "4", "--top-p", "0.9", "--temperature", "0.7"),
        *("--min-new-tokens", "1", "--max-new-tokens", "40", *METRICS),
    ),
    scored_with_tiny=(
        *("-k", "0", "--queries", "1", "--replies", "1", "--personas", "3", "--top-p", "0.9"),
        *("--min-new-tokens", "1", "--max-new-tokens", "4", *METRICS),
    ),
)
