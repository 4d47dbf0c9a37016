"""MAMLviaPP's table on Persona-Chat: does meta-learning need a pre-trained model, and such a one meta-learning?"""

from menura.experiments.experiment import Experiment, ExperimentRow, Table

SEEDS = 3  # of the pairs that decide
FIGURES = ("ppl", "ppl-word", "f1", "hits@1")
SMALL = ("reinit", "pretrained", "reinit_maml", "pretrained_maml", "pretrained_maml_exact")
SWEPT = ("-k", "1,3,5,10", "--metrics", "ppl,ppl-word")  # of those who have eleven dialogues
SWEPT_ROWS = (
    ("extra_place", "extra-place"),
    ("extra_place_pooled", "adapters, pooled"),
    ("extra_place_unfixed", "extra-place, base not fixed"),
)
QUOTED = ("transfer_transfo", "transfer_transfo_lm", "p2_bot", "p2_bot_lm")
LARGE = (
    *("transfer", "transfer_tuned", "in_place", "extra_place_pooled", "extra_place", "extra_place_sgd"),
    *("extra_place_unfixed", "extra_place_special"),
)

PRINTED = {  # Table 3 of the paper: PPL, Hits@1 and F1; the quoted ones are of another split, with its own candidates
    "reinit": ("72.36", "7.8", "8.21"),
    "transfer": ("27.35", "10.9", "11.32"),
    "reinit_maml": ("57.79", "10.1", "10.41"),
    "in_place": ("14.10", "13.2", "15.93"),
    "extra_place_unfixed": ("23.79", "11.7", "12.55"),
    "extra_place": ("13.21", "16.4", "19.38"),
    "transfer_transfo": ("17.51", "82.2", "19.09"),
    "p2_bot": ("15.12", "81.9", "19.77"),
    "p2_bot_lm": ("–", "17.6", "18.11"),
}
COLUMNS = ("PPL", "Hits@1", "F1")

PERSONACHAT = Experiment(
    name="mamlviapp",
    question=(
        "Does pre-training help MAML as much as the paper says (one network, random or pre-trained), does MAML on "
        "adapters beside a frozen base (extra-place) beat pooled training, and is fixing the base needed?"
    ),
    rule=(
        "A row beats another one if the 95 % interval of the paired difference of perplexity per word, adapted, over "
        "personas and three seeds excludes 0; otherwise nothing is shown. Rows of one network have as many steps of as "
        "many dialogues."
    ),
    core_hours=10,
    rows=(
        ExperimentRow("pretrain", "pre-training", "mamlviapp/pretrain", scored=False),
        ExperimentRow("extra_place", "extra-place", "mamlviapp/extra_place", seeds=SEEDS),
        ExperimentRow(
            "extra_place_pooled",
            "adapters, pooled",
            "mamlviapp/extra_place",
            ("method=finetune",),
            seeds=SEEDS,
        ),
        ExperimentRow("reinit", "small, random", "mamlviapp/reinit", seeds=SEEDS),
        ExperimentRow("pretrained", "small, pre-trained", "mamlviapp/reinit", start="pretrain", seeds=SEEDS),
        ExperimentRow(
            "extra_place_unfixed",
            "extra-place, base not fixed",
            "mamlviapp/extra_place_unfixed",
            seeds=SEEDS,
        ),
        ExperimentRow("reinit_maml", "small, random, MAML", "mamlviapp/reinit_maml"),
        ExperimentRow("pretrained_maml", "small, pre-trained, MAML", "mamlviapp/reinit_maml", start="pretrain"),
        ExperimentRow("in_place", "in-place", "mamlviapp/in_place"),
        ExperimentRow(
            "pretrained_maml_exact",
            "small, pre-trained, MAML, exact",
            "mamlviapp/reinit_maml",
            ("method.order=exact",),
            start="pretrain",
        ),
        ExperimentRow(
            "extra_place_sgd", "extra-place, SGD inside", "mamlviapp/extra_place", ("method.inner.optimizer=sgd",)
        ),
        ExperimentRow("transfer_tuned", "transfer, AdamW", "mamlviapp/transfer_tuned"),
        ExperimentRow("transfer", "transfer, Adam", "mamlviapp/transfer"),
        ExperimentRow(
            "extra_place_special",
            "extra-place, special tokens",
            "mamlviapp/extra_place",
            ("model.chat_format=special",),
        ),
        *(
            ExperimentRow(
                f"{name}-k",
                title,
                "mamlviapp/extra_place",
                run_of=name,
                scored_with=SWEPT,
            )
            for name, title in SWEPT_ROWS
        ),
        ExperimentRow("transfer_transfo_lm", "TransferTransfo without its head", "quoted/transfer_transfo_lm"),
        ExperimentRow("transfer_transfo", "TransferTransfo", "quoted/transfer_transfo"),
        ExperimentRow("p2_bot_lm", "P² Bot without its head", "quoted/p2_bot_lm"),
        ExperimentRow("p2_bot", "P² Bot", "quoted/p2_bot"),
    ),
    tables=(
        Table("controls", ("ppl", "ppl-word"), (*SMALL, *LARGE), ("un-adapted", "wrong persona", "adapted")),
        Table("scores", FIGURES, (*SMALL, *LARGE, *QUOTED), ("adapted",), "", COLUMNS, PRINTED),
        Table(
            "decides",
            ("ppl-word",),
            ("extra_place", "extra_place_unfixed", "extra_place_pooled"),
            against="extra_place_pooled",
        ),
        Table("pre-trained", ("ppl-word", "ppl"), ("reinit", "pretrained"), against="reinit"),
        Table("pre-trained-maml", ("ppl-word", "ppl"), ("reinit_maml", "pretrained_maml"), against="reinit_maml"),
        Table("order", ("ppl-word",), ("pretrained_maml", "pretrained_maml_exact"), against="pretrained_maml"),
        Table("inner", ("ppl-word",), ("extra_place", "extra_place_sgd"), against="extra_place"),
        Table("sequence", ("ppl-word",), ("extra_place", "extra_place_special"), against="extra_place"),
        Table("k-shot", ("ppl-word",), tuple(f"{name}-k" for name, _ in SWEPT_ROWS), ("un-adapted", "adapted")),
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
