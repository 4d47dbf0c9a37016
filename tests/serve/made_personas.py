"""Personas on the tiny base, made in milliseconds: LoRA with random weights, so that each says something else."""

import hashlib
from dataclasses import asdict

import torch

from menura import api
from menura.artefacts import persona_store
from menura.artefacts.loading import LoadedModel
from menura.artefacts.persona_artefact import PersonaArtefact
from menura.models.catalogue import named_settings

LORA = ("adapters.kind=lora", "adapters.rank=4", "adapters.target_modules=all-linear")


def tiny(*assignments: str) -> LoadedModel:
    """Return the tiny base with LoRA."""
    return api.load("tiny", offline=True, assignments=assignments or LORA).loaded


def make_persona(loaded: LoadedModel, name: str, *, salt: str = "", scale: float = 0.5) -> PersonaArtefact:
    """Write a persona to the workspace; its weights follow from its name and ``salt``."""
    seed = int.from_bytes(hashlib.sha256(f"{name} {salt}".encode()).digest()[:4])
    stream = torch.Generator().manual_seed(seed)
    weights = {
        f"adapters.{key}": value.detach() + scale * torch.randn(value.shape, generator=stream)
        for key, value in loaded.model.adapters.named_parameters()  # type: ignore[union-attr]
    }
    recipe = {"method": {"name": "finetune"}, "speaker": name, "shots": 3, "replies": 9, "support_loss": [3.0, 2.0]}
    model = named_settings(loaded.config) if not isinstance(loaded.config, dict) else asdict(loaded.config)
    sha256 = loaded.encoder.chat_format.sha256
    made = PersonaArtefact(
        name, weights, loaded.base.sha256, loaded.init_sha256, model, (), recipe, chat_format_sha256=sha256
    )
    persona_store.save(made, replace_old=True)
    return made
