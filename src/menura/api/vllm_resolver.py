"""vLLM serves the personas of a workspace by name: a plug-in of vLLM, which alone imports this module."""

import asyncio
import logging
import zlib

from vllm.lora.request import LoRARequest
from vllm.lora.resolver import LoRAResolver, LoRAResolverRegistry

from menura.api.served_personas import served_folder
from menura.errors import MenuraError

LOG = logging.getLogger("vllm.menura")  # below vLLM's own, so that it is shown with it


class MenuraResolver(LoRAResolver):  # type: ignore[misc]  # vLLM need not be installed where types are checked
    """Finds a persona of ``$MENURA_HOME`` when a request names it as its model."""

    async def resolve_lora(self, base_model_name: str, lora_name: str) -> "LoRARequest | None":
        """Return where vLLM finds the persona's LoRA; None where there is no such persona, or none that fits."""
        try:
            folder = await asyncio.to_thread(served_folder, base_model_name, lora_name)
        except MenuraError as error:
            LOG.warning("%s", error)  # vLLM answers that there is no such model
            return None
        if folder is None:
            return None
        return LoRARequest(lora_name, zlib.crc32(lora_name.encode()) + 1, str(folder))  # vLLM numbers it anew


def register() -> None:
    """Offer the resolver to vLLM; it calls this at its start."""
    LoRAResolverRegistry.register_resolver("Menura", MenuraResolver())
