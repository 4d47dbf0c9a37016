"""A chat that was held here becomes dialogues, of which only good turns of the persona are learnt."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from menura.corpus.dialogue import Dialogue, Turn
from menura.errors import DataError

USER, PARTNER = "user", "partner"  # how the person is called; the other one where the persona is called ``user``
SESSION_TURNS = 8  # of a dialogue: a chat has no other borders
Messages = Sequence[Mapping[str, Any]]


def chat_dialogues(chat: Mapping[str, Any], messages: Messages, *, only_good: bool) -> list[Dialogue]:
    """Return a chat as dialogues of at most eight turns; turns that are not to be learnt are context alone.

    With ``only_good`` turns that were rated good are learnt, else all but those that were rated bad. One that was cut
    short is never learnt. Raises DataError ``empty`` where nothing is to be learnt.
    """
    made = []
    for number, session in enumerate(_sessions(messages), start=1):
        turns, context_only = _turns(chat["persona"], session, only_good=only_good)
        learnt = [index for index in range(1, len(turns)) if turns[index].speaker == chat["persona"]]
        if set(learnt) - context_only:
            dialogue_id = f"{chat['id']}-{number}"
            made.append(Dialogue(dialogue_id, turns, context_only=frozenset(context_only)))
    if not made:
        message = "no reply of the persona was rated good" if only_good else "no reply of the persona to learn from"
        raise DataError(message, hint="rate replies as good first" if only_good else "", code="empty")
    return made


def chat_text(chat: Mapping[str, Any], messages: Messages) -> str:
    """Return a chat as lines of ``Name: text``; further lines of a message are indented."""
    return "".join(f"{_speaker(chat['persona'], one)}: {one['text']}".replace("\n", "\n  ") + "\n" for one in messages)


def _sessions(messages: Messages) -> Iterator[list[Mapping[str, Any]]]:
    """Yield the messages in parts that begin with one of the person."""
    session: list[Mapping[str, Any]] = []
    for message in messages:
        if not message["text"].strip():
            continue
        if len(session) >= SESSION_TURNS and message["role"] == "user":
            yield session
            session = []
        session.append(message)
    if session:
        yield session


def _turns(persona: str, session: Sequence[Mapping[str, Any]], *, only_good: bool) -> tuple[tuple[Turn, ...], set[int]]:
    """Return the turns, what one side says in a row joined, and the indices of those that are context alone."""
    turns: list[Turn] = []
    context_only: set[int] = set()
    for message in session:
        speaker = _speaker(persona, message)
        if turns and turns[-1].speaker == speaker:
            turns[-1] = Turn(speaker, f"{turns[-1].text}\n{message['text']}")
        else:
            turns.append(Turn(speaker, message["text"]))
        good = message["rating"] == "good" or (not only_good and message["rating"] is None)
        if message["role"] == "persona" and not (good and message["finished"]):
            context_only.add(len(turns) - 1)
    return tuple(turns), context_only


def _speaker(persona: str, message: Mapping[str, Any]) -> str:
    if message["role"] == "persona":
        return persona
    return USER if persona.casefold() != USER else PARTNER
