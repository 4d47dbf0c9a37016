"""Numbers of the papers' specification, section 17 B: models. B2 and B3 are asked of every model in contracts/."""

import pytest

from menura.models.catalogue import build
from menura.models.recurrent.seq2seq import Seq2SeqConfig
from menura.models.recurrent.seq2spg import Seq2SpgConfig
from menura.models.recurrent.speaker import SpeakerConfig

WORDS, USERS = 18_600, 5_138


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (Seq2SeqConfig(WORDS), 3_972_300 + 301 * WORDS),
        (SpeakerConfig(WORDS, num_users=USERS), 3_972_300 + 301 * WORDS + 76_800 + 64 * USERS),
        (Seq2SpgConfig(WORDS, gate="repo"), 5_315_300 + 301 * WORDS),
        (Seq2SpgConfig(WORDS, gate="repo", reads="state"), 4_534_400 + 301 * WORDS),
        (Seq2SpgConfig(WORDS), 5_314_700 + 301 * WORDS),
        (Seq2SpgConfig(WORDS, reads="state"), 4_533_800 + 301 * WORDS),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, int) else str(value),
)
def test_b1_models_have_as_many_parameters_as_the_papers(config: Seq2SeqConfig, parameters: int) -> None:
    assert sum(parameter.numel() for parameter in build(None, config).parameters()) == parameters
