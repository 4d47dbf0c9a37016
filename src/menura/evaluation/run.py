"""A recipe or a run becomes the results of its held-out personas."""

import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from menura import registry
from menura.adaptation.weights import PersonaWeights
from menura.artefacts.code_path import code_path, commit
from menura.artefacts.files import read_json
from menura.artefacts.loading import LoadedModel
from menura.artefacts.runs import run_path
from menura.batches.process_resources import peak_memory
from menura.errors import ConfigError, EpisodeError, number_of
from menura.evaluation.build_evaluation import build_evaluation
from menura.evaluation.choose_epochs import Chosen, chosen_epochs
from menura.evaluation.drawn_replies import with_drawn_replies
from menura.evaluation.evaluate import Evaluation, Results, SystemRow
from menura.evaluation.in_workers import EvaluationInWorkers, source_of
from menura.evaluation.mask_similarity import likeness
from menura.evaluation.scorer_labels import check_trained, persona_classifier, scorer_labels_for
from menura.evaluation.settings import EvaluateConfig
from menura.metrics import catalogue
from menura.models.dialogue_model import HasLatents, check_strength
from menura.tasks.task import Task
from menura.training.config import RunConfig, as_json
from menura.training.overrides import of_written
from menura.training.recipes import recipe
from menura.training.run_folder import environment
from menura.training.run_setup import Prepared, prepare
from menura.workers.executors import Workers

HERE = Workers()  # in this process


def config_of(target: str, size: str | None = None) -> RunConfig:
    """Return the settings of a recipe, with a size if it has sizes, or of a run's folder with its best weights."""
    folder = run_path(target)
    if not (folder / "run.json").exists():
        return recipe(target, size)
    config = of_written(read_json(folder / "run.json")["settings"])
    if not (folder / "best.safetensors").exists():
        raise ConfigError(f"run {target} has no checked weights yet", hint=f"menura train {config.recipe}")
    return replace(config, model=replace(config.model, init_from=str(folder)))


def evaluate_run(  # noqa: PLR0913  # what is evaluated, on what, by whom
    config: RunConfig,
    settings: EvaluateConfig,
    *,
    personas: int = 0,
    device: str = "cpu",
    offline: bool = False,
    say: Callable[[str], None] = print,
    workers: Workers = HERE,
) -> Results:
    """Evaluate a method on the first ``personas`` of a held-out split (0 = all), the training ones never looked at."""
    check_trained(settings.metrics, settings.scorers)
    prepared = prepare(config, device=device, offline=offline, say=say, dtype=settings.dtype)
    return evaluate_prepared(prepared, settings, personas=personas, say=say, workers=workers)


def evaluate_prepared(
    prepared: Prepared,
    settings: EvaluateConfig,
    *,
    personas: int,
    say: Callable[[str], None],
    precomputed: Mapping[tuple[str, int], PersonaWeights] | None = None,
    workers: Workers = HERE,
) -> Results:
    """Evaluate a loaded model; ``precomputed`` are weights adapted already, by persona and shots.

    Several ``workers`` load the model again each, and do not know those weights.
    """
    config, loaded = prepared.config, prepared.loaded
    prepared.check_unseen()
    check_strength(loaded.model, settings.strength)
    # Personas with too few dialogues for the largest K are left out here: another minimum would make another split.
    enough = [task for task in prepared.split.splits[settings.split] if len(task.dialogues) >= settings.needed]
    held_out = enough[: personas or None]
    if len(held_out) < 2:
        raise EpisodeError(
            f"{number_of(len(held_out), 'held-out persona')} with {number_of(settings.needed, 'dialogue')} or more; "
            "a wrong persona takes 2",
            hint="a smaller --k, or more --personas",
        )
    if not settings.metrics:
        said = (turn.text for task in held_out for part in task.dialogues for turn in part.dialogue.turns)
        settings = replace(settings, metrics=catalogue.usual(said))
    if not config.method.has_inner_loop and not settings.prompt:
        settings = replace(settings, shots=tuple(shots for shots in settings.shots if not shots) or (0,))
    scorer_labels = replace(
        scorer_labels_for(settings.metrics, held_out, settings.scorers, str(loaded.model.device)),
        whose=persona_classifier(settings.metrics, held_out, max(settings.shots) + settings.queries),
    )
    chosen = chosen_epochs(prepared, settings.epochs, max(settings.shots), say)
    made_with = prepared if chosen is None else replace(prepared, config=replace(config, method=chosen.method))
    make: Callable[..., Evaluation] = partial(Evaluation, precomputed=precomputed or {})
    if workers.count > 1:
        assert not precomputed, "workers adapt everybody"
        make = partial(EvaluationInWorkers, source=source_of(made_with, settings, held_out), workers=workers)
    make = partial(make, scorer_labels=scorer_labels, say=say)
    evaluation = build_evaluation(made_with, settings, held_out, make)
    found = evaluation.results()
    every = [task for tasks in prepared.split.splits.values() for task in tasks]
    rows = tuple(with_drawn_replies([_with_likeness(row, held_out) for row in found.rows], every))
    origin = _origin(prepared, settings, held_out)
    return replace(found, rows=rows, about=_about(prepared, settings, len(held_out), chosen), origin=origin)


def _with_likeness(row: SystemRow, held_out: Sequence[Task]) -> SystemRow:
    tasks = [task for task in held_out if task.persona_id in row.masks]
    return replace(row, likeness=likeness([row.masks[task.persona_id] for task in tasks], tasks)) if tasks else row


def _origin(prepared: Prepared, settings: EvaluateConfig, held_out: Sequence[Task]) -> dict[str, Any]:
    """Return the command, settings, code and data of an evaluation, as plain data."""
    return {
        "words": sys.argv[1:],
        "settings": as_json(prepared.config),
        # What is decoded and ranked by is named; a folder of scorers is this machine's.
        "evaluation": {**asdict(settings), "decoding": settings.decoding.signature, "scorers": ""},
        "sources": prepared.sources,
        "personas_sha256": hashlib.sha256("\n".join(task.persona_id for task in held_out).encode()).hexdigest(),
        "commit": commit(),
        "code": code_path(),
        "environment": environment(),
        "peak_memory": peak_memory(),  # bytes
    }


def _precision(loaded: LoadedModel) -> str:
    """Return the number type of most of a model's weights."""
    sizes: dict[str, int] = {}
    for value in loaded.model.parameters():
        sizes[str(value.dtype)] = sizes.get(str(value.dtype), 0) + value.numel()
    return max(sizes, key=lambda name: sizes[name]).removeprefix("torch.")


def _about(prepared: Prepared, settings: EvaluateConfig, personas: int, chosen: Chosen | None) -> dict[str, Any]:
    config, base = prepared.config, prepared.loaded.base
    following = f"{settings.queries} dialogues a persona"
    left_out = f"leave one dialogue out, {settings.queries or 'all'} of them a persona"
    model = config.model
    about = {
        "model": model.name,
        "base": f"{base.name} (sha256 {base.sha256[:12]})",
        "start": f"{model.init_from} (sha256 {prepared.loaded.init_sha256[:12]})" if model.init_from else "none",
        **registry.model(model.name).entry.describe(prepared.loaded.config),
        "method": f"{config.method.name} {chosen.method if chosen else config.method}",
        "inner epochs": chosen.said if chosen else "as the recipe has them",
        "data": f"{config.data.corpus}, {_turns(config.data.max_turns)}, {personas} {settings.split} personas, "
        + ("facts before each dialogue" if config.data.with_facts else "no facts"),
        "split": f"seed {config.data.seed}, sha256 {str(prepared.split.record()['sha256'])[:12]}",
        **_chosen_data(prepared),
        "query": following if settings.protocol == "following" else left_out,
        "left out": prepared.loaded.encoder.cut_text or "nothing",
        "perplexity": f"per token of {base.name}'s vocabulary, end token counted, opening token not",
        "precision": f"judged in {_precision(prepared.loaded)}"
        + (f", trained and adapted in {config.dtype}: approximate" if config.dtype != "float32" else ""),
        "environment": ", ".join(f"{name} {version}" for name, version in environment()["packages"].items()),
    }
    if settings.draws > 1:
        about["support"] = f"{settings.draws} draws: file order, then at random from seed {settings.seed}"
    if settings.prompt:
        about["prompt"] = f"support dialogues in the context, at most {settings.max_prompt_tokens} tokens"
    if settings.strength is not None:
        about["strength"] = f"every persona weighs {settings.strength:g} where it is judged"
    if settings.generates:
        ranked = " and ranked" if settings.ranks else ""
        about["replies"] = f"{settings.replies or 'all'} exchanges a query replied to{ranked}"
        if isinstance(prepared.loaded.model, HasLatents) and prepared.loaded.model.latents:
            about["candidates"] = f"one a latent, ranked by {settings.ranker or settings.ranking.by}"
        least = f"at least {settings.min_new_tokens}, " if settings.min_new_tokens else ""
        about["decoding"] = (
            f"{settings.decoding.signature}, {least}at most {settings.max_new_tokens} tokens, seed {settings.seed}"
        )
    return about


def _chosen_data(prepared: Prepared) -> dict[str, str]:
    """Return the settings that bound or choose personas' data, for the table; empty if there are none."""
    data, told = prepared.config.data, {}
    if data.select_dialogues == "draw" or data.max_test_dialogues or data.max_utterances:
        test = f" ({data.max_test_dialogues} of a test persona)" if data.max_test_dialogues else ""
        drawn = f", drawn from seed {data.select_seed}" if data.select_dialogues == "draw" else ", the first"
        most = f"; at most {data.max_utterances} utterances" if data.max_utterances else ""
        told["bounds"] = f"at most {data.max_dialogues} dialogues of a persona{test}{drawn}{most}"
    if prepared.split.likeness:
        alike = ", ".join(f"{split} {mean:.3f}" for split, mean in prepared.split.likeness.items())
        told["users"] = f"the {data.num_users} most {data.user_subset} a split, mean similarity of two: {alike}"
    return told


def _turns(turns: int) -> str:
    return f"first {turns} turns" if turns else "whole dialogues"
