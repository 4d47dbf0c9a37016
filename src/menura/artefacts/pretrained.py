"""A BERT or a GPT-2 becomes layers and embeddings of a unified transformer, matched by token string (PLATO, A13)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from menura.artefacts import tensors
from menura.artefacts.bases import base as bases
from menura.artefacts.bases.record import Base
from menura.artefacts.files import read_json, sha256_of
from menura.artefacts.pretrained_folder import HEADER_LIMIT, MINILM, pretrained_folder
from menura.batches.tokenizer import Tokenizer
from menura.errors import ConfigError, DataError, MismatchError
from menura.models.layers.transformer import Activation, Sizes

OPENS, ENDS = "[unused0]", "[unused1]"  # untrained rows of BERT's vocabulary
OWN_OPENS, OWN_ENDS = "<bou>", "<eou>"  # for a vocabulary without such rows
MASK = "[MASK]"
BERT_TOKENS = ("[PAD]", "[UNK]", MASK, OPENS, ENDS)
DEVIATION = 0.02  # of rows that the checkpoint lacks
KNOWN_SIZES = {  # for counting without any file
    MINILM: Sizes(30522, 384, 6, 12, 1536),
    "bert-base": Sizes(30522),
    "google-bert/bert-base-uncased": Sizes(30522),
}
ACTIVATIONS: Mapping[str, Activation] = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh"}
GPT2_MAPS = {"qkv": "attn.c_attn", "out": "attn.c_proj", "inner": "mlp.c_fc", "outer": "mlp.c_proj"}
LAYERS = "body.blocks."
Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Pretrained:
    """A vocabulary with the tokens that open a reply and end an utterance, and weights under our names.

    ``weights`` is empty if only the vocabulary was asked for. ``mask`` is the id of [MASK], if there is one.
    """

    base: Base
    sizes: Sizes
    tokenizer: Tokenizer
    opens: str
    ends: str
    weights: Weights
    pre_norm: bool = False
    mask: int | None = None


def load_pretrained(
    name: str, *, weights: bool = True, offline: bool = False, say: Callable[[str], None] = print
) -> Pretrained:
    """Read MiniLM, a folder, or a model of the hub; without ``weights`` any base gives its vocabulary.

    Raises DataError for a network that is neither a BERT nor a GPT-2, MismatchError where token strings do not match.
    """
    if name != MINILM and not _kind(bases.folder_of(name)):
        bases.fetch(name, offline=offline, say=say)
    if name == MINILM or _kind(bases.folder_of(name)) == "bert":
        return _bert(name, weights=weights)
    loaded = bases.load(name, offline=offline, say=say)
    network, tokenizer, base = loaded.network, loaded.tokenizer, loaded.base
    kind = network.config.model_type
    if not weights:
        return _growing(Pretrained(base, Sizes(len(tokenizer)), tokenizer, OWN_OPENS, OWN_ENDS, {}))
    if kind != "gpt2":
        raise DataError(
            f"base {name!r} is of kind {kind!r}; a unified transformer begins as a bert or a gpt2",
            hint="--set model.base=minilm, or --set model.init=random to take its vocabulary only",
            code="schema",
        )
    plain = network.config
    sizes = Sizes(
        *(plain.vocab_size, plain.n_embd, plain.n_layer, plain.n_head, plain.n_inner or 4 * plain.n_embd),
        *(plain.n_positions, plain.layer_norm_epsilon, ACTIVATIONS[plain.activation_function]),
    )
    held = from_gpt2(network.state_dict())
    return _growing(Pretrained(base, sizes, tokenizer, OWN_OPENS, OWN_ENDS, held, pre_norm=True))


def known_sizes(name: str) -> Sizes:
    """Return the sizes of a BERT by its name or folder, without reading its weights."""
    if name in KNOWN_SIZES:
        return KNOWN_SIZES[name]
    return _sizes(pretrained_folder(str(bases.folder_of(name)), setting="model.base"))


def lowest_layers(whole: Pretrained, count: int) -> Pretrained:
    """Return a base with its lowest ``count`` layers; ConfigError for more than it has."""
    if count > whole.sizes.num_layers:
        raise ConfigError(
            f"model.num_layers: {count}, but {whole.base.name} has {whole.sizes.num_layers}",
            hint=f"--set model.num_layers={whole.sizes.num_layers}, or --set model.init=random",
        )
    kept = tuple(f"{LAYERS}{layer}." for layer in range(count))
    weights = {name: v for name, v in whole.weights.items() if not name.startswith(LAYERS) or name.startswith(kept)}
    return replace(whole, sizes=replace(whole.sizes, num_layers=count), weights=weights)


def _bert(name: str, *, weights: bool) -> Pretrained:
    folder = pretrained_folder(name if name == MINILM else str(bases.folder_of(name)), setting="model.base")
    tokenizer = Tokenizer.from_file(folder / "tokenizer.json", wordpiece=True)
    sizes = _sizes(folder)
    _check_strings(folder, tokenizer, sizes)
    sums = [sha256_of(folder / file) for file in ("model.safetensors", "tokenizer.json")]
    found = from_bert(tensors.load(folder / "model.safetensors", header_limit=HEADER_LIMIT)) if weights else {}
    count = sum(value.numel() for value in found.values())
    base = Base(name, "package" if name == MINILM else "folder", "Apache-2.0" if name == MINILM else "", count, *sums)
    return Pretrained(base, sizes, tokenizer, OPENS, ENDS, found, mask=tokenizer.control(MASK))


def _kind(folder: Path) -> str:
    """Return the model type in a folder's configuration, empty if there is none."""
    if not (folder / "config.json").exists():
        return ""
    return str(read_json(folder / "config.json").get("model_type", ""))


def _sizes(folder: Path) -> Sizes:
    plain = read_json(folder / "config.json")
    try:
        return Sizes(
            vocab_size=int(plain["vocab_size"]),
            hidden_size=int(plain["hidden_size"]),
            num_layers=int(plain["num_hidden_layers"]),
            num_heads=int(plain["num_attention_heads"]),
            intermediate_size=int(plain["intermediate_size"]),
            max_positions=int(plain["max_position_embeddings"]),
            epsilon=float(plain.get("layer_norm_eps", 1e-12)),
            activation=ACTIVATIONS[plain.get("hidden_act", "gelu")],
        )
    except (KeyError, TypeError, ValueError) as error:
        told = f"not the settings of a BERT: {error}"
        raise DataError(told, place=str(folder / "config.json"), code="schema") from error


def _check_strings(folder: Path, tokenizer: Tokenizer, sizes: Sizes) -> None:
    """Check that the checkpoint's rows match the tokenizer's strings; MismatchError with the first that differ."""
    source = str(folder / "tokenizer.json")
    missing = [name for name in BERT_TOKENS if not tokenizer.has(name)]
    if missing or len(tokenizer) != sizes.vocab_size:
        rows = f"{len(tokenizer)} tokens, the weights {sizes.vocab_size} rows"
        told = f"no token {', '.join(missing)}" if missing else rows
        hint = "take both from the same checkpoint, or --set model.init=random to learn from nothing"
        raise MismatchError(f"tokenizer and checkpoint do not match: {told}", place=source, hint=hint)
    listed = folder / "vocab.txt"
    if not listed.exists():
        return
    lines = listed.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    wrong = [f"row {row} is {text!r}" for row, text in enumerate(lines) if not tokenizer.stands_at(text, row)]
    if wrong:
        told = f"{len(wrong)} token strings of vocab.txt stand elsewhere in tokenizer.json: {', '.join(wrong[:3])}"
        raise MismatchError(told, place=source, hint="take both files from the same checkpoint")


def from_bert(found: Mapping[str, Tensor]) -> Weights:
    """Return a BERT's weights under our names, without pooler and pretraining heads.

    The two segment embeddings become the role embeddings of the persona and of the partner.
    """
    held = {name.removeprefix("bert."): value for name, value in found.items()}
    ours = {
        "embeddings.token.weight": _one(held, "embeddings.word_embeddings.weight"),
        "embeddings.role.weight": _one(held, "embeddings.token_type_embeddings.weight"),
        "embeddings.position.weight": _one(held, "embeddings.position_embeddings.weight"),
        **_both("embeddings.norm", held, "embeddings.LayerNorm"),
    }
    layer = 0
    while f"encoder.layer.{layer}.output.dense.weight" in held:
        theirs, own = f"encoder.layer.{layer}", f"body.blocks.{layer}"
        for part in ("weight", "bias"):
            maps = [_one(held, f"{theirs}.attention.self.{which}.{part}") for which in ("query", "key", "value")]
            ours[f"{own}.qkv.{part}"] = torch.cat(maps)
        for name, its in (
            ("out", "attention.output.dense"),
            ("attention_norm", "attention.output.LayerNorm"),
            ("inner", "intermediate.dense"),
            ("outer", "output.dense"),
            ("output_norm", "output.LayerNorm"),
        ):
            ours |= _both(f"{own}.{name}", held, f"{theirs}.{its}")
        layer += 1
    return ours | _masked_words(held)


def _masked_words(held: Mapping[str, Tensor]) -> Weights:
    """Return the masked-language-model head, if the checkpoint has one; only ``lm_head`` bert_mlm uses it."""
    if "cls.predictions.bias" not in held:
        return {}
    head = "cls.predictions.transform"
    return {
        "words.bias": held["cls.predictions.bias"],
        **_both("words.transform.dense", held, f"{head}.dense"),
        **_both("words.transform.norm", held, f"{head}.LayerNorm"),
    }


def from_gpt2(found: Mapping[str, Tensor]) -> Weights:
    """Return a GPT-2's weights under our names; its linear maps are transposed, and it has no segments."""
    held = {name.removeprefix("transformer."): value for name, value in found.items()}
    ours = {
        "embeddings.token.weight": held["wte.weight"],
        "embeddings.position.weight": held["wpe.weight"],
        **_both("body.final_norm", held, "ln_f"),
    }
    layer = 0
    while f"h.{layer}.attn.c_attn.weight" in held:
        theirs, own = f"h.{layer}", f"body.blocks.{layer}"
        for name, its in GPT2_MAPS.items():
            ours[f"{own}.{name}.weight"] = held[f"{theirs}.{its}.weight"].T.contiguous()
            ours[f"{own}.{name}.bias"] = held[f"{theirs}.{its}.bias"]
        ours |= _both(f"{own}.attention_norm", held, f"{theirs}.ln_1")
        ours |= _both(f"{own}.output_norm", held, f"{theirs}.ln_2")
        layer += 1
    return ours


def _one(held: Mapping[str, Tensor], its: str) -> Tensor:
    if its not in held:
        raise DataError(f"not a network of its kind: {its} is missing", code="schema")
    return held[its]


def _both(name: str, held: Mapping[str, Tensor], its: str) -> Weights:
    # Old checkpoints call a norm's weight gamma and its bias beta.
    weight = held.get(f"{its}.weight", held.get(f"{its}.gamma"))
    bias = held.get(f"{its}.bias", held.get(f"{its}.beta"))
    if weight is None or bias is None:
        raise DataError(f"not a network of its kind: {its} is missing", code="schema")
    return {f"{name}.weight": weight, f"{name}.bias": bias}


def _growing(made: Pretrained) -> Pretrained:
    """Return it with two added tokens at the end of its vocabulary."""
    tokenizer = made.tokenizer.adding((OWN_OPENS, OWN_ENDS))
    return replace(made, tokenizer=tokenizer, sizes=replace(made.sizes, vocab_size=len(tokenizer)))


def put(found: Weights, into: Mapping[str, Tensor]) -> list[str]:
    """Copy weights into a model's; return the names that the checkpoint lacks.

    Embeddings with fewer rows than the model's fill its first rows, as tokens were matched before. Raises MismatchError
    for any other shape, and for another number of layers. Empty weights change nothing.
    """
    if not found:
        return list(into)
    theirs, layers = ({n for n in names if n.startswith(LAYERS) and ".adapters." not in n} for names in (found, into))
    wrong = [f"{name} is missing in {'it' if name in layers else 'the model'}" for name in sorted(theirs ^ layers)]
    with torch.no_grad():
        for name, value in found.items():
            ours = into.get(name)
            if ours is None:
                continue
            if ours.shape[1:] != value.shape[1:] or (not name.startswith("embeddings.") and ours.shape != value.shape):
                wrong.append(f"{name} {tuple(value.shape)}, wanted {tuple(ours.shape)}")
                continue
            rows = min(len(ours), len(value))
            ours[:rows] = value[:rows]
    if wrong:
        raise MismatchError(f"the checkpoint does not fit the model: {'; '.join(wrong[:3])}")
    return [name for name in into if name not in found]
