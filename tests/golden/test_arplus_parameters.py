"""Acceptance check A1 of AR and AR+: how many weights there are (spec B14)."""

import json
from typing import Any

import pytest
import torch

from menura.cli.main import run
from menura.models.attention_routing.config import AttentionRoutingConfig
from menura.models.attention_routing.layers import FullFeedForward, feed_forward
from menura.models.attention_routing.model import AttentionRouting
from menura.models.catalogue import build, counted

CHARACTERS, WORDS = 9489, 10004
RELEASE: dict[str, Any] = {"preset": "release"}
AR: dict[str, Any] = {
    **RELEASE,
    "rezero": False,
    "embedding": 0,
    "groups": 1,
    "feed_forward": "full",
    "memory": False,
    "auxiliary": "lm",
    "tied": True,
}
PAPERS: dict[str, tuple[dict[str, Any], int]] = {
    "AR": ({**AR, "dead": "stubs"}, 30_076_416),
    "AR without the dead stubs": ({**AR, "dead": "none"}, 23_772_672),
    "AR+": (RELEASE, 31_225_265),
    "-ReZero": ({**RELEASE, "rezero": False}, 31_225_265),
    "-BART MLM": ({**RELEASE, "auxiliary": "lm"}, 31_225_265),
    "-ALBERT": ({**RELEASE, "embedding": 0, "groups": 1}, 44_737_718),
    "-Factor FF": ({**RELEASE, "feed_forward": "full"}, 32_810_217),
    "-MemN2N": ({**RELEASE, "memory": False}, 8_736_273),
}
every_papers = pytest.mark.parametrize("name", PAPERS)


@every_papers
def test_a1_there_are_as_many_weights_as_in_the_program(name: str) -> None:
    settings, wanted = PAPERS[name]
    with torch.device("meta"):
        model = AttentionRouting(AttentionRoutingConfig(**settings), CHARACTERS, WORDS)
    assert sum(value.numel() for value in model.parameters()) == wanted


@every_papers
def test_a1_model_show_counts_them(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    settings, wanted = PAPERS[name]
    sizes = {**settings, "vocab_size": CHARACTERS, "profile_vocab_size": WORDS}
    words = {key: ("no", "yes")[value] if isinstance(value, bool) else value for key, value in sizes.items()}
    given = [word for key, value in words.items() for word in ("--set", f"{key}={value}")]
    assert run(["--json", "model", "show", "attention_routing", *given]) == 0
    assert json.loads(capsys.readouterr().out)["total"] == wanted


def test_a1_most_weights_of_arplus_are_the_memorys() -> None:
    with torch.device("meta"):
        config = AttentionRoutingConfig(**RELEASE, vocab_size=CHARACTERS, profile_vocab_size=WORDS)
        counts = {part.part: part.parameters for part in counted(build(None, config))}
    assert counts["table"] == 1_897_800
    assert counts["projections"] == 411_648
    assert counts["profile_table"] == 2_000_800
    assert counts["layers"] + counts["gates"] + counts["dead"] == 1_568_457
    assert counts["output"] == 4_858_368
    assert counts["memory"] == 20_488_192


def test_a5_a_factorised_network_has_a_quarter_of_the_weights() -> None:
    full, factor = (feed_forward(kind, (512, 2048, 100), 0.1) for kind in ("full", "factor_release"))
    assert isinstance(full, FullFeedForward)
    assert sum(value.numel() for value in full.parameters()) == 2_099_712
    assert sum(value.numel() for value in factor.parameters()) == 514_760
    fixed = feed_forward("factor_fixed", (512, 2048, 100), 0.1)
    assert sum(value.numel() for value in fixed.parameters()) == 514_760 - 2 * 100  # V1 and V2 have no bias
