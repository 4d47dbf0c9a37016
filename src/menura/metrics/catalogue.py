"""The metrics there are, by name."""

from collections.abc import Sequence
from difflib import get_close_matches

from menura.errors import ConfigError, Problem, shown
from menura.metrics.bleu import Bleu
from menura.metrics.consistency import ConsistencyMean, ConsistencySum, Contradictions
from menura.metrics.distinct import Distinct
from menura.metrics.emoji import EmojiAccuracy
from menura.metrics.hits import HitsAtOne, LikelihoodHitsAtOne, MeanReciprocalRank
from menura.metrics.perplexity import Perplexity
from menura.metrics.score import Metric
from menura.metrics.word_f1 import WordF1

METRICS: dict[str, Metric] = {
    "ppl": Perplexity("token"),
    "ppl-word": Perplexity("word"),
    "bits-per-byte": Perplexity("byte"),
    "f1": WordF1(),
    "dist-1": Distinct(1),
    "dist-2": Distinct(2),
    "bleu": Bleu("bleu", tokenize="13a", smooth="exp"),
    "multi-bleu": Bleu("multi-bleu", tokenize="none", smooth="none"),
    "hits@1": HitsAtOne(),
    "hits@1-likelihood": LikelihoodHitsAtOne(),
    "mrr": MeanReciprocalRank(),
    # Agreement with the persona's facts, by a trained scorer; one by shared words alone has a name of its own.
    "c-score": ConsistencySum(),
    "c-mean": ConsistencyMean(),
    "c-contradictions": Contradictions(),
    "c-score-lexical": ConsistencySum("c-score-lexical", lexical=True),
    # The emoji that a trained classifier would put beside a reply.
    "e-acc": EmojiAccuracy("e-acc"),
    "e-acc-5": EmojiAccuracy("e-acc-5", top=5),
    "e-acc-within": EmojiAccuracy("e-acc-within", within=True),
    # As the tables of PAML and CMAML were made: the mean over dialogues, not over replies.
    "ppl-paml": Perplexity("token", "paml"),
    "multi-bleu-paml": Bleu("multi-bleu-paml", tokenize="none", smooth="none", aggregation="paml"),
}

DEFAULT = ("ppl", "ppl-word", "bits-per-byte", "f1", "dist-1", "dist-2", "bleu", "hits@1")


def named(names: Sequence[str] = DEFAULT) -> tuple[Metric, ...]:
    """Return the metrics of these names, in this order; raises ConfigError that lists every unknown name."""
    unknown = [_unknown(name) for name in names if name not in METRICS]
    if unknown:
        raise ConfigError.of(unknown)
    return tuple(METRICS[name] for name in names)


def _unknown(name: str) -> Problem:
    near = get_close_matches(name.lower(), METRICS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(METRICS)}"
    return Problem(ConfigError.code, f"unknown metric {shown(name)}", hint=hint)
