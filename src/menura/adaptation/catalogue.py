"""The methods by name."""

from menura.adaptation.maml import Maml, Reptile
from menura.adaptation.plain import Finetune, PretrainOnly

METHODS = {
    "pretrain-only": PretrainOnly,
    "finetune": Finetune,
    "maml": Maml,
    "reptile": Reptile,
}

Method = PretrainOnly | Finetune | Maml | Reptile
