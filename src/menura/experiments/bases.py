"""Two bases, bare, prepared by ``menura base prepare`` and adapted, in bits a byte: what their tokenizers share."""

from menura.experiments.experiment import Experiment, ExperimentRow, Table

NAMES = {"smollm2-135m": "SmolLM2-135M-Instruct", "gemma3-270m": "Gemma 3 270M"}
ON_TINY = ("model.base=tiny", "model.init_from=", "data.max_turns=8")

BASES = Experiment(
    name="bases",
    question="What do preparing a base and adapting it to a person give, on an instruction model and on a bare one?",
    rule=(
        "Described, nothing decided: validation speakers, on whom the learning rate of preparing was chosen too. "
        "`menura base prepare NAME` comes before, for each base."
    ),
    core_hours=1,
    rows=tuple(
        ExperimentRow(name, title, "prepared", (f"model.base={name}",), ON_TINY, trains=False)
        for name, title in NAMES.items()
    ),
    tables=(
        Table(
            "bits",
            ("bits-per-byte", "ppl"),
            tuple(NAMES),
            ("base", "un-adapted", "wrong persona", "adapted"),
            beside=("costs",),
        ),
    ),
    scored_with=("--split", "valid", "-k", "5", "--metrics", "bits-per-byte,ppl"),
    scored_with_tiny=(
        "--split",
        "valid",
        "-k",
        "1",
        "--queries",
        "1",
        "--personas",
        "2",
        "--metrics",
        "bits-per-byte,ppl",
    ),
)
