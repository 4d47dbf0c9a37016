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

from menura.adaptation.inner_lrs import restore_inner_lrs
from menura.adaptation.weights import trained
from menura.artefacts import base as bases
from menura.artefacts import subword_vocabulary, tensors, word_vocabulary
from menura.artefacts.base import Base
from menura.artefacts.bert_init import encoder_named, frozen_encoder, put_layers
from menura.artefacts.pretrained import Pretrained, pretrained, put
from menura.artefacts.renamed import renamed_weights
from menura.artefacts.subword_vocabulary import SubwordVocabulary
from menura.artefacts.word_vectors import word_vectors
from menura.artefacts.word_vocabulary import WordVocabulary
from menura.batches.chat_format import CHAT_FORMATS, SPECIAL_TOKENS, separated, utterances, words
from menura.batches.encode import Caps, Encoder
from menura.batches.tokenizer import END_OF_REPLY, PIECE_TOKENS, WORD_TOKENS, Tokens
from menura.errors import ConfigError, DataError, MismatchError, StorageError
from menura.models.attention_routing.config import AttentionRoutingConfig
from menura.models.attention_routing.model import AttentionRouting
from menura.models.catalogue import ModelConfig, build, lm_of, over_network
from menura.models.causal_lm.adapter_checks import check_can_learn
from menura.models.causal_lm.model import CausalLmConfig, check_starts_as_base
from menura.models.dialogue_model import DialogueModel
from menura.models.layers.adapters import Adapters
from menura.models.lic import Lic, LicConfig
from menura.models.plato.config import PlatoConfig
from menura.models.plato.model import Plato, sized
from menura.models.recurrent.seq2seq import Seq2Seq, Seq2SeqConfig
from menura.models.recurrent.speaker import SpeakerConfig
from menura.models.recurrent.word_decoder import WordDecoderModel

SHIPPED = "shipped"
PROBE = "The quick brown fox jumps over the lazy dog."


@dataclass(frozen=True)
class LoadedModel:
    """A model on its device with its encoder, and the base it stands on: a network, or a lexicon."""

    model: DialogueModel[Any]
    encoder: Encoder
    base: Base
    config: ModelConfig
    init_sha256: str = ""
    init_about: Mapping[str, str] = field(default_factory=dict)  # what the start was trained on
    vocabulary: WordVocabulary | SubwordVocabulary | None = None


def load_model(
    config: ModelConfig,
    *,
    seed: int = 0,
    device: str = "cpu",
    offline: bool = False,
    say: Callable[[str], None] = lambda line: None,
    vocabulary: WordVocabulary | SubwordVocabulary | None = None,
) -> LoadedModel:
    """Build a model; what is fresh in it comes from ``seed``.

    A model over words stands on ``lexicon``, or on that of the run it starts from. Raises what ``base.pull`` raises,
    and MismatchError for start weights made for another base, other words or other adapters.
    """
    if isinstance(config, Seq2SeqConfig):
        assert not isinstance(vocabulary, SubwordVocabulary)
        return _over_words(config, vocabulary, seed, device)
    if isinstance(config, AttentionRoutingConfig):
        assert not isinstance(vocabulary, WordVocabulary)
        return _routed(config, vocabulary, seed, device, encoders=partial(encoder_named, offline=offline, say=say))
    if isinstance(config, PlatoConfig):
        return _unified(config, seed, device, offline=offline, say=say)
    if isinstance(config, LicConfig):
        return _shared(config, seed, device, offline=offline, say=say)
    return _over_network(config, seed, device, offline=offline, say=say)


def _unified(config: PlatoConfig, seed: int, device: str, *, offline: bool, say: Callable[[str], None]) -> LoadedModel:
    """Begin a unified transformer with what a BERT or a GPT-2 knows, or with its vocabulary alone."""
    begun = pretrained(config.base, weights=config.init == "base", offline=offline, say=say)
    sizes = sized(config, begun.sizes)
    if sizes.vocab_size < len(begun.tokens):
        raise ConfigError(
            f"model.vocab_size: {sizes.vocab_size} rows, but {config.base} has {len(begun.tokens)} tokens",
            hint="leave it at 0: as many as there are",
        )
    opens, end = begun.tokens.control(begun.opens), begun.tokens.control(begun.ends)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Plato(config, sizes, end=end, pre_norm=begun.pre_norm).eval()
    if begun.weights:
        put(begun.weights, dict(model.named_parameters()))
        if begun.mask is not None and model.rules.mask_from_vocabulary and config.num_latents:
            model.mask_slot.data.copy_(model.embeddings.token.weight[begun.mask])
    model.suppress_ids = tuple(sorted(begun.tokens.never_said() - {end}))
    caps = Caps(
        config.max_utterance_tokens,
        config.max_reply_tokens,
        config.max_turns - 1,
        config.max_facts,
        model.rules.max_fact_tokens,
        model.rules.through,
    )
    encoder = Encoder(begun.tokens, utterances(opens, end), config.max_length, caps=caps)
    start_sha256 = _put_weights(model, start_file(config), ["adapters."]) if config.init_from else ""
    about = tensors.metadata(start_file(config)) if config.init_from else {}
    return LoadedModel(model.to(device), encoder, begun.base, config, start_sha256, about)


def _shared(config: LicConfig, seed: int, device: str, *, offline: bool, say: Callable[[str], None]) -> LoadedModel:
    """Begin layers that encoder and decoder share, as ``_unified`` does."""
    begun = pretrained(config.base, weights=config.init == "base", offline=offline, say=say)
    opens, end = begun.tokens.control(begun.opens), begun.tokens.control(begun.ends)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Lic(config, config.sizes(begun.sizes), pre_norm=begun.pre_norm).eval()
    put(begun.weights, dict(model.named_parameters()))
    model.suppress_ids = tuple(sorted(begun.tokens.never_said() - {end}))
    encoder = Encoder(begun.tokens, utterances(opens, end), config.max_length)
    start_sha256 = _put_weights(model, start_file(config)) if config.init_from else ""
    about = tensors.metadata(start_file(config)) if config.init_from else {}
    return LoadedModel(model.to(device), encoder, begun.base, config, start_sha256, about)


def _over_words(config: Seq2SeqConfig, vocabulary: WordVocabulary | None, seed: int, device: str) -> LoadedModel:
    if config.init_from:
        vocabulary = word_vocabulary.read(start_file(config).parent)
    if vocabulary is None:
        raise ConfigError("a model over words has none before it was trained", hint="name the folder of its run")
    tokens = vocabulary.tokens
    config = replace(config, vocab_size=len(tokens))
    if isinstance(config, SpeakerConfig):
        config = replace(config, num_users=len(vocabulary.people) + 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build(None, config, people=vocabulary.people).eval()
    assert isinstance(model, Seq2Seq | WordDecoderModel)
    if config.word_vectors and not config.init_from:
        _begin_words(model, config, vocabulary, seed)
    model.suppress_ids = tuple(tokens.control(name) for name in WORD_TOKENS if name != END_OF_REPLY)
    base = Base("words", "run", "", sum(p.numel() for p in model.parameters()), "", vocabulary.sha256)
    encoder = Encoder(tokens, words(tokens), config.max_length)
    start_sha256 = _put_weights(model, start_file(config)) if config.init_from else ""
    about = tensors.metadata(start_file(config)) if config.init_from else {}
    return LoadedModel(model.to(device), encoder, base, config, start_sha256, about, vocabulary)


def _routed(
    config: AttentionRoutingConfig,
    vocabulary: SubwordVocabulary | None,
    seed: int,
    device: str,
    *,
    encoders: Callable[[str], Pretrained],
) -> LoadedModel:
    """Begin attention routing at random or with a BERT's layers, over the pieces and attributes of its training side.

    A BERT whose states are read is read here and stays as it is.
    """
    if config.init_from:
        vocabulary = subword_vocabulary.read(start_file(config).parent)
    if vocabulary is None:
        raise ConfigError("a model over pieces has none before it was trained", hint="name the folder of its run")
    tokens, read = vocabulary.tokens, vocabulary.profile_tokens(by_words=config.memory)
    config = replace(config, vocab_size=len(tokens), profile_vocab_size=vocabulary.profile_words)
    read_beside = encoders(config.pretrained_features) if config.pretrained_features else None
    if read_beside:
        config = replace(config, features_width=read_beside.sizes.hidden_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AttentionRouting(config, config.vocab_size, config.profile_vocab_size).eval()
    if config.word_vectors and not config.init_from:
        model.begin_words(*_vectors(config.word_vectors, tokens, config.embedded, seed))
    if config.pretrained_weights and not config.init_from:
        put_layers(encoders(config.pretrained_weights), config, model)
    if read_beside and model.features:
        model.features.reads(frozen_encoder(read_beside, config, tokens))
    model.suppress_ids = tuple(sorted(tokens.never_said() - {tokens.control(END_OF_REPLY)}))
    base = Base("pieces", "run", "", sum(p.numel() for p in model.parameters()), "", vocabulary.sha256)
    caps = Caps(config.max_utterance_tokens, config.max_reply_tokens, config.max_turns)
    encoder = Encoder(tokens, separated(tokens), config.max_length, caps=caps, profile=read)
    # Adapters, and a predictor, may be what goes on learning alone.
    fresh = [
        name for name, there in (("adapters.", config.adapter_bottleneck), ("predictor.", model.predictor)) if there
    ]
    start_sha256 = _put_weights(model, start_file(config), fresh) if config.init_from else ""
    about = tensors.metadata(start_file(config)) if config.init_from else {}
    return LoadedModel(model.to(device), encoder, base, config, start_sha256, about, vocabulary)


def _vectors(name: str, tokens: Tokens, size: int, seed: int) -> tuple[list[int], Tensor]:
    """Return rows of tokens of which word vectors are known, and these fitted to the table's width."""
    rows = {piece: row for piece, row in tokens.rows().items() if piece not in PIECE_TOKENS}
    found = word_vectors(name, rows)
    fitted = found.fitted(size, project=True, generator=torch.Generator().manual_seed(seed))
    return [rows[word] for word in found.words], fitted


def _begin_words(
    model: Seq2Seq | WordDecoderModel[Any], config: Seq2SeqConfig, vocabulary: WordVocabulary, seed: int
) -> None:
    """Let words begin where word vectors are known of them."""
    rows = {word: row for row, word in enumerate(vocabulary.words, start=len(WORD_TOKENS))}
    found = word_vectors(config.word_vectors, rows)
    fitted = found.fitted(
        config.hidden_size, project=config.project_vectors, generator=torch.Generator().manual_seed(seed)
    )
    model.begin_words([rows[word] for word in found.words], fitted)


def _over_network(
    config: CausalLmConfig, seed: int, device: str, *, offline: bool, say: Callable[[str], None]
) -> LoadedModel:
    """Attach fresh adapters, and check that they change nothing (MAMLviaPP, Eq. 2)."""
    network, tokens, base = bases.load(config.base, offline=offline, say=say)
    if config.reinit != "none":
        network = bases.forgotten(network, small=config.reinit == "small", seed=seed)
    _check_vocabulary(len(tokens), network, config)
    if config.chat_format == "special":
        tokens = tokens.adding(SPECIAL_TOKENS)
    encoder = Encoder(tokens, CHAT_FORMATS[config.chat_format](tokens), config.max_length)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build(network, config, encoder.chat_format).eval()
    check_starts_as_base(lm_of(model), tokens.encode(PROBE))
    start_sha256 = _put_start(model, config, base) if config.init_from else ""
    check_can_learn(model, config.init_from)
    start_about = tensors.metadata(start_file(config)) if config.init_from else {}
    return LoadedModel(model.to(device), encoder, base, config, start_sha256, start_about)


def start_file(config: ModelConfig) -> Path:
    """Return the file of the start weights that ``config.start`` names; StorageError where nothing is there."""
    if config.init_from != SHIPPED or isinstance(
        config, Seq2SeqConfig | PlatoConfig | LicConfig | AttentionRoutingConfig
    ):
        path = Path(config.init_from)
        path = path / "best.safetensors" if path.is_dir() else path
        if not path.exists():
            hint = "train that run first, or --set model.init_from=FOLDER to begin at another one"
            raise StorageError(f"model.init_from: {path}: No such file or directory", hint=hint, code="missing")
        return path
    path = Path(str(files("menura.artefacts") / "default_adapters" / f"{config.base}.safetensors"))
    if not path.exists():
        raise ConfigError(
            f"no start is shipped for base {config.base!r}", hint='--set model.init_from="" begins afresh'
        )
    return path


def shipped_config(base: str = "smollm2-135m") -> CausalLmConfig:
    """Return the settings that the shipped start was made with."""
    about = tensors.metadata(start_file(CausalLmConfig(base=base, init_from=SHIPPED)))
    return CausalLmConfig(
        base=base,
        max_length=int(about["limit"]),
        adapters=Adapters(kind="houlsby", bottleneck=int(about["size"]), layers="upper"),
        init_from=SHIPPED,
    )


def write_start(path: Path, weights: Mapping[str, Tensor], loaded: LoadedModel, about: Mapping[str, str]) -> None:
    """Write start weights with what they fit; half precision, as they are a beginning and not a result."""
    fits = {
        "base_sha256": loaded.base.sha256,
        "kind": over_network(loaded.config).adapters.kind,
        "size": str(over_network(loaded.config).adapters.size),
        "limit": str(loaded.config.max_length),
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
    if config.chat_format == "special" and tokens < rows:
        raise MismatchError(
            f"layout special puts its tokens behind the base's; here {rows - tokens} unused rows stand between",
            place=config.base,
            hint="use --set model.chat_format=chat or plain",
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
    read = renamed_weights(found)
    restore_inner_lrs(model, read)
    wanted = {name: value for name, value in trained(model).items() if name in read or not _in(name, fresh)}
    tensors.check_same_shape(read, wanted, f"start {path.name}")
    with torch.no_grad():
        for name, value in read.items():
            wanted[name].copy_(value)
    return tensors.content_sha256(found)
