"""The methods by name."""

from menura.adaptation.alternating import Alternating
from menura.adaptation.cmaml import Cmaml
from menura.adaptation.latent_policy import LatentPolicy
from menura.adaptation.maml import Maml
from menura.adaptation.plain import Finetune, PretrainOnly
from menura.adaptation.self_play import SelfPlay

METHODS = {
    "pretrain-only": PretrainOnly,
    "finetune": Finetune,
    "maml": Maml,
    "cmaml": Cmaml,
    "self-play": SelfPlay,
    "alternating": Alternating,
    "latent-policy": LatentPolicy,
}

Method = PretrainOnly | Finetune | Maml | Cmaml | SelfPlay | Alternating | LatentPolicy


def method_name(method: Method) -> str:
    """Return a method's name in the catalogue."""
    return next(name for name, made in METHODS.items() if isinstance(method, made))
