"""What people say of themselves, found by written rules, as questions whose answers a persona should recall.

A rule is a pattern of a statement ("i live in …") and the question that it answers ("where do you live?"). The rules
are few and strict: they are there to count how much is recalled, not to find all that is said.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from menura.corpus.dialogue import Turn
from menura.tasks.task import Exchange

ASKER = "you"
_THING = r"([^.,!?;:()\n]{3,48})"  # to the end of the clause
_COUNT = r"(?:an?|one|two|three|four|five|\d)"
_KIN = r"(?:(?:older|younger|little|big|twin) )?(?:brother|sister|sibling)s?"
_PETS = r"(?:\w+ )?(?:cat|dog|puppy|kitten|hamster|bird|parrot|rabbit|fish|turtle|horse|snake)s?"
_JOBS = (
    r"student|teacher|nurse|engineer|developer|programmer|writer|artist|musician|manager|designer|doctor|lawyer|chef"
)
# In lower case, curly apostrophes as straight ones.
RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), question)
    for pattern, question in (
        (r"\bmy name(?:'s| is) (\w{2,20})", "what is your name?"),
        (rf"\bi(?:'m| am) (?:originally |actually )?from {_THING}", "where are you from?"),
        (rf"\bi live (?:in|at|near) {_THING}", "where do you live?"),
        (rf"\bi work (?:as|at|for|in|with) {_THING}", "where do you work?"),
        (rf"\bi(?:'m| am) (?:studying|majoring in) {_THING}", "what do you study?"),
        (rf"\bi study {_THING}", "what do you study?"),
        (rf"\bmy major is {_THING}", "what is your major?"),
        (r"\bi(?:'m| am) (\d{2})(?: years old)?(?= years|[.,!?\n]|$)", "how old are you?"),
        (rf"\bi have ({_COUNT} {_PETS})\b", "do you have any pets?"),
        (rf"\bi have ({_COUNT} {_KIN})\b", "do you have any siblings?"),
        (rf"\bi play (?:the )?{_THING}", "what do you play?"),
        (rf"\bi grew up (?:in|on|near) {_THING}", "where did you grow up?"),
        (rf"\bi(?: just)? moved to {_THING}", "where did you move?"),
        (rf"\bi(?:'m| am) (?:currently )?learning {_THING}", "what are you learning?"),
        (rf"\bi(?:'m| am) (?:really |pretty |mostly )?into {_THING}", "what are you into?"),
        (rf"\bi(?:'m| am) an? (?:\w+ )?({_JOBS})\b", "what do you do for a living?"),
        (rf"\bi speak {_THING}", "what languages do you speak?"),
        (rf"\bmy fav(?:ou?rite)? (\w{{3,20}})(?: of all time)? (?:is|are) {_THING}", "what is your favorite {0}?"),
    )
)


@dataclass(frozen=True)
class StatedFact:
    """A person's statement of themselves: the question that it answers, the answer, and where it was said."""

    question: str
    answer: str
    source: Exchange

    @property
    def asked(self) -> Exchange:
        """The question as an exchange whose reply is the answer, outside of any dialogue."""
        reply = Turn(self.source.reply.speaker, self.answer)
        return Exchange(f"fact:{self.source.dialogue_id}", (Turn(ASKER, self.question),), reply)


def stated_facts(exchanges: Iterable[Exchange]) -> list[StatedFact]:
    """Return what is said in the replies, in their order; of each question the first answer alone."""
    found: dict[str, StatedFact] = {}
    for exchange in exchanges:
        for question, answer in _stated_in(exchange.reply.text):
            found.setdefault(question, StatedFact(question, answer, exchange))
    return list(found.values())


def _stated_in(text: str) -> Iterator[tuple[str, str]]:
    text = text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    for pattern, question in RULES:
        for match in pattern.finditer(text):
            *named, answer = match.groups()
            yield question.format(*named), answer.strip()
