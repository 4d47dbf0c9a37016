"""The methods by name."""

from menura.adaptation.cmaml import Cmaml
from menura.adaptation.maml import Maml
from menura.adaptation.plain import Finetune, PretrainOnly
from menura.adaptation.self_play import SelfPlay

METHODS = {
    "pretrain-only": PretrainOnly,
    "finetune": Finetune,
    "maml": Maml,
    "cmaml": Cmaml,
    "self-play": SelfPlay,
}

Method = PretrainOnly | Finetune | Maml | Cmaml | SelfPlay
