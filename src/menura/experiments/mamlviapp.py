"""MAMLviaPP's table on Persona-Chat: does meta-learning help a model that is pre-trained?"""

from menura.experiments.experiment import Experiment, ExperimentRow, Table

SEEDS = 3  # of the pairs that decide
FIGURES = ("ppl", "ppl-word", "f1", "hits@1")

PERSONACHAT = Experiment(
    name="mamlviapp",
    question="Does MAML on adapters beside a frozen base (extra-place) beat pooled training, and fixing the base not?",
    rule=(
        "A row beats another one if the 95 % interval of the paired difference of perplexity per word, adapted, over "
        "personas and three seeds excludes 0; otherwise nothing is shown."
    ),
    core_hours=10,
    rows=(
        ExperimentRow("extra_place", "extra-place", "mamlviapp/extra_place", seeds=SEEDS),
        ExperimentRow(
            "extra_place_pooled",
            "adapters, pooled",
            "mamlviapp/extra_place",
            ("method=finetune",),
            seeds=SEEDS,
        ),
        ExperimentRow(
            "extra_place_unfixed", "extra-place, base not fixed", "mamlviapp/extra_place_unfixed", seeds=SEEDS
        ),
        ExperimentRow("in_place", "in-place", "mamlviapp/in_place"),
        ExperimentRow("transfer_tuned", "transfer, AdamW", "mamlviapp/transfer_tuned"),
        ExperimentRow("transfer", "transfer, Adam", "mamlviapp/transfer"),
        ExperimentRow("reinit_maml", "re-initialised, MAML", "mamlviapp/reinit_maml"),
        ExperimentRow("reinit", "re-initialised", "mamlviapp/reinit"),
    ),
    tables=(
        Table(
            "scores",
            FIGURES,
            (
                *("reinit", "reinit_maml", "transfer", "transfer_tuned", "in_place", "extra_place_pooled"),
                *("extra_place", "extra_place_unfixed"),
            ),
            ("un-adapted", "wrong persona", "adapted"),
        ),
        Table(
            "decides",
            ("ppl-word",),
            ("extra_place", "extra_place_unfixed", "extra_place_pooled"),
            ("adapted",),
            against="extra_place_pooled",
        ),
    ),
    scored_with=(
        *("-k", "5", "--protocol", "leave-one-out", "--queries", "1", "--personas", "30", "--epochs", "1,2"),
        *("--metrics", "ppl,ppl-word,f1,hits@1"),
    ),
    scored_with_tiny=(
        *("-k", "2", "--protocol", "leave-one-out", "--queries", "1", "--personas", "3"),
        *("--metrics", "ppl,ppl-word,f1,hits@1", "--replies", "1", "--candidates", "2", "--max-new-tokens", "4"),
    ),
)
