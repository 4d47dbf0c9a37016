"""The tokenizer of a base: transformers' own, with chat template and special tokens, and ours over the same ids."""

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution

from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from menura.artefacts.bases.catalogue import KnownBase
from menura.artefacts.bases.files import TOKENIZER, BaseFiles, listed
from menura.artefacts.bases.kinds import OTHERS
from menura.artefacts.bases.quiet import quiet
from menura.batches.tokenizer import Tokenizer
from menura.errors import DataError, MismatchError

# The packages by which transformers converts the vocabularies of other libraries.
CONVERTERS = {".model": ("sentencepiece", "protobuf"), ".tiktoken": ("tiktoken",)}
UNREADABLE = (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, IndexError, AssertionError)


def load_hf_tokenizer(files: BaseFiles, entry: KnownBase | None = None) -> PreTrainedTokenizerFast:
    """Return transformers' tokenizer of a base, with its chat template and special tokens.

    A ``tokenizer.json`` is taken as it stands: transformers' class of a model type would build some of it anew. Those
    of ``entry`` complete a folder that has nothing but this file. Raises DataError for a file that cannot be read or
    needs a package that is missing.
    """
    place = str(files.vocabulary)
    _check_packages(files)
    with quiet():
        try:
            if files.kind == "gguf":
                made = AutoTokenizer.from_pretrained(files.folder, gguf_file=files.vocabulary.name)
            elif files.vocabulary.name == TOKENIZER:
                made = PreTrainedTokenizerFast.from_pretrained(files.folder, local_files_only=True)
            else:
                made = AutoTokenizer.from_pretrained(files.folder, local_files_only=True, trust_remote_code=False)
        except Exception as error:
            # The library of tokenizers raises Exception itself on a file that it cannot read.
            if type(error) is not Exception and not isinstance(error, UNREADABLE):
                raise
            raise _unreadable(error, place) from error
    if not isinstance(made, PreTrainedTokenizerFast):
        raise DataError(
            f"it cannot be converted to a {TOKENIZER}", place=place, hint=OTHERS, code="tokenizer_unreadable"
        )
    if entry is not None and made.chat_template is None and entry.chat_template:
        made.chat_template = entry.chat_template
    if entry is not None:
        for name in ("bos_token", "eos_token"):
            if getattr(entry, name) and getattr(made, name) is None:
                setattr(made, name, getattr(entry, name))
    return made


def own_tokenizer(files: BaseFiles, hf_tokenizer: PreTrainedTokenizerFast) -> Tokenizer:
    """Return our tokenizer over the same vocabulary."""
    if files.vocabulary.name == TOKENIZER:
        return Tokenizer.from_file(files.vocabulary)
    return Tokenizer(hf_tokenizer.backend_tokenizer)


def end_ids(network: PreTrainedModel, hf_tokenizer: PreTrainedTokenizerFast) -> tuple[int, ...]:
    """Return the ids at which generation stops, by ``generation_config.json`` and by the tokenizer, in order."""
    settings = network.generation_config.eos_token_id if network.generation_config else None
    listed_ids = settings if isinstance(settings, list | tuple) else [settings]
    rows = network.get_input_embeddings().weight.shape[0]
    ids = {id for id in (*listed_ids, hf_tokenizer.eos_token_id) if isinstance(id, int) and 0 <= id < rows}
    return tuple(sorted(ids))


def check_rows(tokenizer: PreTrainedTokenizerFast, rows: int, place: str) -> None:
    """Raise MismatchError if a token that can occur has no row in the embedding.

    Ordinary text gives all tokens but the special ones; these occur if the chat template writes them or the tokenizer
    puts them at the beginning or the end.
    """
    special = {id for id, token in tokenizer.added_tokens_decoder.items() if token.special}
    beyond = {id: name for name, id in tokenizer.get_vocab().items() if id >= rows}
    put = {*tokenizer("")["input_ids"], tokenizer.bos_token_id, tokenizer.eos_token_id}
    occurring = [
        f"{name} ({id})"
        for id, name in sorted(beyond.items())
        if id not in special or id in put or name in _templates(tokenizer)
    ]
    if occurring:
        message = f"the network has rows for {rows:,} tokens; none for {listed(occurring)}; take both from one model"
        raise MismatchError(message, place=place, hint=OTHERS, code="tokens_beyond_rows")


def _check_packages(files: BaseFiles) -> None:
    """Raise DataError if a package is missing by which transformers converts a vocabulary; its own words mislead."""
    missing = [name for name in CONVERTERS.get(files.vocabulary.suffix, ()) if not _is_installed(name)]
    if missing:
        message = f"only {files.vocabulary.name}, no {TOKENIZER}: converting it needs {' and '.join(missing)}"
        hint = f"pip install {' '.join(missing)}"
        raise DataError(message, place=str(files.vocabulary), hint=hint, code="package_missing")


def _is_installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


def _templates(tokenizer: PreTrainedTokenizerFast) -> str:
    template = tokenizer.chat_template or ""
    texts: Iterable[str] = template.values() if isinstance(template, dict) else (template,)
    return "\n".join(texts)


def _unreadable(error: Exception, place: str) -> DataError:
    message = f"the tokenizer cannot be read: {(str(error).splitlines() or [''])[0][:120]}"
    return DataError(message, place=place, hint=OTHERS, code="tokenizer_unreadable")
