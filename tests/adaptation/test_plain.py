from made_up import SUPPORT, VARIANTS

from menura.adaptation.plain import pooled
from menura.batches.encode import EncodedEpisode


def test_a_dialogue_that_is_read_again_later_loses_other_units_and_at_the_same_time_the_same() -> None:
    voice = VARIANTS["seq2seq"].voice()
    episode = EncodedEpisode("mira", voice.dialogues(SUPPORT), ())
    first, again, later = (float(pooled(voice.model, episode, at).total.detach()) for at in (0.1, 0.1, 0.2))
    assert first == again
    assert first != later
