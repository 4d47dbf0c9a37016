"""Attention routing, over the pieces and attributes of its training split, random or with a BERT's layers."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from menura.artefacts import subword_vocabulary
from menura.artefacts.bases.record import Base
from menura.artefacts.bert_init import frozen_encoder, load_bert, put_layers
from menura.artefacts.loaders.recurrent import check_counted
from menura.artefacts.loading import LoadedModel, LoadOptions, run_weights, with_weights
from menura.artefacts.pretrained import Pretrained
from menura.artefacts.subword_vocabulary import SubwordVocabulary
from menura.artefacts.word_vectors import word_vectors
from menura.batches.chat_format import separated
from menura.batches.encode import Encoder, TokenLimits
from menura.batches.tokenizer import END_OF_REPLY, PIECE_TOKENS, Tokenizer
from menura.corpus.dialogue import Profile
from menura.errors import ConfigError
from menura.models.attention_routing.config import AttentionRoutingConfig
from menura.models.attention_routing.model import AttentionRouting
from menura.models.catalogue import BuildInputs
from menura.tasks.task import Task


def load_attention_routing(settings: AttentionRoutingConfig, options: LoadOptions) -> LoadedModel:
    """Build attention routing; a BERT for features is loaded here and stays frozen.

    The model's encoder turns dialogues into token ids (no network; ``load_named`` loads the networks of BERTs).
    Raises ConfigError if there is neither a run to read the vocabulary from nor a given one.
    """
    load_named: Callable[[str], Pretrained] = partial(load_bert, offline=options.offline, say=options.say)
    vocabulary = subword_vocabulary.read(run_weights(settings).parent) if settings.init_from else options.vocabulary
    if vocabulary is None:
        raise ConfigError("a model over pieces has none before it was trained", hint="name the folder of its run")
    assert isinstance(vocabulary, SubwordVocabulary)
    tokenizer, profile = vocabulary.tokenizer, vocabulary.profile_tokens(by_words=settings.memory)
    settings = replace(settings, vocab_size=len(tokenizer), profile_vocab_size=vocabulary.profile_words)
    read_beside = load_named(settings.pretrained_features) if settings.pretrained_features else None
    if read_beside:
        settings = replace(settings, features_width=read_beside.sizes.hidden_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        model = AttentionRouting(settings, settings.vocab_size, settings.profile_vocab_size).eval()
    if not settings.init_from:
        _begin(model, settings, tokenizer, load_named, options.seed)
    if read_beside and model.features:
        model.features.reads(frozen_encoder(read_beside, settings, tokenizer))
    model.suppress_ids = tuple(sorted(tokenizer.never_said() - {tokenizer.control(END_OF_REPLY)}))
    base = Base("pieces", "run", "", sum(p.numel() for p in model.parameters()), "", vocabulary.sha256)
    caps = TokenLimits(settings.max_utterance_tokens, settings.max_reply_tokens, settings.max_turns)
    encoder = Encoder(tokenizer, separated(tokenizer), settings.max_length, caps=caps, profile=profile)
    loaded = LoadedModel(model, encoder, base, settings, vocabulary=vocabulary)
    if not settings.init_from:
        return loaded
    # Adapters and the predictor may be missing in the initial weights: they are then trained alone.
    added = (("adapters.", settings.adapter_bottleneck), ("predictor.", model.predictor))
    return with_weights(loaded, run_weights(settings), fresh=[name for name, there in added if there])


def learn_pieces(settings: AttentionRoutingConfig, tasks: Sequence[Task]) -> SubwordVocabulary:
    """Return the pieces and attributes of training tasks."""
    return subword_vocabulary.of_tasks(tasks, settings)


def train_encoder(settings: AttentionRoutingConfig, encoder: Encoder, profiles: Sequence[Profile]) -> Encoder:
    """Return the encoder of the training split, with its profiles as lenders."""
    if not (encoder.profile and settings.lent_share):
        return encoder
    return replace(encoder, profile=encoder.profile.lending(profiles))


def attention_routing_inputs(settings: AttentionRoutingConfig, prefix: str) -> BuildInputs:
    """Return the build inputs for counting parameters; ConfigError if the vocabulary sizes are not set.

    ``prefix`` is that of the model's settings in ``--set``, for the hint.
    """
    # Without a memory profiles share the vocabulary of the dialogues.
    profiles = {"profile_vocab_size": "10004"} if settings.memory else {}
    check_counted(settings, prefix, {"vocab_size": "18600", **profiles})
    return BuildInputs()


def _begin(
    model: AttentionRouting,
    settings: AttentionRoutingConfig,
    tokenizer: Tokenizer,
    load_named: Callable[[str], Pretrained],
    seed: int,
) -> None:
    """Initialise a fresh model with word vectors and with a BERT's layers, if set."""
    if settings.word_vectors:
        model.set_word_embeddings(*_vectors(settings.word_vectors, tokenizer, settings.embedded, seed))
    if settings.pretrained_weights:
        put_layers(load_named(settings.pretrained_weights), settings, model)


def _vectors(name: str, tokenizer: Tokenizer, size: int, seed: int) -> tuple[list[int], Tensor]:
    """Return the ids of tokens that have word vectors, and the vectors in the embeddings' width."""
    rows = {piece: row for piece, row in tokenizer.rows().items() if piece not in PIECE_TOKENS}
    vectors = word_vectors(name, rows)
    projected = vectors.projected(size, project=True, generator=torch.Generator().manual_seed(seed))
    return [rows[word] for word in vectors.words], projected
