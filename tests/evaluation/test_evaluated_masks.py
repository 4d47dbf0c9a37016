"""An evaluation of CMAML keeps the masks that it found: how many edges, how alike, beside the scores."""

import json
from dataclasses import replace
from pathlib import Path

from menura.evaluation.run import config_of, evaluate_run
from menura.evaluation.settings import EvaluateConfig
from menura.report.columns import COLUMNS
from menura.report.results import write

SETTINGS = EvaluateConfig(shots=(2,), queries=1, metrics=("ppl",))


def rows_of(recipe: str, folder: Path, **method_settings: object) -> dict[str, dict[str, object]]:
    config = config_of(recipe, "tiny")
    if method_settings:
        config = replace(config, method=replace(config.method, **method_settings))  # type: ignore[type-var]
    write(evaluate_run(config, SETTINGS, personas=3, say=lambda line: None), folder)
    return {row["kind"]: row for row in json.loads((folder / "scores.json").read_text())["rows"]}


def test_masks_of_the_held_out_personas_are_written_with_the_scores_of_the_adapted_row(tmp_path: Path) -> None:
    changed = rows_of("cmaml/cmaml_seq2spg", tmp_path, prune_by="change", threshold="quantile", keep_share=0.25)
    assert changed["wrong persona"]["masks"] is None
    statistics = changed["adapted"]["masks"]["mask_statistics"]  # type: ignore[index]
    assert statistics["personas"] == 3
    assert statistics["density"].keys() == {"private.1.weight", "private.2.weight"}
    assert all(0.2 < share <= 0.25 for share in statistics["density"].values())
    assert statistics["jaccard"] < 0.99
    kept, jaccard, correlation, p = COLUMNS["masks"].cells(changed["adapted"], {})
    assert kept.count("%") == 2
    assert jaccard == f"{statistics['jaccard']:.3f}"
    assert (correlation, p) == ("–", "–"), "the packaged speakers tell no facts"


def test_a_method_without_masks_has_none(tmp_path: Path) -> None:
    rows = rows_of("cmaml/maml_seq2spg", tmp_path)
    assert COLUMNS["masks"].cells(rows["adapted"], {}) == ["–"] * 4
