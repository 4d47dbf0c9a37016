"""Two studies beside AR+'s table: what its authors found ineffective, and how much a persona shall weigh in a reply."""

from menura.experiments.experiment import Experiment, ExperimentRow, Table

SPEAKERS = ("-k", "0", "--queries", "1", "--personas", "30", "--metrics", "ppl,ppl-word")
TRIED = {
    "weights": "layers begin as MiniLM's lowest two",
    "features-concat": "MiniLM's states beside the embeddings",
    "features-replace": "MiniLM's states in place of the embeddings",
}
LONGER = "more"

INEFFECTIVE = Experiment(
    name="arplus-ineffective",
    question=(
        "AR+'s authors report that adapters did not converge, and that features and weights of pre-trained encoders "
        "changed little or did harm. Does that hold where the three do what they are said to do?"
    ),
    rule=(
        "A method helps if the 95 % interval of the paired difference of perplexity over speakers, of the row with it "
        "less the row without, lies below 0; it harms if the interval lies above 0; otherwise nothing is shown. The "
        "adapters' row is compared with the same steps for the whole network."
    ),
    core_hours=1,
    rows=(
        ExperimentRow("base", "AR+ on MiniLM's pieces and shapes", "arplus-ineffective/base"),
        *(ExperimentRow(name, title, f"arplus-ineffective/{name}") for name, title in TRIED.items()),
        ExperimentRow("adapters", "then adapters alone", "arplus-ineffective/adapters", start="base"),
        ExperimentRow(LONGER, "then the whole network", "arplus-ineffective/base", start="base"),
    ),
    tables=(
        Table("scores", ("ppl", "ppl-word"), ("base", *TRIED, "adapters", LONGER), ("un-adapted",)),
        Table("decides", ("ppl",), ("base", *TRIED, "adapters"), ("un-adapted",), against="base"),
        Table("decides-adapters", ("ppl",), (LONGER, "adapters"), ("un-adapted",), against=LONGER),
    ),
    scored_with=SPEAKERS,
    scored_with_tiny=("-k", "0", "--queries", "1", "--personas", "3", "--metrics", "ppl,ppl-word"),
)

STRENGTHS = ("0", "0.25", "0.5", "0.75", "1")
AT = {f"at-{a}": a for a in STRENGTHS}
NONE = f"at-{STRENGTHS[0]}"
SAMPLED = ("-k", "0", "--top-p", "0.9", "--temperature", "0.7", "--min-new-tokens", "1")

STRENGTH = Experiment(
    name="arplus-strength",
    question="How much a persona weighs in a reply can be set by hand. Does a stronger persona say more of itself?",
    rule=(
        "A persona says more of itself if the share of replies with a piece of the speaker's facts is higher at full "
        "strength than at none, with a 95 % interval over speakers above 0. How much of it a reply says of anybody is "
        "counted beside it: `python -m benchmarks.overlap` takes the share of other speakers' facts off."
    ),
    core_hours=1.5,
    rows=(
        ExperimentRow("begun", "first stage", "arplus/strength", scored=False),
        ExperimentRow("both", "both stages", "arplus/strength-alone", start="begun", scored=False),
        *(
            ExperimentRow(name, f"a = {a}", "arplus/strength-alone", run_of="both", scored_with=("--strength", a))
            for name, a in AT.items()
        ),
    ),
    tables=(
        Table("scores", ("attribute-overlap", "ppl"), tuple(AT), ("un-adapted",)),
        Table("decides", ("attribute-overlap", "ppl"), tuple(AT), ("un-adapted",), against=NONE),
    ),
    scored_with=(
        *(*SAMPLED, "--queries", "4", "--replies", "0", "--max-new-tokens", "40"),
        *("--metrics", "ppl,attribute-overlap"),
    ),
    # Of size tiny nobody tells any attributes.
    scored_with_tiny=(
        *(*SAMPLED, "--queries", "1", "--replies", "1", "--personas", "3", "--max-new-tokens", "4"),
        *("--metrics", "ppl"),
    ),
)
