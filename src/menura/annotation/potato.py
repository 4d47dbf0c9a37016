"""A study as a project of Potato (potato-annotation 2), and the votes that its raters leave there."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from menura.annotation import presentation
from menura.annotation.protocols import Question, StudyPart
from menura.annotation.study import Item, Study
from menura.artefacts.files import read_json
from menura.errors import DataError

STATE_NAME = "user_state.json"  # what Potato keeps of one rater


def files(study: Study) -> dict[str, str]:
    """Return the texts of a project for each part, by path: ``config.yaml`` and ``data/items.jsonl``."""
    found = {}
    for part in study.protocol.parts:
        folder = f"potato-{part.name}"
        found[f"{folder}/config.yaml"] = yaml.safe_dump(_config(study, part), sort_keys=False, allow_unicode=True)
        lines = (json.dumps(_instance(study, item, part)) for item in study.parts[part.name])
        found[f"{folder}/data/items.jsonl"] = "".join(f"{line}\n" for line in lines)
    return found


def read(file: Path) -> Iterator[tuple[str, str, str, Mapping[str, str]]]:
    """Yield (study, item, rater, answers by question) of one rater's state; DataError where the file is none."""
    content = read_json(file)
    try:
        rater = str(content["user_id"])
        for instance, labels in content["instance_id_to_label_to_value"].items():
            study, _, item = instance.rpartition(".")
            yield study, item, rater, {label["schema"]: label["name"] for label, _ in labels}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"not what Potato keeps of a rater ({error!r})", place=str(file), code="no_sheet") from error


def _config(study: Study, part: StudyPart) -> dict[str, Any]:
    return {
        "annotation_task_name": f"Dialogue study {study.key.study}",
        "task_dir": ".",
        "output_annotation_dir": "annotation_output",
        "output_annotation_format": "json",
        "data_files": ["data/items.jsonl"],
        "item_properties": {"id_key": "id", "text_key": "text"},
        "user_config": {"allow_all_users": True, "users": []},
        "annotation_schemes": [_scheme(question) for question in part.questions],
    }


def _scheme(question: Question) -> dict[str, Any]:
    labels = [
        {"name": answer.value, "tooltip": answer.text, "key_value": answer.value[0].lower()}
        for answer in question.answers
    ]
    meanings = "; ".join(f"{answer.value} = {answer.text}" for answer in question.answers)
    return {
        "annotation_type": "radio",
        "name": question.name,
        "description": f"{question.text} ({meanings})",
        "labels": labels,
        "label_requirement": {"required": True},
    }


def _instance(study: Study, item: Item, part: StudyPart) -> dict[str, str]:
    known = presentation.person(item) if part.shows_person else ()
    pieces = ["\n".join((presentation.person_title(item), *known))] if known else []
    pieces += [side.text for side in presentation.sides(item)]
    return {"id": f"{study.key.study}.{item.name}", "text": "\n\n".join(pieces)}
