"""Training dialogues get what a persona with a memory would read before them: exchanges of its other dialogues."""

import random
from collections.abc import Sequence

from menura.batches.encode import EncodedDialogue, Encoder
from menura.memory.recall import memory_of
from menura.training.data import EncodedTask

OTHERS = 5  # dialogues remembered at most: as many as a persona usually learns from
FEWEST = 3  # with fewer, next to nothing fits, and what does not fit would teach to overlook a memory


def with_recalled(
    tasks: Sequence[EncodedTask], encoder: Encoder, *, tokens: int, share: float, seed: int
) -> list[EncodedTask]:
    """Return tasks in which a ``share`` of the dialogues is read with at most ``tokens`` tokens of recalled exchanges.

    Personas with fewer than three other dialogues stay as they are. Such a dialogue is left with its exchanges from one
    of them on, drawn at random. What fits that one is recalled from up to five other dialogues of the persona, and
    stands before all that follow, so that they are read in one pass. To recall by a later exchange would tell an
    earlier one what is to come.
    """
    return [
        EncodedTask(task.persona_id, tuple(_read_with_memory(task, encoder, tokens=tokens, share=share, seed=seed)))
        for task in tasks
    ]


def _read_with_memory(
    task: EncodedTask, encoder: Encoder, *, tokens: int, share: float, seed: int
) -> list[EncodedDialogue]:
    made = []
    for place, dialogue in enumerate(task.dialogues):
        rng = random.Random(f"{seed}:recalled:{task.persona_id}:{place}")
        others = [other for other in task.dialogues if other[0].dialogue_id != dialogue[0].dialogue_id]
        if len(others) >= FEWEST and rng.random() < share:
            dialogue = _after_recalled(dialogue, rng.sample(others, min(OTHERS, len(others))), encoder, tokens, rng)
        made.append(dialogue)
    return made


def _after_recalled(
    dialogue: EncodedDialogue, others: Sequence[EncodedDialogue], encoder: Encoder, tokens: int, rng: random.Random
) -> EncodedDialogue:
    """Return the end of a dialogue after what is recalled of others; the dialogue itself where nothing is."""
    rest = dialogue[rng.randrange(len(dialogue)) :]
    asked = rest[0].source
    recalled = memory_of(others).recalled(asked.context, encoder, tokens) if asked else ()
    if not recalled:
        return dialogue
    return tuple(encoder.after(exchange, recalled, encoder.max_length) for exchange in rest)
