"""Lost in Conversation: a shared stack of layers, initialised from a base's weights, or at random."""

import torch

from menura.artefacts.loading import LoadedModel, LoadOptions, run_weights, with_weights
from menura.artefacts.pretrained import known_sizes, load_pretrained, put
from menura.batches.chat_format import utterances
from menura.batches.encode import Encoder
from menura.models.catalogue import BuildInputs
from menura.models.lic import Lic, LicConfig


def load_lic(settings: LicConfig, options: LoadOptions) -> LoadedModel:
    """Build the model, with its base's vocabulary and, if set, weights.

    Its encoder turns dialogues into token ids (no network).
    """
    pretrained = load_pretrained(
        settings.base, weights=settings.init == "base", offline=options.offline, say=options.say
    )
    opens, end = pretrained.tokenizer.control(pretrained.opens), pretrained.tokenizer.control(pretrained.ends)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        model = Lic(settings, settings.sizes(pretrained.sizes), pre_norm=pretrained.pre_norm).eval()
    put(pretrained.weights, dict(model.named_parameters()))
    model.suppress_ids = tuple(sorted(pretrained.tokenizer.never_said() - {end}))
    encoder = Encoder(pretrained.tokenizer, utterances(opens, end), settings.max_length)
    loaded = LoadedModel(model, encoder, pretrained.base, settings)
    return with_weights(loaded, run_weights(settings)) if settings.init_from else loaded


def lic_inputs(settings: LicConfig, _prefix: str) -> BuildInputs:
    """Return the build inputs for counting parameters: the sizes of its base."""
    return BuildInputs(sizes=known_sizes(settings.base))
