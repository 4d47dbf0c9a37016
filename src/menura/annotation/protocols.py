"""What people are asked: the protocols by name, each with its questions, answers and parts."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from menura.errors import ConfigError, shown


@dataclass(frozen=True)
class Answer:
    """One answer: its ``value`` in a sheet, and what it means."""

    value: str
    text: str


@dataclass(frozen=True)
class Question:
    """One question; ``name`` is its column in a sheet. The answers of a rating stand from low to high."""

    name: str
    text: str
    answers: tuple[Answer, ...]

    @property
    def values(self) -> tuple[str, ...]:
        """What a vote may be."""
        return tuple(answer.value for answer in self.answers)


@dataclass(frozen=True)
class StudyPart:
    """Questions that are asked together; what is known of the person is shown with ``shows_person`` alone."""

    name: str
    questions: tuple[Question, ...]
    shows_person: bool


@dataclass(frozen=True)
class Protocol:
    """The parts of a study, one after the other. With ``pairs``, two systems are compared; else each is rated.

    ``needs_person``: nothing can be answered where nothing is known of the person.
    """

    name: str
    parts: tuple[StudyPart, ...]
    pairs: bool
    needs_person: bool
    source: str

    @property
    def questions(self) -> tuple[Question, ...]:
        """The questions of all parts."""
        return tuple(question for part in self.parts for question in part.questions)


def _rating(name: str, text: str, low: str, middle: str, high: str) -> Question:
    return Question(name, text, (Answer("0", low), Answer("1", middle), Answer("2", high)))


def _choice(name: str, text: str) -> Question:
    return Question(name, text, (Answer("A", "Speaker A"), Answer("B", "Speaker B")))


TIE = Answer("tie", "No difference")
CMAML = Protocol(
    "cmaml",
    (
        StudyPart(
            "ratings",
            (
                _rating(
                    "quality",
                    "How good is the reply?",
                    "cannot be understood, or has nothing to do with the dialogue",
                    "has few errors, fits the dialogue in part, or is generic",
                    "fluent, fits the dialogue, and says something",
                ),
                _rating(
                    "consistency",
                    "Does the reply fit the person?",
                    "contradicts what is known of the person",
                    "does not contradict it",
                    "clearly fits it",
                ),
            ),
            shows_person=True,
        ),
    ),
    pairs=False,
    needs_person=True,
    source="CMAML (Song et al., 2020): quality and task consistency",
)
PLATO = Protocol(
    "plato",
    (
        StudyPart(
            "ratings",
            (
                _rating("fluency", "Is the reply smooth and grammatical?", "no", "in part", "yes"),
                _rating(
                    "coherence",
                    "Does the reply fit the dialogue and what is known of the person?",
                    "no",
                    "in part",
                    "yes",
                ),
                _rating("informativeness", "Does the reply say something?", "no", "a little", "much"),
                _rating("overall", "How good is the reply as a whole?", "bad", "acceptable", "good"),
            ),
            shows_person=True,
        ),
    ),
    pairs=False,
    needs_person=False,  # DailyDialog has no persona
    source="PLATO (Bao et al., 2020): fluency, coherence, informativeness, overall",
)
PAIRWISE = Protocol(
    "pairwise",
    (
        # The wording that ACUTE-Eval tested for agreement of raters.
        StudyPart(
            "better",
            (_choice("better", "Who would you prefer to talk to for a long conversation?"),),
            shows_person=False,
        ),
        StudyPart("like", (_choice("like", "Which speaker is more like this person?"),), shows_person=True),
    ),
    pairs=True,
    needs_person=True,
    source="ACUTE-Eval (Li et al., 2019, 1909.03087), its question about engagement; the second question is our own",
)
PROTOCOLS: Mapping[str, Protocol] = {protocol.name: protocol for protocol in (CMAML, PLATO, PAIRWISE)}


def named(name: str, *, ties: bool = False) -> Protocol:
    """Return a protocol by name; ``ties`` lets raters of pairs see no difference.

    Raises ConfigError for an unknown name, and for ties where nothing is compared.
    """
    if name not in PROTOCOLS:
        raise ConfigError(
            f"--protocol {shown(name)}: no such protocol",
            hint=f"--protocol {', --protocol '.join(PROTOCOLS)}",
            code="unknown_protocol",
        )
    protocol = PROTOCOLS[name]
    if not ties:
        return protocol
    if not protocol.pairs:
        raise ConfigError(f"--ties: nothing is compared by {name}", hint="leave --ties out, or --protocol pairwise")
    parts = tuple(
        replace(part, questions=tuple(replace(q, answers=(*q.answers, TIE)) for q in part.questions))
        for part in protocol.parts
    )
    return replace(protocol, parts=parts)
