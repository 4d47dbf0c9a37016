"""A small AR or AR+, and the whole of what it computes written out: one exchange, one token, one slot at a time."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from made_up import QUERY, SUPPORT, VARIANTS, Toy, part
from torch import Tensor

from menura.batches.encode import EncodedExchange
from menura.batches.speaker_profile import Slots
from menura.models.attention_routing.decoder_state import sinusoids
from menura.models.attention_routing.model import AttentionRouting

ALL = (*SUPPORT, *QUERY, part("long", "who is there?", "only me.", "and the owl?", "asleep.", "why?", "it is noon."))
AR: dict[str, Any] = dict(VARIANTS["ar"].settings)
Read = tuple[Tensor | None, Tensor | None]  # states of the context and of the persona, (S, D) and (M, D)


def routing(*, double: bool = True, stirred: bool = True, **settings: Any) -> Toy:
    """Make one over the printable characters; stirred, so that no gate is closed."""
    return replace(VARIANTS["ar+"], settings=settings).toy(stirred=stirred, double=double)


def exchanges_of(toy: Toy) -> list[EncodedExchange]:
    """Return exchanges of unequal length."""
    return [exchange for dialogue in toy.dialogues(ALL) for exchange in dialogue]


def looked(attention: Any, queries: Tensor, read: Tensor, *, causal: bool = False) -> Tensor:
    """Return MHA (T, D) of queries (T, D) over what is read (S, D), by softmax, a head at a time."""
    width = queries.shape[-1]
    wq, wk, wv = attention.qkv.weight.split(width)
    bq, bk, bv = attention.qkv.bias.split(width)
    q, k, v = queries @ wq.T + bq, read @ wk.T + bk, read @ wv.T + bv
    heads = []
    for head in range(attention.heads):
        own = slice(head * width // attention.heads, (head + 1) * width // attention.heads)
        scores = q[:, own] @ k[:, own].T / (width / attention.heads) ** 0.5
        if causal:
            scores = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -torch.inf)
        heads.append(scores.softmax(-1) @ v[:, own])
    return torch.cat(heads, -1) @ attention.out.weight.T + attention.out.bias


def normed(norm: Any, x: Tensor) -> Tensor:
    """Return a layer norm."""
    mean = x.mean(-1, keepdim=True)
    spread = ((x - mean) ** 2).mean(-1, keepdim=True)
    return (x - mean) / (spread + 1e-5).sqrt() * norm.weight + norm.bias


def mapped(kind: str, network: Any, x: Tensor) -> Tensor:
    """Return the feed-forward network, full or factorised, as the paper or as its program has it."""
    if kind == "full":
        return (x @ network.inner.weight.T + network.inner.bias).relu() @ network.outer.weight.T + network.outer.bias
    v1, u1, v2, u2 = network.narrow, network.widen, network.narrow_again, network.widen_again
    if kind == "factor_release":
        low = (x @ v1.weight.T + v1.bias).relu() @ u1.weight.T + u1.bias
        return (low @ v2.weight.T + v2.bias).relu() @ u2.weight.T + u2.bias
    wide = (x @ v1.weight.T @ u1.weight.T + u1.bias).relu()
    return wide @ v2.weight.T @ u2.weight.T + u2.bias


def gates_of(model: AttentionRouting, side: int, application: int) -> tuple[Tensor, Tensor]:
    """Return r of attention and r of the feed-forward network; side 0 is the encoder's."""
    assert model.gates is not None
    gating = {"fixed": "per_sublayer", "release": "per_layer", "paper": "per_model"}[model.config.preset]
    if gating == "per_sublayer":
        return model.gates[side, application, 0], model.gates[side, application, 1]
    one = model.gates.reshape(-1)[application % len(model.layers) if gating == "per_layer" else 0]
    return one, one


def through(
    model: AttentionRouting, side: int, x: Tensor, read: Read = (None, None), a: float | Tensor = 1.0
) -> Tensor:
    """Go through all layers, by Eq. 1 and 5; a decoder's are told what was read."""
    settings = model.config
    kind = settings.feed_forward or ("factor_release" if settings.preset == "release" else "factor_fixed")
    for application in range(settings.num_layers):
        layer: Any = model.layers[application % (settings.num_layers // settings.groups)]
        entered = normed(layer.norm, x)
        of_itself = looked(layer.attention, entered, entered, causal=side == 1)
        of_context, of_persona = (
            torch.zeros_like(x) if states is None else looked(layer.attention, entered, states) for states in read
        )
        merged = a * of_persona + (1 - a) * of_context + of_context + of_itself
        if not settings.rezero:
            y = normed(layer.middle_norm, entered + merged)
            x = y + mapped(kind, layer.network, y)
            continue
        of_attention, of_network = gates_of(model, side, application)
        skip = entered if settings.preset == "release" else x
        x = skip + settings.bias * of_persona + settings.bias * of_context + of_attention * merged
        x = x + of_network * mapped(kind, layer.network, x)
    return x


def projected(model: AttentionRouting, stream: str, x: Tensor) -> Tensor:
    """Return e to D, by one map for all streams, or by four."""
    if not model.config.embedding:
        return x
    linear: Any = model.projections["all" if model.config.preset == "fixed" else stream]
    return x @ linear.weight.T + linear.bias


def said(model: AttentionRouting, ids: Sequence[int], stream: str) -> Tensor:
    """Return tokens (T, D) with their places."""
    table = model.table.weight
    x = table[list(ids)] * table.shape[1] ** 0.5
    return projected(model, stream, x + sinusoids(0, len(ids), x))


def heard(model: AttentionRouting, exchange: EncodedExchange) -> Tensor:
    """Return a context's tokens (S, D), each with the values of who says it."""
    table = model.table.weight
    told: Any = model.profile_table.weight if model.config.memory else table
    rows, place = [], 0
    for (_, tokens), speaker in zip(exchange.turns, exchange.turn_profiles, strict=True):
        person = sum(told[value] for _, values in exchange.profiles[speaker] for value in values)
        for _ in range(tokens):
            rows.append(table[exchange.context[place]] * table.shape[1] ** 0.5 + person)
            place += 1
    x = torch.stack(rows)
    return projected(model, "context", x + sinusoids(0, place, x))


def pooled(x: Tensor) -> Tensor:
    """Return (D,) the position-encoded sum over (J, D)."""
    count, width = x.shape
    total = torch.zeros_like(x[0])
    for j in range(1, count + 1):
        for k in range(1, width + 1):
            total[k - 1] += ((1 - j / count) - (k / width) * (1 - 2 * j / count)) * x[j - 1, k - 1].detach()
    return total


def remembered(model: AttentionRouting, slots: Slots, asked: Tensor) -> tuple[Tensor, Tensor]:
    """Return what the memory adds to a context (D,), and what the slots of the last hop give (M, D)."""
    release = model.config.preset == "release"
    if release:
        slots = tuple((0, (token,)) for key, values in slots for token in (key, *values))
    assert model.memory is not None
    tables: list[Any] = [table.weight for table in model.memory.tables]
    onward = model.memory.onward
    u = first = pooled(asked)
    o = torch.zeros_like(u)
    for number in range(model.config.hops):
        hop = 0 if onward else number
        addresses = torch.stack([tables[hop][list(values)].mean(0) + tables[hop][key] for key, values in slots])
        given = torch.stack([tables[hop + 1][list(values)].mean(0) for _, values in slots])
        o = (addresses @ u).softmax(0) @ given
        width = torch.arange(1, len(u) + 1) / len(u)
        u = u if onward is None else onward.weight @ u
        u = u + (((len(asked) - 1) / 2 + width) * o if release else o)
    return (o if release or onward else u - first), given


def began(model: AttentionRouting, exchange: EncodedExchange) -> Read:
    """Return the states of context and persona that a decoder reads; None where there is none."""
    settings = model.config
    x, own = heard(model, exchange), exchange.profiles[0]
    if not settings.memory:
        told = [token for key, values in own for token in (key, *values)]
        table = model.table.weight
        persona = projected(model, "persona", table[told] * table.shape[1] ** 0.5)
        return through(model, 0, x), through(model, 0, persona)
    last = exchange.turns[-1][1]
    added, slots = remembered(model, own, x[:-1] if settings.preset == "release" else x[-last:-1])
    if settings.persona_path != "memory_stream":
        x = x + added
    return through(model, 0, x), slots if settings.persona_path != "context_bias" else None


def nll_of(model: AttentionRouting, exchange: EncodedExchange, read: Read, a: float | Tensor, stream: str) -> Tensor:
    """Return −log p of a reply."""
    ids = [exchange.prefix[-1], *exchange.reply[:-1]]
    states = through(model, 1, said(model, ids, stream), read, a)
    output = model.table.weight if model.output is None else model.output.weight
    chances = (states @ output.T).log_softmax(-1)
    return -torch.stack([chances[place, token] for place, token in enumerate(exchange.reply)]).sum()


def by_hand(model: AttentionRouting, exchange: EncodedExchange) -> Tensor:
    """Return −log p of the reply."""
    context, persona = began(model, exchange)
    a: float | Tensor = model.config.strength
    if model.predictor is not None and context is not None:
        a = 1 / (1 + (-(context.mean(0) @ model.predictor.weight[0] + model.predictor.bias[0])).exp())
    return nll_of(model, exchange, (context, persona), a, "reply")
