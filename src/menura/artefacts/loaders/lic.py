"""Lost in Conversation: a shared stack of layers, initialised from a base's weights, or at random."""

import torch

from menura.artefacts.loading import LoadedModel, LoadOptions, run_weights, with_weights
from menura.artefacts.pretrained import known_sizes, pretrained, put
from menura.batches.chat_format import utterances
from menura.batches.encode import Encoder
from menura.models.catalogue import BuildInputs
from menura.models.lic import Lic, LicConfig


def load_lic(settings: LicConfig, options: LoadOptions) -> LoadedModel:
    """Build the model, with its base's vocabulary and, if set, weights."""
    encoder = pretrained(settings.base, weights=settings.init == "base", offline=options.offline, say=options.say)
    opens, end = encoder.tokens.control(encoder.opens), encoder.tokens.control(encoder.ends)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        model = Lic(settings, settings.sizes(encoder.sizes), pre_norm=encoder.pre_norm).eval()
    put(encoder.weights, dict(model.named_parameters()))
    model.suppress_ids = tuple(sorted(encoder.tokens.never_said() - {end}))
    reads = Encoder(encoder.tokens, utterances(opens, end), settings.max_length)
    loaded = LoadedModel(model, reads, encoder.base, settings)
    return with_weights(loaded, run_weights(settings)) if settings.init_from else loaded


def count_lic(settings: LicConfig, within: str) -> BuildInputs:
    """Return the build inputs for counting parameters: the sizes of its base."""
    del within
    return BuildInputs(sizes=known_sizes(settings.base))
