"""Hints name settings as ``menura train`` has them; another command has options instead, or other names.

They are sentences, in which settings stand anywhere and in alternatives, so the settings are found by their form. As
data, each of some sixty hints would be a list of words and settings, and the rules of this file would still be needed.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from menura import api
from menura.errors import Problem

Rules = Sequence[tuple[str, str]]  # what a hint says, and what is typed there

VALUE = r"('[^']*'|[^\s,;]+)"
WITH_SETTINGS: Rules = ((r"--base ", "--set model.base="),)
OF_ADAPT: Rules = (
    (r"--set model\.base=", "--base "),
    (r"--set method=", "--method "),
    (r"--set method\.", "--set "),
    (rf"--set model={VALUE}", r"--base RUN of the model \1"),
)
OF_CHAT: Rules = ((rf"--base {VALUE}", r"menura base check \1"),)
OF_MODELS: Rules = ((r"--set model\.", "--set "),)
RULES = {"adapt": OF_ADAPT, "train": WITH_SETTINGS, "eval": WITH_SETTINGS, "chat": OF_CHAT}


def as_typed(problem: Problem, words: Sequence[str]) -> Problem:
    """Return a problem with its hint as it is typed for the command of a line, whose words are ``words``."""
    hint = problem.hint
    for pattern, replacement in _rules(words):
        hint = re.sub(pattern, replacement, hint)
    return replace(problem, hint=hint)


def _rules(words: Sequence[str]) -> Rules:
    match words:
        case ["base", verb, *_]:
            return (
                (rf"--base {VALUE}", rf"menura base {verb} \1"),
                (r"use another --out, (--fresh to start anew), or --allow-config-change", r"\1"),
                (r", or choose another --out", ""),
            )
        case ["model", "show", name, *_] if name in api.models():
            return OF_MODELS
        case [verb, *_]:
            return RULES.get(verb, ())
    return ()
