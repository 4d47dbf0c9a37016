"""Exchanges of a dialogue begin alike: those that one sequence holds are read once, after others if asked for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from menura.batches.encode import EncodedDialogue, EncodedExchange, Encoder


@dataclass(frozen=True)
class Reading:
    """A sequence of tokens, and where the labels of replies stand in it, exchange by exchange."""

    ids: tuple[int, ...]
    places: tuple[int, ...]  # of the token before each label
    labels: tuple[int, ...]
    exchanges: tuple[int, ...]  # their places in the dialogue, whose labels follow one another


def readings(
    encoder: Encoder,
    dialogue: Sequence[EncodedExchange],
    before: Sequence[EncodedDialogue],
    skip: int,
    room: int,
) -> Iterator[Reading]:
    """Yield sequences that together hold all exchanges, after the dialogues ``before`` in ``room`` tokens.

    Of each sequence the first ``skip`` tokens, which all have in common, are left out: they have been read.
    """
    common = encoder.after(dialogue[0], before, room).ids[:skip]
    left = sorted(range(len(dialogue)), key=lambda place: len(dialogue[place].ids), reverse=True)
    while left:
        longest = dialogue[left[0]]
        inside = [place for place in left if longest.ids[: len(dialogue[place].ids)] == dialogue[place].ids]
        whole = encoder.after(longest, before, room).ids
        assert whole[:skip] == common, "every exchange reads the same beginning"
        further = len(whole) - len(longest.ids)
        labels = [
            at + further for place in inside for at in range(len(dialogue[place].prefix), len(dialogue[place].ids))
        ]
        yield Reading(
            tuple(whole[skip:]), tuple(at - 1 - skip for at in labels), tuple(whole[at] for at in labels), tuple(inside)
        )
        left = [place for place in left if place not in inside]
