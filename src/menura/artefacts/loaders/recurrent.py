"""Models over words: a word vocabulary of the training split, word vectors, and initial weights of a run."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from menura.artefacts import word_vocabulary
from menura.artefacts.bases.record import Base
from menura.artefacts.loading import LoadedModel, LoadOptions, run_weights, with_weights
from menura.artefacts.word_vectors import word_vectors
from menura.artefacts.word_vocabulary import WordVocabulary
from menura.batches.chat_format import words
from menura.batches.encode import Encoder
from menura.batches.tokenizer import END_OF_REPLY, WORD_TOKENS
from menura.errors import ConfigError
from menura.models.catalogue import MODELS, BuildInputs
from menura.tasks.task import Task


def load_over_words(settings: Any, options: LoadOptions) -> LoadedModel:
    """Build a model over the vocabulary of its run, or ``options.vocabulary``; ConfigError if there is neither.

    Its encoder turns dialogues into token ids (no network; the model's own RNN that reads a context is another one).
    Settings of such a model have ``vocab_size`` and, if it can be initialised with word vectors, ``word_vectors``.
    """
    vocabulary = word_vocabulary.read(run_weights(settings).parent) if settings.init_from else options.vocabulary
    if vocabulary is None:
        raise ConfigError("a model over words has none before it was trained", hint="name the folder of its run")
    assert isinstance(vocabulary, WordVocabulary)
    tokenizer = vocabulary.tokenizer
    settings = replace(settings, vocab_size=len(tokenizer), **_num_users(settings, vocabulary))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        model: Any = MODELS[settings.name].build(BuildInputs(persona_ids=vocabulary.persona_ids), settings).eval()
    if getattr(settings, "word_vectors", "") and not settings.init_from:
        _begin_words(model, settings, vocabulary, options.seed)
    model.suppress_ids = tuple(tokenizer.control(name) for name in WORD_TOKENS if name != END_OF_REPLY)
    base = Base("words", "run", "", sum(p.numel() for p in model.parameters()), "", vocabulary.sha256)
    encoder = Encoder(tokenizer, words(tokenizer), settings.max_length)
    loaded = LoadedModel(model, encoder, base, settings, vocabulary=vocabulary)
    return with_weights(loaded, run_weights(settings)) if settings.init_from else loaded


def learn_words(settings: Any, tasks: Sequence[Task]) -> WordVocabulary:
    """Return the words that occur ``settings.min_count`` times or more in training tasks, and the persona ids."""
    return word_vocabulary.of_tasks(tasks, min_count=getattr(settings, "min_count", 1))


def word_model_inputs(settings: Any, prefix: str) -> BuildInputs:
    """Return the build inputs for counting parameters; ConfigError if the vocabulary size is not set.

    ``prefix`` is that of the model's settings in ``--set``, for the hint.
    """
    check_counted(settings, prefix, {"vocab_size": "18600"})
    return BuildInputs()


def check_counted(settings: Any, prefix: str, wanted: dict[str, str]) -> None:
    """Raise ConfigError for vocabulary sizes of 0, with the setting to type; ``prefix`` is its prefix."""
    missing = [name for name in wanted if getattr(settings, name, 1) < 1]
    if missing:
        hint = " ".join(f"--set {prefix}{name}={wanted[name]}" for name in missing)
        raise ConfigError(f"{' and '.join(f'model.{name}' for name in missing)}: how many words?", hint=hint)


def _num_users(settings: Any, vocabulary: WordVocabulary) -> dict[str, int]:
    """Return the size of the user embedding, for a model that has one: one row per persona and one for all others."""
    return {"num_users": len(vocabulary.persona_ids) + 1} if hasattr(settings, "num_users") else {}


def _begin_words(model: Any, settings: Any, vocabulary: WordVocabulary, seed: int) -> None:
    """Initialise word embeddings with the known word vectors."""
    rows = {word: row for row, word in enumerate(vocabulary.words, start=len(WORD_TOKENS))}
    vectors = word_vectors(settings.word_vectors, rows)
    generator = torch.Generator().manual_seed(seed)
    projected = vectors.projected(settings.hidden_size, project=settings.project_vectors, generator=generator)
    model.set_word_embeddings([rows[word] for word in vectors.words], projected)
