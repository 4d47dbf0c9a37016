"""Settings become a model that can speak: base from disk, adapters attached, start weights in place."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from menura.adaptation.rates import bring_rates
from menura.adaptation.weights import trained
from menura.artefacts import base as bases
from menura.artefacts import lexicon as lexicons
from menura.artefacts import piece_lexicon, tensors
from menura.artefacts.base import Base
from menura.artefacts.begun_routing import encoder_named, frozen_encoder, put_layers
from menura.artefacts.lexicon import Lexicon
from menura.artefacts.piece_lexicon import PieceLexicon
from menura.artefacts.pretrained import Pretrained, pretrained, put
from menura.artefacts.word_vectors import word_vectors
from menura.batches.encode import Caps, Encoder
from menura.batches.layout import LAYOUTS, SPECIAL_TOKENS, separated, utterances, words
from menura.batches.tokenizer import END_OF_REPLY, PIECE_TOKENS, WORD_TOKENS, Tokens
from menura.errors import ConfigError, DataError, MismatchError, StorageError
from menura.models.attention_routing import AttentionRouting
from menura.models.attention_routing_settings import AttentionRoutingConfig
from menura.models.catalogue import ModelConfig, build, over_network, voice_of
from menura.models.causal_lm import CausalLmConfig, check_starts_as_base
from menura.models.dialogue_model import DialogueModel
from menura.models.lic import Lic, LicConfig
from menura.models.parts.adapters import Adapters
from menura.models.parts.identity import check_can_learn
from menura.models.parts.speaks_words import SpeaksWords
from menura.models.plato import Plato, sized
from menura.models.plato_settings import PlatoConfig
from menura.models.seq2seq import Seq2Seq, Seq2SeqConfig
from menura.models.speaker import SpeakerConfig

SHIPPED = "shipped"
PROBE = "The quick brown fox jumps over the lazy dog."


@dataclass(frozen=True)
class Loaded:
    """A model on its device with its encoder, and the base it stands on: a network, or a lexicon."""

    model: DialogueModel[Any]
    encoder: Encoder
    base: Base
    config: ModelConfig
    start_sha256: str = ""
    start_about: Mapping[str, str] = field(default_factory=dict)  # what the start was trained on
    lexicon: Lexicon | PieceLexicon | None = None


def load_model(
    config: ModelConfig,
    *,
    seed: int = 0,
    device: str = "cpu",
    offline: bool = False,
    say: Callable[[str], None] = lambda line: None,
    lexicon: Lexicon | PieceLexicon | None = None,
) -> Loaded:
    """Build a model; what is fresh in it comes from ``seed``.

    A model over words stands on ``lexicon``, or on that of the run it starts from. Raises what ``base.pull`` raises,
    and MismatchError for start weights made for another base, other words or other adapters.
    """
    if isinstance(config, Seq2SeqConfig):
        assert not isinstance(lexicon, PieceLexicon)
        return _over_words(config, lexicon, seed, device)
    if isinstance(config, AttentionRoutingConfig):
        assert not isinstance(lexicon, Lexicon)
        return _routed(config, lexicon, seed, device, encoders=partial(encoder_named, offline=offline, say=say))
    if isinstance(config, PlatoConfig):
        return _unified(config, seed, device, offline=offline, say=say)
    if isinstance(config, LicConfig):
        return _shared(config, seed, device, offline=offline, say=say)
    return _over_network(config, seed, device, offline=offline, say=say)


def _unified(config: PlatoConfig, seed: int, device: str, *, offline: bool, say: Callable[[str], None]) -> Loaded:
    """Begin a unified transformer with what a BERT or a GPT-2 knows, or with its vocabulary alone."""
    begun = pretrained(config.base, weights=config.init == "base", offline=offline, say=say)
    sizes = sized(config, begun.sizes)
    if sizes.vocabulary < len(begun.tokens):
        raise ConfigError(
            f"model.vocabulary: {sizes.vocabulary} rows, but {config.base} has {len(begun.tokens)} tokens",
            hint="leave it at 0: as many as there are",
        )
    opens, end = begun.tokens.control(begun.opens), begun.tokens.control(begun.ends)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Plato(config, sizes, end=end, pre_norm=begun.pre_norm).eval()
    if begun.weights:
        put(begun.weights, dict(model.named_parameters()))
        if begun.mask is not None and model.rules.mask_from_vocabulary and config.latents:
            model.mask_slot.data.copy_(model.embeddings.token.weight[begun.mask])
    model.unsaid = tuple(sorted(begun.tokens.never_said() - {end}))
    caps = Caps(
        config.utterance, config.reply, config.turns - 1, config.facts, model.rules.fact_tokens, model.rules.through
    )
    encoder = Encoder(begun.tokens, utterances(opens, end), config.limit, caps=caps)
    start_sha256 = _put_weights(model, start_file(config), ["adapters."]) if config.start else ""
    about = tensors.metadata(start_file(config)) if config.start else {}
    return Loaded(model.to(device), encoder, begun.base, config, start_sha256, about)


def _shared(config: LicConfig, seed: int, device: str, *, offline: bool, say: Callable[[str], None]) -> Loaded:
    """Begin layers that encoder and decoder share, as ``_unified`` does."""
    begun = pretrained(config.base, weights=config.init == "base", offline=offline, say=say)
    opens, end = begun.tokens.control(begun.opens), begun.tokens.control(begun.ends)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Lic(config, config.sizes(begun.sizes), pre_norm=begun.pre_norm).eval()
    put(begun.weights, dict(model.named_parameters()))
    model.unsaid = tuple(sorted(begun.tokens.never_said() - {end}))
    encoder = Encoder(begun.tokens, utterances(opens, end), config.limit)
    start_sha256 = _put_weights(model, start_file(config)) if config.start else ""
    about = tensors.metadata(start_file(config)) if config.start else {}
    return Loaded(model.to(device), encoder, begun.base, config, start_sha256, about)


def _over_words(config: Seq2SeqConfig, lexicon: Lexicon | None, seed: int, device: str) -> Loaded:
    if config.start:
        lexicon = lexicons.read(start_file(config).parent)
    if lexicon is None:
        raise ConfigError("a model over words has none before it was trained", hint="name the folder of its run")
    tokens = lexicon.tokens
    config = replace(config, vocabulary=len(tokens))
    if isinstance(config, SpeakerConfig):
        config = replace(config, users=len(lexicon.people) + 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build(None, config, people=lexicon.people).eval()
    assert isinstance(model, Seq2Seq | SpeaksWords)
    if config.vectors and not config.start:
        _begin_words(model, config, lexicon, seed)
    model.unsaid = tuple(tokens.control(name) for name in WORD_TOKENS if name != END_OF_REPLY)
    base = Base("words", "run", "", sum(p.numel() for p in model.parameters()), "", lexicon.sha256)
    encoder = Encoder(tokens, words(tokens), config.limit)
    start_sha256 = _put_weights(model, start_file(config)) if config.start else ""
    about = tensors.metadata(start_file(config)) if config.start else {}
    return Loaded(model.to(device), encoder, base, config, start_sha256, about, lexicon)


def _routed(
    config: AttentionRoutingConfig,
    lexicon: PieceLexicon | None,
    seed: int,
    device: str,
    *,
    encoders: Callable[[str], Pretrained],
) -> Loaded:
    """Begin attention routing at random or with a BERT's layers, over the pieces and attributes of its training side.

    A BERT whose states are read is read here and stays as it is.
    """
    if config.start:
        lexicon = piece_lexicon.read(start_file(config).parent)
    if lexicon is None:
        raise ConfigError("a model over pieces has none before it was trained", hint="name the folder of its run")
    tokens, read = lexicon.tokens, lexicon.profile_tokens(by_words=config.memory)
    config = replace(config, vocabulary=len(tokens), profile_vocabulary=lexicon.profile_words)
    read_beside = encoders(config.pretrained_features) if config.pretrained_features else None
    if read_beside:
        config = replace(config, features_width=read_beside.sizes.width)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AttentionRouting(config, config.vocabulary, config.profile_vocabulary).eval()
    if config.vectors and not config.start:
        model.begin_words(*_vectors(config.vectors, tokens, config.embedded, seed))
    if config.pretrained_weights and not config.start:
        put_layers(encoders(config.pretrained_weights), config, model)
    if read_beside and model.features:
        model.features.reads(frozen_encoder(read_beside, config, tokens))
    model.unsaid = tuple(sorted(tokens.never_said() - {tokens.control(END_OF_REPLY)}))
    base = Base("pieces", "run", "", sum(p.numel() for p in model.parameters()), "", lexicon.sha256)
    caps = Caps(config.utterance, config.reply, config.turns)
    encoder = Encoder(tokens, separated(tokens), config.limit, caps=caps, profile=read)
    # Adapters, and a predictor, may be what goes on learning alone.
    fresh = [name for name, there in (("adapters.", config.adapter_size), ("predictor.", model.predictor)) if there]
    start_sha256 = _put_weights(model, start_file(config), fresh) if config.start else ""
    about = tensors.metadata(start_file(config)) if config.start else {}
    return Loaded(model.to(device), encoder, base, config, start_sha256, about, lexicon)


def _vectors(name: str, tokens: Tokens, size: int, seed: int) -> tuple[list[int], Tensor]:
    """Return rows of tokens of which word vectors are known, and these fitted to the table's width."""
    rows = {piece: row for piece, row in tokens.rows().items() if piece not in PIECE_TOKENS}
    found = word_vectors(name, rows)
    fitted = found.fitted(size, project=True, generator=torch.Generator().manual_seed(seed))
    return [rows[word] for word in found.words], fitted


def _begin_words(model: Seq2Seq | SpeaksWords[Any], config: Seq2SeqConfig, lexicon: Lexicon, seed: int) -> None:
    """Let words begin where word vectors are known of them."""
    rows = {word: row for row, word in enumerate(lexicon.words, start=len(WORD_TOKENS))}
    found = word_vectors(config.vectors, rows)
    fitted = found.fitted(config.size, project=config.project_vectors, generator=torch.Generator().manual_seed(seed))
    model.begin_words([rows[word] for word in found.words], fitted)


def _over_network(
    config: CausalLmConfig, seed: int, device: str, *, offline: bool, say: Callable[[str], None]
) -> Loaded:
    """Attach fresh adapters, and check that they change nothing (MAMLviaPP, Eq. 2)."""
    network, tokens, base = bases.load(config.base, offline=offline, say=say)
    if config.reinit != "none":
        network = bases.forgotten(network, small=config.reinit == "small", seed=seed)
    _check_vocabulary(len(tokens), network, config)
    if config.layout == "special":
        tokens = tokens.adding(SPECIAL_TOKENS)
    encoder = Encoder(tokens, LAYOUTS[config.layout](tokens), config.limit)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build(network, config, encoder.layout).eval()
    check_starts_as_base(voice_of(model), tokens.encode(PROBE))
    start_sha256 = _put_start(model, config, base) if config.start else ""
    check_can_learn(model, config.start)
    start_about = tensors.metadata(start_file(config)) if config.start else {}
    return Loaded(model.to(device), encoder, base, config, start_sha256, start_about)


def start_file(config: ModelConfig) -> Path:
    """Return the file of the start weights that ``config.start`` names; StorageError where nothing is there."""
    if config.start != SHIPPED or isinstance(config, Seq2SeqConfig | PlatoConfig | LicConfig | AttentionRoutingConfig):
        path = Path(config.start)
        path = path / "best.safetensors" if path.is_dir() else path
        if not path.exists():
            hint = "train that run first, or --set model.start=FOLDER to begin at another one"
            raise StorageError(f"model.start: {path}: No such file or directory", hint=hint, code="missing")
        return path
    path = Path(str(files("menura.artefacts") / "starts" / f"{config.base}.safetensors"))
    if not path.exists():
        raise ConfigError(f"no start is shipped for base {config.base!r}", hint='--set model.start="" begins afresh')
    return path


def shipped_config(base: str = "smollm2-135m") -> CausalLmConfig:
    """Return the settings that the shipped start was made with."""
    about = tensors.metadata(start_file(CausalLmConfig(base=base, start=SHIPPED)))
    return CausalLmConfig(
        base=base,
        limit=int(about["limit"]),
        adapters=Adapters(kind="houlsby", size=int(about["size"]), layers="upper"),
        start=SHIPPED,
    )


def write_start(path: Path, weights: Mapping[str, Tensor], loaded: Loaded, about: Mapping[str, str]) -> None:
    """Write start weights with what they fit; half precision, as they are a beginning and not a result."""
    fits = {
        "base_sha256": loaded.base.sha256,
        "kind": over_network(loaded.config).adapters.kind,
        "size": str(over_network(loaded.config).adapters.size),
        "limit": str(loaded.config.limit),
        **about,
    }
    tensors.save(path, {name: value.half() for name, value in weights.items()}, fits)


def _check_vocabulary(tokens: int, network: PreTrainedModel, config: CausalLmConfig) -> None:
    """Raise MismatchError for a vocabulary the network has no rows for, or whose own tokens would hit unused rows."""
    rows = network.get_input_embeddings().weight.shape[0]
    if tokens > rows:
        raise MismatchError(
            f"tokenizer.json has {tokens} tokens, the network has rows for {rows}",
            place=config.base,
            hint="take both from the same base",
        )
    if config.layout == "special" and tokens < rows:
        raise MismatchError(
            f"layout special puts its tokens behind the base's; here {rows - tokens} unused rows stand between",
            place=config.base,
            hint="use --set model.layout=chat or plain",
        )


def _put_start(model: DialogueModel[Any], config: CausalLmConfig, base: Base) -> str:
    path = start_file(config)
    notes = tensors.metadata(path)
    made_for, kind = notes.get("base_sha256", base.sha256), notes.get("kind", config.adapters.kind)
    if made_for != base.sha256:
        raise MismatchError(
            f"start weights were made for base {made_for[:12]}, this is {base.name} ({base.sha256[:12]})",
            place=str(path),
        )
    if kind != config.adapters.kind:
        hint = f"use --set model.adapters.kind={kind}"
        raise MismatchError(
            f"start weights are for adapters {kind}, wanted {config.adapters.kind}", place=str(path), hint=hint
        )
    return _put_weights(model, path)


def _in(name: str, parts: Sequence[str]) -> bool:
    return any(part in name for part in parts)


def _put_weights(model: DialogueModel[Any], path: Path, fresh: Sequence[str] = ()) -> str:
    """Give all that trains the values in a file; return the hash of what it holds.

    What has one of ``fresh`` in its name may be missing there, and then stays as it begins.
    """
    found = tensors.load(path)
    if not found:
        raise DataError("no weights in it", place=str(path), code="delta_format")
    bring_rates(model, found)
    wanted = {name: value for name, value in trained(model).items() if name in found or not _in(name, fresh)}
    tensors.check_same_shape(found, wanted, f"start {path.name}")
    with torch.no_grad():
        for name, value in found.items():
            wanted[name].copy_(value)
    return tensors.content_sha256(found)
