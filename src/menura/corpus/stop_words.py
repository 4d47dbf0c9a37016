"""Words that say little about anything: those left out of knowledge scores, and those that METEOR's score counts less.

Both lists are Menura's own; a score depends on them, so its signature holds their hash.
"""

import hashlib

ARTICLES = "a an the this that these those such each every another any some all both no"
PRONOUNS = """i me my mine myself we us our ours you your yours yourself he him his himself she her hers herself it its
itself they them their theirs themselves one who whom whose which what something anything nothing everything someone
everyone"""
AUXILIARIES = """am is are was were be been being do does did doing done have has had having can could will would shall
should may might must cannot let"""
CONTRACTED = """i'm i've i'd i'll you're you've you'd you'll he's she's it's it'll we're we've we'll they're they've
they'll that's there's what's who's how's let's don't doesn't didn't isn't aren't wasn't weren't haven't hasn't can't
couldn't won't wouldn't shouldn't n't 's 'm 're 've 'd 'll"""
PREPOSITIONS = """about above across after against along among around as at before behind below beside between by down
during for from in inside into near of off on onto out over past per since through to toward under until up upon with
within without"""
CONJUNCTIONS = "and but or nor so yet if then than because while although though unless whether when where why how"
ADVERBS = """not very too also just only even still again ever never always often sometimes usually really quite almost
maybe here there now soon already away well yes yeah oh hi hello hey okay ok sure much many more most lot lots other own
same"""
# Words of liking and the like, which identify nobody in a sentence about a person.
LIKING = """like likes love loves enjoy enjoys favorite favourite great good nice cool fun work works want get got go
going know think thing things"""
SIGNS = """. , ! ? ; : - ' " ( ) / & … ` * _ b c d e f g h j k l m n o p q r s t u v w x y z"""

STOP_WORDS = frozenset(
    " ".join((ARTICLES, PRONOUNS, AUXILIARIES, CONTRACTED, PREPOSITIONS, CONJUNCTIONS, ADVERBS, LIKING, SIGNS)).split()
)
# The commonest words of English text and its signs: together about half of what is written.
FUNCTION_WORDS = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "because",
        "been",
        "but",
        "by",
        "can",
        "could",
        "for",
        "from",
        "had",
        "has",
        "have",
        "he",
        "her",
        "his",
        "i",
        "if",
        "in",
        "into",
        "is",
        "it",
        "its",
        "not",
        "of",
        "on",
        "one",
        "or",
        "our",
        "out",
        "over",
        "she",
        "so",
        "some",
        "than",
        "that",
        "the",
        "their",
        "them",
        "there",
        "these",
        "they",
        "this",
        "to",
        "two",
        "up",
        "was",
        "we",
        "were",
        "what",
        "when",
        "which",
        "who",
        "will",
        "with",
        "would",
        "you",
        "your",
        "about",
        "after",
        "all",
        "also",
        "do",
        "first",
        "last",
        "more",
        "most",
        "new",
        "no",
        "only",
        "other",
        "said",
        "us",
        ".",
        ",",
        "!",
        "?",
        ";",
        ":",
        "-",
        "'",
        '"',
        "(",
        ")",
        "'",
        "'s",
    ]
)


def hash_of(words: frozenset[str]) -> str:
    """Return a short hash of a list, whatever its order."""
    return hashlib.sha256("\n".join(sorted(words)).encode()).hexdigest()[:8]
