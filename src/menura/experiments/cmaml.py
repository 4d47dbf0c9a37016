"""CMAML's table 1 on Persona-Chat (Song et al., 2020): do personas profit from a mask of their own?"""

from menura.experiments.experiment import Experiment, Row, Table

SEEDS = 3  # of the pair that decides
FINETUNED = ("--set", "method=finetune", "--set", "method.inner.lr=0.01")  # a pooled row's line "adapted" is its -F row
MORE_STEPS = ("outer.steps=150", "outer.meta_batch_size=4")  # what the CMAML rows train beyond MAML's
FIGURES = ("ppl", "multi-bleu", "dist-1", "c-score")
AS_PRINTED = ("PPL", "BLEU", "Dist-1", "C score")

PERSONACHAT = Experiment(
    name="cmaml",
    question="Does a network with a mask of each persona (CMAML) beat MAML that has had as many steps?",
    rule=(
        "CMAML beats the control if its perplexity, adapted, is below that of MAML-Seq2SPG with as many steps, and the "
        "95 % interval of the paired difference over personas and three seeds excludes 0; it is worse if the interval "
        "lies above 0; otherwise nothing is shown. C score, BLEU and Dist are reported and decide nothing."
    ),
    core_hours=6,
    rows=(
        Row("maml_seq2spg", "MAML-Seq2SPG", "cmaml/maml_seq2spg", seeds=SEEDS),
        Row(
            "maml_seq2spg_more",
            "MAML-Seq2SPG, 150 steps more",
            "cmaml/maml_seq2spg",
            MORE_STEPS,
            start="maml_seq2spg",
            seeds=SEEDS,
        ),
        Row("cmaml_seq2spg", "CMAML-Seq2SPG", "cmaml/cmaml_seq2spg", start="maml_seq2spg", seeds=SEEDS),
        Row("seq2spg", "Seq2SPG", "cmaml/seq2spg", scored_with=FINETUNED),
        Row("maml_seq2seq", "MAML-Seq2seq", "cmaml/maml_seq2seq"),
        Row("seq2seq", "Seq2seq", "cmaml/seq2seq", scored_with=FINETUNED),
        Row("speaker", "Speaker", "cmaml/speaker", scored_with=FINETUNED),
        Row("maml_seq2spg_prime", "MAML-Seq2SP′G", "cmaml/maml_seq2spg", ("model.reads=state",)),
        Row(
            "cmaml_seq2spg_prime",
            "CMAML-Seq2SP′G",
            "cmaml/cmaml_seq2spg_prime",
            start="maml_seq2spg_prime",
        ),
    ),
    tables=(
        Table(
            "scores",
            FIGURES,
            ("maml_seq2spg", "maml_seq2spg_more", "cmaml_seq2spg", "maml_seq2seq", "cmaml_seq2spg_prime"),
            ("un-adapted", "wrong persona", "adapted"),
        ),
        Table(
            "not-adapted",
            FIGURES,
            ("seq2seq", "speaker", "seq2spg"),
            ("un-adapted",),
            paper_columns=AS_PRINTED,
            paper={
                "seq2seq": ("37.91", "1.27", "0.0019", "−0.16"),
                "speaker": ("40.17", "1.25", "0.0037", "−0.14"),
                "seq2spg": ("36.46", "1.41", "0.0023", "−0.14"),
            },
        ),
        Table(
            "adapted",
            FIGURES,
            (
                *("seq2seq", "speaker", "seq2spg", "maml_seq2seq", "maml_seq2spg", "maml_seq2spg_more"),
                *("cmaml_seq2spg_prime", "cmaml_seq2spg"),
            ),
            ("adapted",),
            paper_columns=AS_PRINTED,
            paper={
                "seq2seq": ("33.65", "1.56", "0.0046", "−0.05"),
                "speaker": ("35.61", "1.52", "0.0059", "0.03"),
                "seq2spg": ("32.68", "1.54", "0.0045", "−0.05"),
                "maml_seq2seq": ("37.43", "1.54", "0.0087", "0.14"),
                "maml_seq2spg": ("35.89", "1.70", "0.0074", "0.16"),
                "cmaml_seq2spg_prime": ("37.32", "1.43", "0.0089", "0.15"),
                "cmaml_seq2spg": ("36.30", "1.70", "0.0097", "0.18"),
            },
        ),
        Table(
            "decides",
            ("ppl", "c-score"),
            ("maml_seq2spg", "maml_seq2spg_more", "cmaml_seq2spg"),
            ("adapted",),
            against="maml_seq2spg_more",
        ),
    ),
    scored_with=(
        *("-k", "3", "--protocol", "leave-one-out", "--queries", "1"),
        *("--metrics", "ppl,ppl-paml,multi-bleu,multi-bleu-paml,dist-1,dist-2,c-score,c-mean,c-contradictions"),
        *("--epochs", "1,2,4", "--num-beams", "5", "--max-new-tokens", "20"),
    ),
    scored_with_tiny=(
        *("-k", "2", "--protocol", "leave-one-out", "--queries", "1", "--personas", "3", "--epochs", "1,2"),
        *("--metrics", "ppl,multi-bleu,dist-1", "--replies", "1", "--max-new-tokens", "4"),
    ),
)
