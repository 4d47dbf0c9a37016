"""A character card is read like a chat: its example dialogues are learnt from, the rest tells who the persona is."""

from collections.abc import Iterator

from menura.corpus.chats.cards.card import looks_like_card, read_card
from menura.corpus.chats.cards.sillytavern import REPLACED
from menura.corpus.chats.cards.writing import as_v3
from menura.corpus.chats.chat_file import ChatFile
from menura.corpus.chats.message import Event, Message, Notes, Start
from menura.corpus.source import MIB

CARD_LIMIT = 16 * MIB  # with its picture


def looks_like(head: str, name: str) -> str:
    """Return why ``head`` is a card's, else empty; ``name`` is the file's. A PNG's or CHARX's text does not show it."""
    return looks_like_card(head)


def messages(file: ChatFile, notes: Notes) -> Iterator[Event]:
    """Yield the example dialogues; facts, first lines and whose persona it is are noted, be there examples or none."""
    card = read_card(file.content(CARD_LIMIT), file.name)
    for problem in card.warnings:
        notes.add(problem)
    notes.persona, notes.card = card.character, as_v3(card)
    notes.facts[card.character] = card.facts
    notes.first_lines += card.greetings
    if card.replaced:
        notes.changed[REPLACED] += card.replaced
    number = 0
    for turns in card.examples:
        yield Start()
        for speaker, text in turns:
            number += 1
            yield Message(speaker, text, number)
