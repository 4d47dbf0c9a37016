"""What Python, the command line and a server call: a name becomes a model, dialogues a persona, a line its reply.

Everything is imported on first use: adapting and chatting load no training, no evaluation and no model family but the
one that is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from menura.api.adapt_settings import AdaptSettings
    from menura.api.agent import PERSONA, YOU, Agent, Candidate, Model, Persona
    from menura.api.annotate import NewStudy, ScoredStudy, new_study, score_study
    from menura.api.corpora import add_corpus, published_counts, sources, sources_as_markdown
    from menura.api.data import check_file, convert, count, formats, split
    from menura.api.demonstration import demo
    from menura.api.exchange import EngineOptions, Exported, check_export, export_base, export_persona, import_persona
    from menura.api.imported_packages import import_package
    from menura.api.inspect_base import BaseCheck, check_base
    from menura.api.inventory import (
        bases,
        count_parameters,
        delete_persona,
        mask_similarity,
        models,
        other_models,
        persona_facts,
        persona_row,
        personas,
        pull_base,
        rename_persona,
        show_base,
        workspace,
    )
    from menura.api.loading import agents, load, without_persona
    from menura.api.make_persona import AdaptRequest, Steps, adapt, adapt_as_asked
    from menura.api.many_personas import ManyAdapted, PersonRecord, adapt_all
    from menura.api.options import CommandOptions, overridden
    from menura.api.persona_versions import back, persona_history
    from menura.api.prepared_bases import PreparedBase, prepare_base
    from menura.api.remembered import MemoryChange, change_memory, persona_memory
    from menura.api.reproduction import Reproduction, experiments, report_page, reproduce, verify
    from menura.api.runs import (
        Evaluated,
        check_scorer,
        evaluate,
        evaluate_target,
        find_lr,
        fit_ranker,
        plan_evaluation,
        rank,
        recipes,
        report,
        settings_of,
        train,
        train_scorer,
    )
    from menura.api.workspace_care import WorkspaceFinding, back_up_workspace, examine_workspace
    from menura.artefacts.earlier_names import FLAGS
    from menura.artefacts.runs import results_folder, results_name
    from menura.corpus.chats.reading import ReadOptions, read_options
    from menura.corpus.dialogue import Turn
    from menura.corpus.summary import noted
    from menura.decoding.candidates import ranking
    from menura.decoding.generate import decoding
    from menura.evaluation.settings import DecodingFlags, EvaluateConfig
    from menura.registry import (
        RegisteredModel,
        device_of,
        model_over_words,
        register_method,
        register_model,
        unregister,
    )
    from menura.workers.executors import Workers

_WHERE = {  # the names of each module, separated by spaces
    "menura.api.reproduction": "Reproduction experiments report_page reproduce verify",
    "menura.api.adapt_settings": "AdaptSettings",
    "menura.api.agent": "PERSONA YOU Agent Candidate Model Persona",
    "menura.api.remembered": "MemoryChange change_memory persona_memory",
    "menura.api.loading": "agents load without_persona",
    "menura.api.options": "CommandOptions overridden",
    "menura.api.annotate": "NewStudy ScoredStudy new_study score_study",
    "menura.api.inspect_base": "BaseCheck check_base",
    "menura.api.prepared_bases": "PreparedBase prepare_base",
    "menura.api.demonstration": "demo",
    "menura.api.runs": (
        "Evaluated check_scorer evaluate evaluate_target find_lr fit_ranker plan_evaluation rank recipes "
        "report settings_of train train_scorer "
    ),
    "menura.api.inventory": (
        "bases count_parameters delete_persona mask_similarity models persona_facts personas "
        "pull_base show_base workspace other_models persona_row rename_persona "
    ),
    "menura.api.exchange": "EngineOptions Exported check_export export_base export_persona import_persona",
    "menura.api.imported_packages": "import_package",
    "menura.api.corpora": "add_corpus published_counts sources sources_as_markdown",
    "menura.api.data": "check_file convert count formats split",
    "menura.api.make_persona": "AdaptRequest Steps adapt adapt_as_asked",
    "menura.api.many_personas": "ManyAdapted PersonRecord adapt_all",
    "menura.api.persona_versions": "back persona_history",
    "menura.api.workspace_care": "WorkspaceFinding back_up_workspace examine_workspace",
    "menura.corpus.chats.reading": "ReadOptions read_options",
    "menura.corpus.summary": "noted",
    "menura.artefacts.earlier_names": "FLAGS",
    "menura.artefacts.runs": "results_folder results_name",
    "menura.corpus.dialogue": "Turn",
    "menura.decoding.candidates": "ranking",
    "menura.decoding.generate": "decoding",
    "menura.evaluation.settings": "DecodingFlags EvaluateConfig",
    "menura.registry": "RegisteredModel device_of model_over_words register_method register_model unregister",
    "menura.workers.executors": "Workers",
}
_MODULE = {name: module for module, names in _WHERE.items() for name in names.split()}
__all__ = sorted(_MODULE)  # strings, by the table


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module 'menura.api' has no attribute {name!r}")
    return getattr(import_module(_MODULE[name]), name)


def __dir__() -> list[str]:
    return __all__
