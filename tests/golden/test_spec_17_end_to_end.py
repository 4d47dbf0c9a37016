"""Spec section 17, end to end: forty made-up users, three private facts each, which nothing but their dialogues tells.

That a resumed training is the uninterrupted one bit for bit is what ``experiments/test_killed_runs.py`` checks.
"""

import random
from collections.abc import Mapping, Sequence
from functools import cache

import pytest
import torch
from counts import count

from menura.adaptation.cmaml import Cmaml
from menura.adaptation.finetune import Finetune, PretrainOnly
from menura.adaptation.inner_loop import InnerLoop
from menura.adaptation.maml import Maml
from menura.adaptation.masked_adam import moving_only
from menura.adaptation.masks import PersonaMask, jaccard
from menura.adaptation.protocol import Adaptation
from menura.adaptation.weights import PersonaWeights, swapped_weights, trainable_parameters
from menura.batches.chat_format import words
from menura.batches.encode import EncodedEpisode, Encoder
from menura.batches.tokenizer import word_tokenizer, words_of
from menura.corpus.dialogue import Dialogue, Turn
from menura.decoding.generate import generate
from menura.decoding.sampling import Greedy
from menura.models.recurrent.seq2spg import Seq2Spg, Seq2SpgConfig
from menura.tasks.episode import first_shots, sample_episode
from menura.tasks.task import DialogueView, Task

pytestmark = pytest.mark.slow

USERS, HELD_OUT, DIALOGUES, SHOTS = 40, 10, 6, 1
# What is asked, how it is answered, and what the answer may be: a user's own never changes.
ASKED = {
    ("what do you eat ?", "and for dinner ?"): (
        "i eat {}",
        ["plums", "rice", "soup", "beans", "bread", "figs", "eggs", "corn"],
    ),
    ("do you keep a pet ?", "any animals ?"): (
        "yes my {}",
        ["goat", "cat", "dog", "hen", "pony", "crab", "newt", "owl"],
    ),
    ("where do you live ?", "where is home ?"): (
        "near the {}",
        ["lake", "mill", "port", "wood", "hill", "dam", "farm", "cliff"],
    ),
}
STEPS, TASKS_A_STEP = count(full_count=120, quick_count=80), 4
INNER = InnerLoop(lr=0.2, epochs=2, batch_size=0)


def user(number: int) -> Task:
    """Make a user whose facts are drawn, and whose dialogues ask for each of them once, in any order."""
    rng = random.Random(f"user {number}")
    own = [rng.choice(choices) for _, choices in ASKED.values()]
    parts = []
    for index in range(DIALOGUES):
        turns: list[Turn] = []
        for (questions, (answer, _)), fact in rng.sample(list(zip(ASKED.items(), own, strict=True)), len(own)):
            turns += [Turn("guest", rng.choice(questions)), Turn("user", answer.format(fact))]
        parts.append(DialogueView(Dialogue(f"{number}-{index}", tuple(turns), {}), "user"))
    return Task(f"user {number}", tuple(parts))


TASKS = [user(number) for number in range(USERS)]
TRAINING, TEST = TASKS[:-HELD_OUT], TASKS[-HELD_OUT:]
TOKENIZER = word_tokenizer(
    words_of(turn.text for task in TASKS for part in task.dialogues for turn in part.dialogue.turns)
)
ENCODER = Encoder(TOKENIZER, words(TOKENIZER), 128)
EPISODES = [ENCODER.episode(first_shots(task, SHOTS)) for task in TEST]
MAML, POOLED = Maml(INNER), PretrainOnly()
CMAML = Cmaml(INNER, threshold="quantile", keep_share=0.5, prune_epochs=2)


def begun() -> Seq2Spg:
    """Make a small untrained model, its words far enough apart to learn soon."""
    torch.manual_seed(0)
    model = Seq2Spg(Seq2SpgConfig(len(TOKENIZER), hidden_size=24, num_layers=1, dropout=0.0)).eval()
    torch.nn.init.normal_(model.embedding.weight, std=0.3)
    return model


def masks(model: Seq2Spg, method: Adaptation) -> Mapping[str, PersonaMask]:
    """Return what each training user keeps, of methods that give each its own."""
    if not isinstance(method, Cmaml):
        return {}
    episodes = [ENCODER.episode(first_shots(task, SHOTS)) for task in TRAINING]
    return {episode.persona_id: method.find_mask(model, episode.support) for episode in episodes}


@cache
def start(method: Adaptation) -> Seq2Spg:
    """Train a start on the training users; the same users in the same order, whatever the method."""
    model = begun()
    weights, kept = trainable_parameters(model), masks(model, method)
    adam = torch.optim.Adam(weights.values(), lr=1e-2)
    for step in range(STEPS):
        rng = random.Random(step)
        drawn = [ENCODER.episode(sample_episode(task, SHOTS, rng)) for task in rng.choices(TRAINING, k=TASKS_A_STEP)]
        own = [kept[episode.persona_id] for episode in drawn] if kept else []
        adam.zero_grad()
        (lowered(model, method, drawn, own) / TASKS_A_STEP).backward()  # type: ignore[no-untyped-call]  # torch's own
        torch.nn.utils.clip_grad_norm_(weights.values(), 2.0)
        with moving_only(adam, weights, method.outer_step_masks(model, own) if isinstance(method, Cmaml) else {}):
            adam.step()
    return model


def lowered(
    model: Seq2Spg, method: Adaptation, drawn: Sequence[EncodedEpisode], own: Sequence[PersonaMask]
) -> torch.Tensor:
    """Return the sum of the objectives of a step's tasks."""
    if isinstance(method, Cmaml):
        return method.joint_objective(model, drawn, own)[0]
    return torch.stack([method.objective(model, episode).total for episode in drawn]).sum()


def own_facts(model: Seq2Spg, personas: Sequence[PersonaWeights]) -> float:
    """Return the share of held-out users' later answers that name their own fact, the nth user's by the nth persona."""
    right = []
    for episode, weights in zip(EPISODES, personas, strict=True):
        asked = [exchange for dialogue in episode.query for exchange in dialogue]
        with swapped_weights(model, weights):
            batch = model.batch(asked)
            said = generate(
                model, batch, Greedy(), end=ENCODER.chat_format.end, max_new_tokens=6, seeds=range(len(asked))
            )
        # A fact ends its answer.
        right += [tuple(ids[-1:]) == exchange.reply[-2:-1] for ids, exchange in zip(said, asked, strict=True)]
    return sum(right) / len(right)


def adapted(method: Adaptation) -> list[PersonaWeights]:
    """Adapt a start to each held-out user; a pooled one as a fine-tuning does."""
    way = Finetune(INNER) if method is POOLED else method
    return [way.adapt(start(method), episode.support) for episode in EPISODES]


@pytest.mark.parametrize("method", [MAML, CMAML], ids=["maml", "cmaml"])
def test_an_adapted_model_tells_its_own_facts_and_not_un_adapted_nor_as_somebody_else(method: Adaptation) -> None:
    model, personas = start(method), adapted(method)
    own = own_facts(model, personas)
    assert own > 0.7
    assert own_facts(model, [{}] * HELD_OUT) < own - 0.4
    assert own_facts(model, [*personas[1:], personas[0]]) < own - 0.4


def test_the_start_of_maml_tells_more_of_a_users_facts_than_the_pooled_one_after_as_many_steps() -> None:
    assert own_facts(start(MAML), adapted(MAML)) > own_facts(start(POOLED), adapted(POOLED)) + 0.15


@pytest.mark.parametrize("method", [MAML, POOLED], ids=["maml", "pooled"])
def test_the_support_loss_falls_at_every_inner_step_at_a_small_rate(method: Adaptation) -> None:
    way, model = Finetune(InnerLoop(lr=0.01, epochs=12, batch_size=0)), start(method)
    for episode in EPISODES:
        losses: list[float] = []
        way.adapt(model, episode.support, lambda done, steps, loss, losses=losses: losses.append(loss))
        assert len(losses) == 12
        assert losses == sorted(losses, reverse=True)
        assert len(set(losses)) == 12


def test_held_out_users_keep_other_private_weights_than_one_another() -> None:
    model = start(CMAML)
    first, second = (CMAML.find_mask(model, episode.support) for episode in EPISODES[:2])
    assert jaccard(first, second) < 1
