"""Personas and bases for other programs: cards, peft folders, merged models; and a peft folder becomes a persona."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from menura import registry
from menura.artefacts import persona_store
from menura.artefacts.bases import base as bases
from menura.artefacts.bases.dtype import Dtype
from menura.artefacts.bases.files import base_files
from menura.artefacts.exchange.chat_prompt import TEMPLATE, ChatPrompt, chat_prompt
from menura.artefacts.exchange.lora import (
    ADAPTERS,
    MAX_RANK,
    PortableLora,
    all_maps,
    check_can_leave,
    checkpoint_lora,
    persona_lora,
    places,
    reasons_against_distilling,
    target_modules_of,
)
from menura.artefacts.exchange.merged import copy_model, merge, stored_dtype, write_model
from menura.artefacts.exchange.peft_folder import read_peft, write_peft
from menura.artefacts.files import write_bytes, write_text
from menura.artefacts.loaders.causal_lm import settings_for
from menura.artefacts.loading import DEFAULT, LoadOptions
from menura.artefacts.persona_artefact import PersonaArtefact
from menura.artefacts.persona_memory import no_memory
from menura.corpus.chats.cards.writing import card_json, card_png
from menura.errors import ConfigError, shown
from menura.models.catalogue import named_settings
from menura.models.causal_lm.config import CausalLmConfig
from menura.models.layers.adapters import Adapters
from menura.personas.distil import USUAL, Distillation, Fidelity, distilled, student_settings

if TYPE_CHECKING:
    from menura.adaptation.inner_loop import StepCallback

Say = Callable[[str], None]
CARDS = ("charx", "png", "json")
ENGINES = ("peft", "vllm", "merged")


@dataclass(frozen=True)
class EngineOptions:
    """How a persona leaves for an engine.

    ``base_name`` is what the engine calls the base, by default the base's folder or hub id. ``max_rank`` is the highest
    rank that the engine takes. ``dtype`` is the number type of a merged model, ``auto`` that in which the base is
    stored. With ``distil`` LoRA is trained on ``dialogues``, of ``speaker`` where several people reply, to answer as a
    persona does that cannot leave.
    """

    base_name: str = ""
    max_rank: int = MAX_RANK
    dtype: Dtype = "auto"
    distil: bool = False
    dialogues: tuple[Path, ...] = ()
    speaker: str | None = None
    how: Distillation = USUAL


@dataclass(frozen=True)
class ExportedMemory:
    """What a persona remembers: so many exchanges, a cache of its words or none, in what was ``written`` or not."""

    exchanges: int
    cache: bool
    written: bool


@dataclass(frozen=True)
class Exported:
    """What was written, and how an engine is asked; ``base_name`` is what the engine must call the base.

    ``chat`` and ``base_name`` are None and empty for a card. ``template`` is the file with the chat template, if there
    is one. ``facts`` are to be sent as the system message: no weights hold them. ``fidelity`` is what distilling lost.
    ``memory`` is None for a persona that remembers nothing.
    """

    path: Path
    chat: ChatPrompt | None = None
    base_name: str = ""
    template: Path | None = None
    facts: tuple[str, ...] = ()
    fidelity: Fidelity | None = None
    memory: ExportedMemory | None = None


def export_persona(
    name: str,
    to: str,
    out: Path,
    options: EngineOptions | None = None,
    *,
    with_memory: bool = False,
    offline: bool = False,
    on_step: "StepCallback | None" = None,
    say: Say = lambda line: None,
) -> Exported:
    """Write a persona for other programs.

    ``to`` is a character card, ``json``, ``png``, or ``charx`` with our weights in it; or what engines serve: ``peft``,
    a folder of its LoRA; ``vllm``, that folder within ``out`` as vLLM's resolver looks for it; ``merged``, a whole
    model. A card that the persona was made from comes out with every field that it had. What the persona remembers is
    what somebody wrote, and stays; ``with_memory`` puts it in a ``charx``. Raises ConfigError for another form, for a
    persona that cannot leave so and for a folder that is not empty.
    """
    persona = check_export(name, to, with_memory=with_memory)
    if to in CARDS:
        result = Exported(_card(persona, to, out, with_memory=with_memory))
    else:
        # ``name`` may be a path of a package, of which the folder is called as the file.
        folder = out / Path(name).name.removesuffix(persona_store.SUFFIX) if to == "vllm" else out
        result = _for_engine(persona, to, folder, options or EngineOptions(), offline, on_step, say)
    if persona.memory is None:
        return result
    memory = ExportedMemory(len(persona.memory.exchanges), persona.memory.cache is not None, with_memory)
    return replace(result, memory=memory)


def check_export(name: str, to: str, *, with_memory: bool = False) -> PersonaArtefact:
    """Return the persona to be written; ConfigError for one that is not there, another form, a memory that stays."""
    if to not in (*CARDS, *ENGINES):
        near = get_close_matches(to, (*CARDS, *ENGINES), n=1)
        message = f"--to {shown(to)}: one of {', '.join((*CARDS, *ENGINES))} wanted"
        raise ConfigError(message, hint=f"did you mean {near[0]}?" if near else "")
    persona = persona_store.load(name)
    if with_memory:
        _check_memory(persona, to)
    return persona


def _check_memory(persona: PersonaArtefact, to: str) -> None:
    """Raise ConfigError where a memory is to leave that is not there, or in a form that holds none."""
    if to != "charx":
        message = f"--with-memory: what a persona remembers leaves in a charx alone, not with --to {to}"
        raise ConfigError(message, hint="--to charx, or leave --with-memory out")
    if persona.memory is None:
        raise no_memory(f"--with-memory: persona {shown(persona.name)}", "leave --with-memory out")


def _for_engine(
    persona: PersonaArtefact,
    to: str,
    folder: Path,
    asked: EngineOptions,
    offline: bool,
    on_step: "StepCallback | None",
    say: Say,
) -> Exported:
    """Write a persona's LoRA to a folder, or the whole model; for vLLM, the chat template lies beside all folders."""
    settings = registry.settings_from(persona.model)
    fidelity = None
    if asked.distil:
        persona, settings, fidelity = _distilled(persona, settings, asked, offline, on_step, say)
    check_can_leave(persona, settings, to, asked.max_rank)
    base = bases.load(settings.base, offline=offline, say=say)
    lora = persona_lora(persona, settings, base.base, base.network)
    chat = chat_prompt(settings, base, persona.facts)
    called = asked.base_name or engine_name(settings.base, base.base)
    if to == "merged":
        merge(base.network, lora)
        files = base_files(bases.folder_of(settings.base))
        write_model(folder, base, chat.template, stored_dtype(files, asked.dtype))
        return Exported(folder, chat, str(folder), _written_template(folder / TEMPLATE), persona.facts, fidelity)
    write_peft(folder, lora, called)
    beside = folder.with_name(f"{folder.name}.{TEMPLATE}" if to == "peft" else TEMPLATE)
    if chat.template:
        write_text(beside, chat.template)
    return Exported(folder, chat, called, _written_template(beside), persona.facts, fidelity)


def export_base(
    name: str,
    out: Path,
    *,
    original: bool = False,
    dtype: Dtype = "auto",
    offline: bool = False,
    say: Say = lambda line: None,
) -> Exported:
    """Write a base as a model folder that transformers and engines load, its adapter checkpoint added to its weights.

    With ``original`` the base alone is written, and personas' LoRA fits it: byte by byte, unless ``dtype`` is named or
    it is a GGUF file. Raises ConfigError for a checkpoint that is no LoRA, and for a folder that is not empty.
    """
    settings = settings_for(name, offline=offline, say=say)
    kind = settings.adapters.kind
    if not original and settings.init_from and kind != "lora":
        message = f"the checkpoint of base {settings.base!r} is {kind}, which cannot be added to weights"
        raise ConfigError(message, hint=f"menura base export {name} --original --out FOLDER", code="cannot_leave")
    base = bases.load(settings.base, offline=offline, say=say)
    files = base_files(bases.folder_of(settings.base))
    chat = chat_prompt(settings, base)
    if original and dtype == "auto" and files.kind == "safetensors":
        copy_model(out, files, base, chat.template)
        return Exported(out, chat, str(out), _written_template(out / TEMPLATE))
    if not original and settings.init_from:
        merge(base.network, checkpoint_lora(settings, base.base, base.network))
    write_model(out, base, chat.template, stored_dtype(files, dtype))
    return Exported(out, chat, str(out), _written_template(out / TEMPLATE))


def import_persona(
    folder: Path, name: str, base: str = DEFAULT, *, offline: bool = False, say: Say = lambda line: None
) -> persona_store.Saved:
    """Make a persona of a folder that peft wrote, and keep it in the workspace.

    Maps that the folder has no LoRA for change nothing. Raises ConfigError for a name that no persona may have, and as
    ``read_peft`` for a folder that is not plain LoRA on this base.
    """
    persona_store.check_new(name)
    start = settings_for(base, offline=offline, say=say)
    lora, about = read_peft(folder, bases.without_weights(_pulled(start.base, offline, say)))
    settings = _settings_of(lora, start)
    loaded = registry.load_model(settings, LoadOptions(offline=offline, say=say))
    own = loaded.model.get_parameter
    persona = PersonaArtefact(
        name,
        _weights_of(lora, settings, own),
        loaded.base.sha256,
        loaded.init_sha256,
        named_settings(settings),
        (),
        {
            "method": {"name": "peft"},
            "files": [folder.resolve().name],
            "base_by_its_own_account": str(about.get("base_model_name_or_path") or ""),
        },
        chat_format_sha256=loaded.encoder.chat_format.sha256,
    )
    persona.check_fits(loaded)
    return persona_store.save(persona)


def engine_name(base: str, record: "bases.Base") -> str:
    """Return what an engine on this machine would call a base: its hub id, or its folder or file."""
    return record.name if record.source == "hub" else str(bases.folder_of(base).resolve())


def _card(persona: PersonaArtefact, to: str, out: Path, *, with_memory: bool) -> Path:
    forms: dict[str, Callable[[], bytes]] = {
        "json": lambda: card_json(persona.as_card(with_weights=False)),
        "png": lambda: card_png(persona.as_card(with_weights=False)),
        "charx": lambda: persona.packed(with_memory=with_memory),
    }
    write_bytes(out, forms[to]())
    return out


def _written_template(path: Path) -> Path | None:
    return path if path.exists() else None


def _pulled(base: str, offline: bool, say: Say) -> str:
    bases.pull(base, offline=offline, say=say)
    return base


def _settings_of(lora: PortableLora, start: CausalLmConfig) -> CausalLmConfig:
    """Return the settings under which our adapters stand where a LoRA's maps are: on the bare base."""
    network = bases.without_weights(start.base)
    maps = all_maps(network)
    depth, lowest = network.config.num_hidden_layers, min(maps[module][0] for module in lora.maps)
    targets = target_modules_of({maps[module][1] for module in lora.maps}, network)
    layers: Any = "all" if lowest == 0 else depth - lowest
    adapters = Adapters(kind="lora", rank=lora.rank, layers=layers, target_modules=targets)
    return replace(start, adapters=adapters, init_from="")


def _weights_of(lora: PortableLora, settings: CausalLmConfig, own: Callable[[str], Any]) -> dict[str, Any]:
    """Return a LoRA under our names; where it has no map, B is zero and A the model's own, which may still learn."""
    weights = {}
    for ours, module in places(bases.without_weights(settings.base), settings):
        down, up = (f"{ADAPTERS}{ours}.{part}.weight" for part in ("down", "up"))
        pair = lora.maps.get(module)
        weights[down] = own(down).detach().clone() if pair is None else pair[0]
        weights[up] = own(up).detach().clone().zero_() if pair is None else pair[1]
    return weights


def _distilled(
    persona: PersonaArtefact,
    settings: Any,
    options: EngineOptions,
    offline: bool,
    on_step: "StepCallback | None",
    say: Say,
) -> tuple[PersonaArtefact, CausalLmConfig, Fidelity]:
    """Return the LoRA that answers as a persona does, as a persona on the bare base."""
    if reasons := reasons_against_distilling(settings):
        message = f"persona {shown(persona.name)} cannot be distilled: {'; '.join(reasons)}"
        raise ConfigError(message, hint="adapt it with LoRA on a base: menura adapt NAME FILES", code="cannot_leave")
    if not options.dialogues:
        message = "--distil learns from the person's dialogues, and a persona does not hold them"
        raise ConfigError(message, hint="--dialogues FILES, those that it was adapted from", code="no_dialogues")
    from menura.api.agent import model_of
    from menura.corpus.inputs import dialogues_of, inputs
    from menura.personas.adapt_persona import encoded
    from menura.personas.selection import Collected

    recipe = persona.recipe
    pick: Any = recipe.get("pick") if recipe.get("pick") in ("recent", "spread") else "recent"
    collected = Collected(int(recipe.get("shots") or 5), pick)
    collected.add_all(dialogues_of(inputs(list(options.dialogues))))
    wanted = options.speaker or str(recipe.get("speaker", ""))
    speaker = collected.meant(persona.name, wanted if wanted in collected.replies else None, asked=wanted)
    selection = collected.selection(speaker)
    loaded = model_of(persona, "cpu", LoadOptions(offline=offline, say=say))
    persona.check_fits(loaded)
    # Facts stay where they were: in the system message, which engines are sent.
    support, held_out = (encoded(loaded, views, speaker) for views in (selection.support, selection.held_out))
    say(f"distil {sum(map(len, support))} replies of {speaker}, {options.how.epochs} times; a second copy of the base")
    weights, fidelity = distilled(loaded, persona.weights, support, held_out, options.how, on_step)
    say(str(fidelity))
    plain = student_settings(settings)
    return replace(persona, weights=weights, init_sha256="", model=named_settings(plain)), plain, fidelity
