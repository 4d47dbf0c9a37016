"""The metrics by name."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from menura.corpus.segmentation import UNBLANKED
from menura.errors import ConfigError, Problem, shown
from menura.metrics import meteor_jar
from menura.metrics.attribute_overlap import AttributeOverlap
from menura.metrics.bleu import Bleu
from menura.metrics.cider import CiderD
from menura.metrics.coco import CocoBleu
from menura.metrics.consistency import ConsistencyMean, ConsistencySum, Contradictions
from menura.metrics.distinct import Distinct, DistinctWithin
from menura.metrics.emoji import EmojiAccuracy
from menura.metrics.hits import HitsAtOne, LikelihoodHitsAtOne, MeanReciprocalRank
from menura.metrics.knowledge import Knowledge
from menura.metrics.latent import LatentInformation
from menura.metrics.meteor import MeteorExactStem
from menura.metrics.perplexity import Perplexity
from menura.metrics.recalled_facts import RecalledFacts
from menura.metrics.reference_metrics import ReferenceBleu, ReferenceDistinct, ReferenceF1, ReferencePerplexity
from menura.metrics.rouge import RougeL
from menura.metrics.score import Metric
from menura.metrics.smoothed_bleu import SmoothedBleu
from menura.metrics.style import OwnWords, StyleDistance
from menura.metrics.whose_reply import WhoseReply
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
    # As PLATO's tables of Persona-Chat and DailyDialog were made, and those two of a model with a latent act.
    "bleu-1-chencherry": SmoothedBleu(1),
    "bleu-2-chencherry": SmoothedBleu(2),
    "dist-1-intra": DistinctWithin(1),
    "dist-2-intra": DistinctWithin(2),
    "dist-2-words": Distinct(2, per="words"),
    "knowledge-recall": Knowledge("recall"),
    "knowledge-precision": Knowledge("precision"),
    "knowledge-f1": Knowledge("f1"),
    "ppl-char": Perplexity("char"),
    "ppl-posterior": Perplexity("token", of="posterior"),
    "ppl-best": Perplexity("token", of="best"),
    "latent-information": LatentInformation(),
    # As the table of AVSD was made: the COCO caption tools, without their tokeniser.
    "coco-bleu-1": CocoBleu(1),
    "coco-bleu-2": CocoBleu(2),
    "coco-bleu-3": CocoBleu(3),
    "coco-bleu-4": CocoBleu(4),
    "rouge-l": RougeL(),
    "cider-d": CiderD(),
    "meteor-exact-stem": MeteorExactStem(),
    # For text without blanks between words, and how often a reply contains facts of its speaker.
    "f1-char": WordF1("char"),
    "bleu-char": Bleu("bleu-char", tokenize="char", smooth="exp"),
    "dist-1-char": Distinct(1, cut="char"),
    "dist-2-char": Distinct(2, cut="char"),
    "attribute-overlap": AttributeOverlap(),
    # Of questions after what the person said of themselves (--ask-facts): whether the reply knows.
    "recalled-facts": RecalledFacts(),
    # Which persona wrote a reply, by a classifier that is trained on the personas' other dialogues.
    "whose-reply": WhoseReply(),
    # How near replies are to the person's held-out turns in what does not depend on the subject.
    "style-length": StyleDistance("length"),
    "style-capitals": StyleDistance("capitals"),
    "style-punctuation": StyleDistance("punctuation"),
    "style-emoji": StyleDistance("emoji"),
    "own-words": OwnWords(),
    # As the tables of AR and AR+ were made: of little worth but beside those.
    "ppl-release-sum": ReferencePerplexity(),
    "f1-release-macro": ReferenceF1(),
    "bleu-release-padded": ReferenceBleu(),
    "dist-1-release": ReferenceDistinct(length=1),
    "dist-2-release": ReferenceDistinct(length=2),
}
# By a program that Menura does not ship: there where it is installed, and never replaced by another.
BY_PROGRAM: dict[str, Metric] = {"meteor": meteor_jar.Meteor()}

DEFAULT = ("ppl", "ppl-word", "bits-per-byte", "f1", "dist-1", "dist-2", "bleu", "hits@1")
# The same of text without blanks, of which a whole sentence would be one word.
BY_CHARACTERS = ("ppl", "ppl-char", "bits-per-byte", "f1-char", "dist-1-char", "dist-2-char", "bleu-char", "hits@1")


def usual(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the metrics for texts where none are named: by words, or by characters where most are of such scripts."""
    letters = unblanked = 0
    for text in texts:
        letters += sum(map(str.isalpha, text))
        unblanked += len(UNBLANKED.findall(text))
    return BY_CHARACTERS if 2 * unblanked > letters else DEFAULT


def named(names: Sequence[str] = DEFAULT) -> tuple[Metric, ...]:
    """Return the metrics of these names, in this order.

    Raises ConfigError that lists every unknown name, or says what ``meteor`` lacks on this machine.
    """
    known = {**METRICS, **BY_PROGRAM}
    unknown = [_unknown(name) for name in names if name not in known]
    if unknown:
        raise ConfigError.of(unknown)
    if any(name in BY_PROGRAM for name in names):
        meteor_jar.jar()
    return tuple(known[name] for name in names)


def _unknown(name: str) -> Problem:
    known = [*METRICS, *BY_PROGRAM]
    near = get_close_matches(name.lower(), known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
    return Problem(ConfigError.code, f"unknown metric {shown(name)}", hint=hint)
