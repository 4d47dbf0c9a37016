from made_up import SUPPORT, VARIANTS

from menura.adaptation.finetune import support_and_query_loss
from menura.batches.encode import EncodedEpisode


def test_a_dialogue_that_is_read_again_later_loses_other_units_and_at_the_same_time_the_same() -> None:
    toy = VARIANTS["seq2seq"].toy()
    episode = EncodedEpisode("mira", toy.dialogues(SUPPORT), ())
    first, again, later = (
        float(support_and_query_loss(toy.model, episode, at).total.detach()) for at in (0.1, 0.1, 0.2)
    )
    assert first == again
    assert first != later
