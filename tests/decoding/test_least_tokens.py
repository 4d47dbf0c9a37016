import pytest
from made_up import QUERY, SUPPORT, VARIANTS

from menura.decoding.beam import Beam
from menura.decoding.generate import Decoding, generate
from menura.decoding.sampling import Greedy, Nucleus

PARTS = (*SUPPORT, *QUERY)


@pytest.mark.parametrize("choice", [Greedy(), Nucleus(0.9), Beam(3)], ids=lambda c: c.signature)
@pytest.mark.parametrize("name", ["houlsby", "ar+"])
def test_no_reply_ends_before_its_least_tokens_are_said(name: str, choice: Decoding) -> None:
    toy = VARIANTS[name].toy(double=True)
    batch = toy.batch(PARTS)
    seeds = range(len(batch))
    free = (
        generate(toy.model, batch, choice, end=-1, max_new_tokens=8, seeds=seeds)
        if not isinstance(choice, Beam)
        else []
    )
    end = free[0][0] if free else toy.end  # what the first row would say first ends it
    usual = generate(toy.model, batch, choice, end=end, max_new_tokens=8, seeds=seeds)
    found = generate(toy.model, batch, choice, end=end, max_new_tokens=8, seeds=seeds, min_new_tokens=3)
    assert all(3 <= len(reply) <= 8 for reply in found)
    if free:
        assert not usual[0]
        later = [place for place, reply in enumerate(usual) if len(reply) >= 3 and isinstance(choice, Greedy)]
        assert [found[place] for place in later] == [usual[place] for place in later]
