"""A PLATO of two small layers, exchanges of few words, and the whole of what it computes, written out."""

import json
import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from made_up import stir
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from torch import Tensor
from transformers import BertConfig, BertForMaskedLM, BertModel, GPT2Config, GPT2LMHeadModel

from menura.artefacts import tensors
from menura.batches.encode import EncodedExchange
from menura.batches.plato_inputs import NOWHERE, OWN, PlatoInputs, Token
from menura.batches.tokenizer import byte_tokenizer
from menura.models.layers.attention_mask import AttentionMask, SegmentIds
from menura.models.layers.transformer import Masked, Sizes
from menura.models.plato.config import PlatoConfig
from menura.models.plato.model import Plato

SIZES = Sizes(97, 32, 2, 4, 64, 64)  # L=2, D=32, H=4, V=97
OPENS, END = 1, 2
FIRST_WORD = 3
LATENTS = 5

# Every way in which what stands before a reply can be seen.
WAYS: dict[str, dict[str, Any]] = {
    "prefix": {"visibility": "prefix"},
    "response_only": {"visibility": "response_only"},
    "block_bi": {"context": "block_bi"},
    "uni without latent": {"context": "uni", "num_latents": 0},
    "without latent": {"num_latents": 0},
}


def plato(*, double: bool = True, stirred: float = 0.3, seed: int = 0, **settings: Any) -> Plato:
    """Make one whose weights are far enough from zero that all of them matter; nothing is left out in training."""
    config = PlatoConfig(init="random", **{"num_latents": LATENTS, "dropout": 0.0, **settings})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Plato(config, SIZES, end=END).eval()
    if stirred:
        stir(model, stirred, seed + 1)
    return model.double() if double else model


def said(
    *turns: Sequence[int], reply: Sequence[int] = (7, 8), facts: Sequence[Sequence[int]] = (), dialogue: str = "d"
) -> EncodedExchange:
    """Make an exchange of words: the last turn is the partner's, and each second one before it."""
    closed = [(*turn, END) for turn in turns]
    whose = tuple(((len(turns) - place) % 2 == 0, len(turn)) for place, turn in enumerate(closed))
    told = tuple(word for fact in facts for word in (*fact, END))
    context = (*(word for turn in closed for word in turn), OPENS)
    return EncodedExchange("p", dialogue, told, context, (*reply, END), whose)


EXCHANGES = (
    said((9, 10, 11), (12,), (13, 14), reply=(20, 21, 22), dialogue="d1"),
    said((15,), reply=(23,), dialogue="d2"),
    said((16, 17), (18, 19, 20, 21, 22), (30, 31, 32), reply=(24, 25, 26, 24), facts=((40, 41), (42,)), dialogue="d3"),
    said((33, 34, 35, 36), facts=((43,),), reply=(), dialogue="d4"),
)


@dataclass(frozen=True)
class Whole:
    """What one pass over all of an exchange gives: the head slot's state (if any), the context's, the reply's."""

    head: Tensor | None  # (D,)
    context: Tensor  # (C, D)
    reply: Tensor  # (T, D)


def whole(model: Plato, exchange: EncodedExchange, slot: Tensor | None, sight: AttentionMask | None = None) -> Whole:
    """Read head slot (D,), context and reply in one pass, each place seeing what a written-out table says.

    The reply is read without its end, as in generation, or with it, as in recognition.
    """
    sight = sight or AttentionMask(context=model.config.context, latent=model.rules.visibility)
    ids = (exchange.prefix[-1], *(exchange.reply if sight.recognition else exchange.reply[:-1]))
    context = PlatoInputs.of([model.layout.context(exchange)], model.device)
    reply = PlatoInputs.of([model.layout.reply(ids)], model.device)
    places = SegmentIds.of(context.mask, context.utterance, reply.mask, head=slot is not None)
    x = torch.cat([model.embeddings(context), model.embeddings(reply)], 1)
    if slot is not None:
        x = torch.cat([model.embeddings.slot(slot)[None, None], x], 1)
    attend = Masked(sight.dense(places).unsqueeze(1), plain=True)
    states = model.body(x, [attend] * SIZES.num_layers)[0]
    head = int(slot is not None)
    split = head + context.ids.shape[1]
    return Whole(states[0] if head else None, states[head:split], states[split:])


def slots(model: Plato) -> list[Tensor | None]:
    """Return each latent's row, or that there is none."""
    return list(model.latent) if model.latents else [None]


def log_probs(model: Plato, states: Tensor) -> Tensor:
    """Return (T, V) log-probabilities of the tokens that follow."""
    return model.logits(states).log_softmax(-1)


def nll(model: Plato, exchange: EncodedExchange, slot: Tensor | None) -> Tensor:
    """Return () −log p of a reply, by one pass over all."""
    told = log_probs(model, whole(model, exchange, slot).reply)
    return -told[torch.arange(len(exchange.reply)), torch.tensor(exchange.reply)].sum()


MARKS = ("[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PIECES = (*MARKS, "i", "like", "tea", "clock", "##s", "hi", "'", "t", "-", *string.ascii_lowercase[:6])


def bert(folder: Path, *, masked_words: bool = False, std: float = 0.3) -> Any:
    """Write a BERT of random weights with its word pieces into a folder; return the network."""
    folder.mkdir(parents=True, exist_ok=True)
    config = BertConfig(
        vocab_size=len(PIECES),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=std,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        network = (BertForMaskedLM(config) if masked_words else BertModel(config)).eval()
        stir(network, 0.2)  # norms and biases, too, are then no longer what any network has
    weights = {name: value for name, value in network.state_dict().items() if "decoder" not in name}
    tensors.save(folder / "model.safetensors", weights)
    (folder / "config.json").write_text(json.dumps({**config.to_dict(), "model_type": "bert"}), encoding="utf-8")
    pieces = Tokenizer(models.WordPiece({piece: row for row, piece in enumerate(PIECES)}, unk_token="[UNK]"))
    pieces.normalizer, pieces.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    pieces.decoder = decoders.WordPiece()
    pieces.add_special_tokens([mark for mark in MARKS if "unused" not in mark])
    pieces.save(str(folder / "tokenizer.json"))
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    return network


def gpt2(folder: Path) -> Any:
    """Write a GPT-2 of random weights over bytes into a folder; return the network."""
    config = GPT2Config(vocab_size=259, n_positions=64, n_embd=32, n_layer=2, n_head=4, initializer_range=0.3)
    config.bos_token_id = config.eos_token_id = None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(12)
        network = GPT2LMHeadModel(config).eval()
        stir(network, 0.2)
    folder.mkdir(parents=True, exist_ok=True)
    network.config.save_pretrained(folder)
    weights = {name: value for name, value in network.state_dict().items() if name != "lm_head.weight"}
    tensors.save(folder / "model.safetensors", weights)
    (folder / "tokenizer.json").write_text(byte_tokenizer().to_json(), encoding="utf-8")
    return network


def alone(ids: Sequence[int]) -> PlatoInputs:
    """Return a row of tokens of one segment and no turn, as any BERT or GPT-2 reads them."""
    return PlatoInputs.of(
        [[Token(token, OWN, NOWHERE, place, 0) for place, token in enumerate(ids)]], torch.device("cpu")
    )


def states_of(model: Plato, ids: Sequence[int], sight: AttentionMask) -> Tensor:
    """Return (N, D) states of a row of tokens, each seeing by ``sight``."""
    read = alone(ids)
    places = SegmentIds.of(read.mask, read.utterance, read.mask[:, :0], head=False)
    attend = Masked(sight.fused(places))
    return model.body(model.embeddings(read), [attend] * len(model.body.blocks))[0]
