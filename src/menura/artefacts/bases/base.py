"""A base model on disk becomes a network with its tokenizer."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from menura.artefacts.bases.catalogue import BASES
from menura.artefacts.bases.dtype import Dtype, chosen_dtype
from menura.artefacts.bases.files import CONFIG, BaseFiles, base_files, read_config
from menura.artefacts.bases.gguf_network import load_gguf
from menura.artefacts.bases.kinds import check_kind
from menura.artefacts.bases.network import CONTRADICTIONS, load_network, unreadable
from menura.artefacts.bases.packages import network_settings
from menura.artefacts.bases.places import fetch, folder_of, on_disk, unknown
from menura.artefacts.bases.quiet import quiet
from menura.artefacts.bases.record import RECORD, Base, check_unchanged, read_record, record_of
from menura.artefacts.bases.tokenizer import check_rows, end_ids, load_hf_tokenizer, own_tokenizer
from menura.batches.tokenizer import Tokenizer

__all__ = ["Base", "LoadedBase", "fetch", "folder_of", "load", "on_disk", "pull", "reinitialized", "without_weights"]

REINIT_SIZES = {  # sizes of the small REINIT network, under the names of Llama's and of GPT-2's configurations
    "num_hidden_layers": 4,
    "hidden_size": 256,
    "intermediate_size": 1024,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 64,
    "n_layer": 4,
    "n_embd": 256,
    "n_inner": 1024,
    "n_head": 4,
}
Say = Callable[[str], None]


@dataclass(frozen=True)
class LoadedBase:
    """A base in memory.

    ``network`` is in evaluation mode. ``tokenizer`` gives ids to plain text and to named control tokens;
    ``hf_tokenizer`` is transformers' over the same ids, with chat template, BOS and EOS. Generation stops at
    ``end_ids``, those of ``generation_config.json`` and the tokenizer's EOS, in order.
    """

    network: PreTrainedModel
    tokenizer: Tokenizer
    base: Base
    hf_tokenizer: PreTrainedTokenizerFast
    end_ids: tuple[int, ...]


def pull(name: str, *, accept_terms: bool = False, offline: bool = False, say: Say = print) -> Base:
    """Fetch and convert a base unless it is on this machine; return its record.

    Raises what ``fetch`` and ``base_files`` raise: StorageError if it cannot be fetched, ConfigError for an unknown
    name and for terms that were not accepted, DataError and UnsafeError for a base that cannot be used.
    """
    return _fetched(name, accept_terms=accept_terms, offline=offline, say=say)[1]


def load(
    name: str, *, dtype: Dtype = "float32", device: str = "cpu", offline: bool = False, say: Say = print
) -> LoadedBase:
    """Return a base in memory, fetched if need be, computing in ``dtype``; on the CPU, whatever ``device`` it is for.

    Raises what ``pull`` raises; DataError for files that were changed, tensors that are missing, unexpected, of another
    shape or not finite, and tokenizers that cannot be read; MismatchError for a token without a row; NumericalError for
    weights that do not fit into memory.
    """
    files, base = _fetched(name, offline=offline, say=say)
    if (files.folder / RECORD).exists():
        check_unchanged(files, base)
    hf_tokenizer = load_hf_tokenizer(files, BASES.get(base.name))
    computed = chosen_dtype(dtype, files.parameters, files.stored, device, say)
    network = load_gguf(files.gguf, computed, say) if files.gguf is not None else load_network(files, computed)
    check_rows(hf_tokenizer, network.get_input_embeddings().weight.shape[0], str(files.vocabulary))
    own = own_tokenizer(files, hf_tokenizer)
    return LoadedBase(network, own, base, hf_tokenizer, end_ids(network, hf_tokenizer))


def reinitialized(network: PreTrainedModel, *, small: bool, seed: int) -> PreTrainedModel:
    """Return a network with random weights and the same vocabulary: of the same sizes, or small (REINIT)."""
    settings = network.config.to_dict()
    if small:
        settings |= REINIT_SIZES
    config = AutoConfig.for_model(settings.pop("model_type"), **settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=network.dtype)
    return made.eval()


def without_weights(name: str) -> PreTrainedModel:
    """Return the network on the meta device: all shapes, no memory, nothing downloaded.

    Raises ConfigError for a name that is none, and what ``base_files`` raises for a base that cannot be used.
    """
    known = BASES.get(name)
    with quiet():
        try:
            config = network_settings(known) if known else _settings_of(name)
            with torch.device("meta"):
                return AutoModelForCausalLM.from_config(config)
        except CONTRADICTIONS as error:
            raise unreadable(error, name) from error


def _settings_of(name: str) -> object:
    path = folder_of(name)
    if not path.exists():
        raise unknown(name)
    if (path / CONFIG).exists():
        check_kind(read_config(path / CONFIG), path / CONFIG)
        return AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    files = base_files(path)
    return AutoConfig.from_pretrained(files.folder, gguf_file=files.weights[0].name)


def _fetched(name: str, *, accept_terms: bool = False, offline: bool, say: Say) -> tuple[BaseFiles, Base]:
    path = fetch(name, accept_terms=accept_terms, offline=offline, say=say)
    files = base_files(path)
    if (path / RECORD).exists():
        return files, read_record(path)
    source = "gguf" if files.kind == "gguf" else "folder"
    if path == folder_of(name) and "snapshots" in path.parts and path.name not in name:
        source = "hub"
    return files, record_of(files, name, source, f"see the {source}")
