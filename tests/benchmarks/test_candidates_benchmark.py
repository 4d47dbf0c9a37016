from typing import Any

import pytest

from benchmarks import candidates
from menura.errors import MismatchError
from menura.models.layers.transformer import Sizes

TINY = Sizes(97, 32, 2, 4, 64)


def test_all_ways_say_the_same_and_latents_do_not() -> None:
    ways = candidates.saying(candidates.made(TINY), candidates.context(TINY.vocab_size), 6)
    found: list[Any] = [way() for way in ways.values()]
    assert found[0] == found[1] == found[2]
    assert len({tuple(reply) for reply in found[0]}) > 1
    assert {len(reply) for reply in found[0]} == {6}


def test_the_context_is_as_long_as_promised_and_read_once_or_once_a_candidate() -> None:
    prompt = candidates.context(TINY.vocab_size)
    assert len(prompt.context) - 1 == sum(count for _, count in prompt.turns) == 256
    ways: Any = candidates.reading(candidates.made(TINY, latents=4), prompt)
    held = [ways[name]().reading.shared[0][0].shape for name in (candidates.SHARED, candidates.REPEATED)]
    assert [(shape[0], shape[2]) for shape in held] == [(1, 256), (4, 256)]


@pytest.mark.parametrize(("said", "found"), [([[]], "does not say 2 tokens"), ([[5, 5], [5, 5]], "not the likeliest")])
def test_ways_that_do_not_say_the_same_are_an_error(
    said: list[list[int]], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(candidates.SIZES, "tiny", TINY)
    monkeypatch.setattr(candidates, "SHORT", 2)
    monkeypatch.setattr(candidates, "LONG", 3)
    made, ways = candidates.made, candidates.saying

    def lying(*given: Any) -> dict[str, candidates.Way]:
        return {**ways(*given), "liar": lambda: said}

    monkeypatch.setattr(candidates, "made", lambda sizes: made(sizes, latents=2))
    assert len(list(candidates.run("tiny", 1))) == 6
    monkeypatch.setattr(candidates, "saying", lying)
    with pytest.raises(MismatchError, match=f"liar .*{found}"):
        list(candidates.run("tiny", 1))


def test_a_token_as_likely_as_the_likeliest_may_be_said() -> None:
    model, prompt = candidates.made(TINY, latents=2), candidates.context(TINY.vocab_size)
    blocked_argmax = candidates.said(model, prompt, range(2), 3, shared=True)
    assert candidates.below_best(model, prompt, blocked_argmax) == 0
    other = [[(token + 1) % TINY.vocab_size for token in reply] for reply in blocked_argmax]
    assert candidates.below_best(model, prompt, other) > candidates.TIE
