"""Each row's token follows from its own logits, settings and random numbers."""

import math
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor

from menura.batches.tokenizer import CHAT_TOKENS, byte_tokenizer
from menura.decoding.sampling import MinP, Nucleus, TopK, uniforms
from menura.serve.engine.token_choice import TokenChoice, chosen, token_choices, with_logprob
from menura.serve.generation import Sampling

VOCABULARY, END = 50, 49


def logits(rows: int, seed: int = 0) -> Tensor:
    return 2 * torch.randn((rows, VOCABULARY), generator=torch.Generator().manual_seed(seed))


def row(written: tuple[int, ...] = (), minimum: int = 0, **settings: Any) -> TokenChoice:
    sampling = Sampling(**{"seed": 1, **settings})
    (made,) = token_choices(sampling, 1, [END], max_new_tokens=20, min_new_tokens=minimum)
    made.written.extend(written)
    return made


WAYS: list[dict[str, Any]] = [
    {"temperature": 0},
    {"temperature": 1.0, "top_p": 0.5},
    {"temperature": 0.7, "top_p": 1.0},
    {"temperature": 1.0, "top_k": 3, "top_p": 1.0},
    {"temperature": 1.0, "top_k": 3, "top_p": 0.9},
    {"temperature": 1.3, "min_p": 0.2},
    {"temperature": 1.0, "presence_penalty": 1.5},
    {"temperature": 1.0, "frequency_penalty": -1.0},
    {"temperature": 1.0, "repetition_penalty": 1.3},
    {"temperature": 0, "logit_bias": {7: 100}},
]


def test_a_row_s_token_does_not_depend_on_the_others() -> None:
    rows = [row((1, 2, 2), seed=number, **way) for number, way in enumerate(WAYS)]
    scores = logits(len(rows))
    together = chosen(scores, rows)
    alone = [chosen(own[None], [one])[0] for own, one in zip(scores, rows, strict=True)]
    assert together == alone
    assert together == chosen(scores.flip(0), rows[::-1])[::-1]


@pytest.mark.parametrize(
    ("settings", "choice"),
    [
        ({"temperature": 0.8, "top_p": 0.6}, Nucleus(0.6, 0.8)),
        ({"temperature": 1.2, "min_p": 0.1}, MinP(0.1, 1.2)),
        ({"temperature": 1.0, "top_k": 4, "top_p": 1.0}, TopK(4, 1.0)),
    ],
)
def test_tokens_are_drawn_as_in_a_chat_with_the_same_seed(settings: dict[str, Any], choice: Any) -> None:
    one, numbers = row(seed=5, **settings), uniforms(5, 20)
    for step in range(20):
        scores = logits(1, step)
        token = chosen(scores, [one])[0]
        assert token == int(choice.choose(scores, numbers[step : step + 1])[0])
        one.written.append(token)


def test_the_top_k_are_the_only_ones_drawn() -> None:
    scores = logits(1)
    best = set(scores[0].topk(3).indices.tolist())
    drawn = {chosen(scores, [row(seed=seed, temperature=5.0, top_k=3, top_p=0.99)])[0] for seed in range(200)}
    assert drawn == best


def test_penalties_follow_openai_s_formula() -> None:
    scores = logits(1)
    one = row((3, 3, 5), presence_penalty=0.5, frequency_penalty=0.25)
    wanted = scores[0].clone()
    for token, count in Counter((3, 3, 5)).items():
        wanted[token] -= 0.5 + 0.25 * count
    assert torch.equal(one.adjusted(scores[0]), wanted)
    assert not row(presence_penalty=0.5).adjusts, "nothing is written yet"


def test_a_bias_makes_or_bans_a_token() -> None:
    scores = logits(1)
    best = int(scores.argmax())
    assert chosen(scores, [row(temperature=0, logit_bias={4: 100})]) == [4]
    assert chosen(scores, [row(temperature=0, logit_bias={best: -100})]) != [best]
    assert chosen(scores, [row(temperature=0, logit_bias={10**6: 100})]) == [best]


def test_the_end_does_not_come_before_its_time() -> None:
    scores = logits(1)
    scores[0, END] = 100
    assert chosen(scores, [row((1,), minimum=1, temperature=0)]) == [END]
    assert chosen(scores, [row(minimum=1, temperature=0)]) != [END]


def test_replies_to_one_prompt_have_seeds_one_apart() -> None:
    made = token_choices(Sampling(seed=3), 3, [END], max_new_tokens=4, min_new_tokens=0)
    assert all(torch.equal(one.uniforms, uniforms(3 + number, 4)) for number, one in enumerate(made))
    free = [token_choices(Sampling(), 1, [END], max_new_tokens=4, min_new_tokens=0)[0].uniforms for _ in range(2)]
    assert not torch.equal(free[0], free[1]), "without a seed each request has another one"


def test_log_probabilities_are_those_of_the_model_before_any_change() -> None:
    tokenizer = byte_tokenizer(CHAT_TOKENS)
    scores = torch.zeros(len(tokenizer))
    scores[65], scores[66] = 3.0, 2.0
    told = with_logprob(scores, 66, 2, tokenizer)
    total = math.log(sum(math.exp(float(one)) for one in scores))
    assert told.logprob == pytest.approx(2.0 - total, abs=1e-5)
    assert [text for text, _ in told.top] == [tokenizer.decode([65]), tokenizer.decode([66])]
    assert told.text == tokenizer.decode([66])
