"""A task: one persona and the dialogues it speaks in."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from menura.corpus.dialogue import Dialogue, Profile, Turn


@dataclass(frozen=True)
class Exchange:
    """One training example: the context, and the persona's reply.

    ``speaker`` is the persona's name inside this dialogue (``reply.speaker``); ``candidates`` are the replies
    to choose from that a data set gives, empty where it gives none; ``profiles`` are the attributes of everybody in the
    dialogue, by name.
    """

    dialogue_id: str
    context: tuple[Turn, ...]
    reply: Turn
    facts: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    profiles: Mapping[str, Profile] = field(default_factory=dict, hash=False)

    def as_remembered(self) -> "Exchange":
        """Return what a memory keeps: the turn that was answered and the reply."""
        return Exchange(self.dialogue_id, self.context[-1:], self.reply)


@dataclass(frozen=True)
class DialogueView:
    """One dialogue from the view of one persona: ``speaker`` is its name there.

    ``unread`` are facts that no model reads, kept for scoring what is said.
    """

    dialogue: Dialogue
    speaker: str
    unread: tuple[str, ...] = ()

    @property
    def facts(self) -> tuple[str, ...]:
        """The persona's facts in this dialogue, read or not."""
        return self.dialogue.facts.get(self.speaker, ()) or self.unread

    def exchanges(self) -> Iterator[Exchange]:
        """Yield one exchange per reply of the persona that has something to reply to."""
        dialogue = self.dialogue
        for index, turn in enumerate(dialogue.turns):
            if index and turn.speaker == self.speaker and index not in dialogue.context_only:
                yield Exchange(
                    dialogue.dialogue_id,
                    dialogue.turns[:index],
                    turn,
                    dialogue.facts.get(self.speaker, ()),
                    dialogue.candidates.get(index, ()),
                    dialogue.profiles,
                )


@dataclass(frozen=True)
class Task:
    """All dialogues of one persona, in the order of the files; ``facts`` are its profile sentences."""

    persona_id: str
    dialogues: tuple[DialogueView, ...]
    facts: tuple[str, ...] = ()

    @property
    def dialogue_ids(self) -> frozenset[str]:
        """The ids of the task's dialogues; two personas that talked together share some."""
        return frozenset(part.dialogue.dialogue_id for part in self.dialogues)
