"""PLATO: a unified transformer, initialised from a BERT or a GPT-2, or with its vocabulary alone."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from menura.artefacts import piece_vocabulary
from menura.artefacts.loading import LoadedModel, LoadOptions, run_weights, with_weights
from menura.artefacts.piece_vocabulary import PieceVocabulary, cut_pretrained
from menura.artefacts.pretrained import Pretrained, known_sizes, load_pretrained, lowest_layers, put
from menura.batches.chat_format import utterances
from menura.batches.encode import Encoder, TokenLimits
from menura.errors import ConfigError
from menura.models.catalogue import BuildInputs
from menura.models.plato.config import PlatoConfig
from menura.models.plato.model import Plato, sized
from menura.tasks.task import Task


def load_plato(settings: PlatoConfig, options: LoadOptions) -> LoadedModel:
    """Build a unified transformer; ConfigError for fewer embeddings than its base has tokens.

    Its encoder turns dialogues into token ids (no network). ``pretrained``: what it starts from.
    """
    pretrained, vocabulary = _begun(settings, options)
    sizes = sized(settings, pretrained.sizes)
    if vocabulary:  # model.vocab_size was the most that it may have
        sizes = replace(sizes, vocab_size=len(pretrained.tokenizer))
    if sizes.vocab_size < len(pretrained.tokenizer):
        raise ConfigError(
            f"model.vocab_size: {sizes.vocab_size} rows, but {settings.base} has {len(pretrained.tokenizer)} tokens",
            hint="leave it at 0: as many as there are",
        )
    opens, end = pretrained.tokenizer.control(pretrained.opens), pretrained.tokenizer.control(pretrained.ends)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        model = Plato(settings, sizes, end=end, pre_norm=pretrained.pre_norm).eval()
    if pretrained.weights:
        put(pretrained.weights, dict(model.named_parameters()))
        if pretrained.mask is not None and model.rules.mask_from_vocabulary and settings.num_latents:
            model.mask_slot.data.copy_(model.embeddings.token.weight[pretrained.mask])
    model.suppress_ids = tuple(sorted(pretrained.tokenizer.never_said() - {end}))
    caps = TokenLimits(
        settings.max_utterance_tokens,
        settings.max_reply_tokens,
        settings.max_turns - 1,
        settings.max_facts,
        model.rules.max_fact_tokens,
        model.rules.through,
    )
    encoder = Encoder(pretrained.tokenizer, utterances(opens, end), settings.max_length, caps=caps)
    loaded = LoadedModel(model, encoder, pretrained.base, settings, vocabulary=vocabulary)
    return with_weights(loaded, run_weights(settings), fresh=["adapters."]) if settings.init_from else loaded


def learn_pieces(settings: PlatoConfig, tasks: Sequence[Task]) -> PieceVocabulary | None:
    """Return the base's pieces that occur in training tasks; None where the whole vocabulary stays."""
    if settings.pieces == "base":
        return None
    whole = load_pretrained(settings.base, weights=False)
    most, least = settings.vocab_size, settings.min_count
    return piece_vocabulary.of_tasks(tasks, whole.tokenizer, max_size=most, min_count=least)


def _begun(settings: PlatoConfig, options: LoadOptions) -> tuple[Pretrained, PieceVocabulary | None]:
    """Return what the model begins from: its base, cut to layers and pieces as the settings have it."""
    base = load_pretrained(settings.base, weights=settings.init == "base", offline=options.offline, say=options.say)
    if settings.init == "base" and settings.num_layers:
        base = lowest_layers(base, settings.num_layers)
    if settings.pieces == "base":
        return base, None
    trained = piece_vocabulary.read(run_weights(settings).parent) if settings.init_from else options.vocabulary
    if not isinstance(trained, PieceVocabulary):
        raise ConfigError("model.pieces: training has none before it was trained", hint="name the folder of its run")
    return cut_pretrained(base, trained), trained


def plato_inputs(settings: PlatoConfig, _prefix: str) -> BuildInputs:
    """Return the build inputs for counting parameters: the sizes of its base."""
    return BuildInputs(sizes=known_sizes(settings.base))
