"""The methods by name, each imported when it is first asked for."""

from menura.adaptation.protocol import Adaptation
from menura.models.catalogue import Catalogue


def _pretrain_only() -> type[Adaptation]:
    from menura.adaptation.finetune import PretrainOnly

    return PretrainOnly


def _finetune() -> type[Adaptation]:
    from menura.adaptation.finetune import Finetune

    return Finetune


def _maml() -> type[Adaptation]:
    from menura.adaptation.maml import Maml

    return Maml


def _cmaml() -> type[Adaptation]:
    from menura.adaptation.cmaml import Cmaml

    return Cmaml


def _self_play() -> type[Adaptation]:
    from menura.adaptation.self_play import SelfPlay

    return SelfPlay


def _alternating() -> type[Adaptation]:
    from menura.adaptation.alternating import Alternating

    return Alternating


def _latent_policy() -> type[Adaptation]:
    from menura.adaptation.latent_policy import LatentPolicy

    return LatentPolicy


METHODS: Catalogue[type[Adaptation]] = Catalogue(
    "method",
    {
        "pretrain-only": _pretrain_only,
        "finetune": _finetune,
        "maml": _maml,
        "cmaml": _cmaml,
        "self-play": _self_play,
        "alternating": _alternating,
        "latent-policy": _latent_policy,
    },
)
