"""What is computed of whole sequences, beside the running batch: scores of candidates, a prompt's log-probabilities."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from menura.adaptation.weights import swapped_weights
from menura.api.agent import Agent
from menura.artefacts.loading import LoadedModel
from menura.models.causal_lm.model import CausalLm
from menura.models.dialogue_model import DialogueModel, caching, nll_of
from menura.personas.likelihood_ratio import likelihood_ratio, weights_now
from menura.serve.engine.prompts import Prompt
from menura.serve.engine.token_choice import with_logprob
from menura.serve.generation import Delta, Ranked, TokenLogprob


@torch.no_grad()
def ranked(model: DialogueModel[Any], prompt: Prompt, replies: Sequence[Sequence[int]]) -> Ranked:
    """Return the score of each reply to a chat: how much likelier the persona makes it, per token (nats).

    For a model without a persona it is the mean log-probability per token.
    """
    assert prompt.exchange is not None, "a chat's replies are ranked"
    agent = prompt.agent
    end = agent.loaded.encoder.chat_format.end
    batch = model.batch([replace(prompt.exchange, reply=(*reply, end)) for reply in replies])
    unadapted = weights_now(model, agent.weights)
    with swapped_weights(model, agent.weights), caching(model, agent.cache):
        if (agent.weights or agent.memory is not None) and prompt.plain is not None:
            scores = likelihood_ratio(model, unadapted, prompt.plain)(batch)
        else:
            scores = -nll_of(model, batch) / batch.reply_lengths
    values = [float(score) for score in scores]
    return Ranked(tuple(values), max(range(len(values)), key=values.__getitem__))


@torch.no_grad()
def echoed(loaded: LoadedModel, agent: Agent, ids: Sequence[int], index: int, top: int | None) -> Delta:
    """Return a prompt as the first piece of choice ``index``, with each token's log-probability where they are asked.

    They are computed as the loss is, so that a sum of them is what ``menura eval`` sums.
    """
    model, tokenizer = loaded.model, loaded.encoder.tokenizer
    text = tokenizer.decode(list(ids))
    if top is None:
        return Delta(index, text)
    assert isinstance(model, CausalLm), "a model that takes raw prompts is a causal language model"
    with swapped_weights(model, agent.weights), caching(model, agent.cache):
        logits = model.logits(torch.tensor([list(ids)], device=model.device))[0]
        model.forget_lower()  # a scored text hardly ever comes again
    first = TokenLogprob(tokenizer.decode([ids[0]]), None)
    rest = (with_logprob(own, token, top, tokenizer) for own, token in zip(logits, ids[1:], strict=False))
    return Delta(index, text, (first, *rest))
