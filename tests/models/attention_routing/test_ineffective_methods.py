"""What AR+'s study found ineffective: adapters, a BERT's layers, a BERT's states; each does what it says, or is off."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from made_up import QUERY, SUPPORT, Toy, stir
from made_up_chat import settings, write
from small_plato import PIECES, bert, gpt2
from small_routing import AR, exchanges_of, routing

from menura.adaptation.finetune import PretrainOnly
from menura.adaptation.weights import trainable_parameters
from menura.artefacts import tensors
from menura.artefacts.bert_init import load_bert
from menura.artefacts.loading import LoadedModel, LoadOptions
from menura.artefacts.subword_vocabulary import of_tasks
from menura.batches.encode import EncodedEpisode, EncodedExchange
from menura.batches.subword_mapping import encoder_ids, subset_of_pieces
from menura.batches.tokenizer import PIECE_TOKENS
from menura.cli.main import run
from menura.errors import ConfigError
from menura.evaluation.run import config_of
from menura.models.attention_routing.config import AttentionRoutingConfig
from menura.models.attention_routing.model import AttentionRouting
from menura.registry import load_model
from menura.tasks.task import Task
from menura.training.recipes import recipe

TASKS = [Task("mira", (*SUPPORT, *QUERY))]
BERTS: dict[str, Any] = {
    "hidden_size": 32,
    "num_heads": 4,
    "intermediate_size": 64,
    "num_layers": 2,
    "groups": 1,
    "feed_forward": "full",
}
every_way = pytest.mark.parametrize("way", [{}, AR, {"preset": "release"}], ids=["fixed", "ar", "release"])


def loaded(name: str = "tiny", texts: Sequence[str] = (), **changed: Any) -> LoadedModel:
    """Load a model in a BERT's pieces and shapes, the pieces those of some texts or of made-up dialogues."""
    config = AttentionRoutingConfig(
        **{
            "pieces": "wordpiece",
            "pieces_of": name,
            "min_count": 1,
            "embedding": 12,
            "max_length": 60,
            **BERTS,
            **changed,
        }
    )
    lexicon = of_tasks(TASKS, config)
    if texts:
        made = subset_of_pieces(load_bert(name).tokenizer, texts, max_size=100)
        lexicon = replace(lexicon, vocabulary=made.to_json())
    return load_model(config, LoadOptions(vocabulary=lexicon))


def routed(made: LoadedModel) -> AttentionRouting:
    assert isinstance(made.model, AttentionRouting)
    return made.model


def read(made: LoadedModel) -> list[EncodedExchange]:
    return [exchange for part in (*SUPPORT, *QUERY) for exchange in made.encoder.dialogue(part, "mira")]


def nll(model: AttentionRouting, rows: Sequence[EncodedExchange]) -> torch.Tensor:
    with torch.no_grad():
        return model.loss(model.batch(rows)).nll


# Off


def test_off_nothing_of_it_is_there() -> None:
    model = routing().model
    assert model.features is None
    assert all(layer.adapters is None for layer in model.layers)
    assert not [name for name in model.state_dict() if "adapters" in name or "features" in name]


def test_a_model_with_adapters_or_features_begins_all_else_as_one_without() -> None:
    plain = dict(routed(loaded()).named_parameters())
    for more in ({"adapter_bottleneck": 3}, {"pretrained_features": "tiny"}):
        other = dict(routed(loaded(**more)).named_parameters())
        shared = plain.keys() & other.keys()
        assert shared == plain.keys()
        if "adapter_bottleneck" in more:
            assert all(torch.equal(plain[name], other[name]) for name in shared)


# Adapters


@every_way
def test_adapters_begin_as_nothing(way: dict[str, Any]) -> None:
    toy, other = routing(**way), routing(stirred=False, **way, adapter_bottleneck=3)
    missing = other.model.load_state_dict(toy.model.state_dict(), strict=False)
    assert not missing.unexpected_keys
    assert all("adapters" in name for name in missing.missing_keys)
    rows = exchanges_of(toy)
    assert torch.equal(nll(other.model, rows), nll(toy.model, rows))


def parts_that_change(toy: Toy, sublayer: int) -> tuple[bool, bool]:
    """Tell whether a stirred adapter changes what the encoder, and what the decoder by itself, computes."""
    model, rows = toy.model, exchanges_of(toy)[1:3]
    batch = model.batch(rows)
    alone = replace(model.prefill(batch), context=None, persona=None)
    ids = torch.tensor([row.reply[:2] for row in rows])

    def computed() -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            state = model.prefill(batch)
            assert state.context is not None
            return state.context.kept[0][0], model.scores_of(alone, ids)

    before = computed()
    for layer in model.layers:
        assert layer.adapters is not None
        stir(layer.adapters[sublayer], 0.3)
    after = computed()
    return not torch.equal(before[0], after[0]), not torch.equal(before[1], after[1])


@every_way
@pytest.mark.parametrize("sublayer", [0, 1], ids=["attention", "network"])
def test_adapters_change_the_encoder_and_the_decoder(way: dict[str, Any], sublayer: int) -> None:
    toy = routing(**way)
    other = routing(stirred=False, **way, adapter_bottleneck=3)
    other.model.load_state_dict(toy.model.state_dict(), strict=False)
    assert parts_that_change(other, sublayer) == (True, True)


@pytest.mark.parametrize("way", [{}, AR], ids=["fixed", "ar"])
def test_where_only_adapters_learn_nothing_else_gets_a_gradient(way: dict[str, Any]) -> None:
    toy = routing(**way, adapter_bottleneck=3, double=False)
    episode = EncodedEpisode("mira", (), tuple(toy.dialogues(QUERY)))
    PretrainOnly("adapters").objective(toy.model, episode).total.backward()
    learnt = {name for name, value in trainable_parameters(toy.model).items() if value.grad is not None}
    assert learnt == {name for name in trainable_parameters(toy.model) if "adapters" in name}
    with pytest.raises(ConfigError, match=r"method\.trainable: no weight has 'adaptors' in its name"):
        PretrainOnly("adaptors").attach(toy.model)


def test_where_all_learns_the_loss_is_the_same_as_where_some_does() -> None:
    toy = routing(adapter_bottleneck=3)
    episode = EncodedEpisode("mira", (), tuple(toy.dialogues(QUERY)))
    found = [PretrainOnly(learns).objective(toy.model, episode).total for learns in ("", "adapters")]
    assert torch.equal(*found)


def test_a_run_of_adapters_goes_on_from_one_without_and_holds_the_whole_model(tmp_path: Path) -> None:
    quick = settings(write(tmp_path / "chat.jsonl"), "outer.steps=4", "outer.eval_every=4", "model.max_length=64")
    first, second = (str(tmp_path / name) for name in ("first", "second"))
    assert run(["train", "arplus-ineffective/base@tiny", "--out", first, *quick]) == 0
    started = [*quick, "--set", f"model.init_from={first}"]
    assert run(["train", "arplus-ineffective/adapters@tiny", "--out", second, *started]) == 0
    before, after = (tensors.load(Path(folder) / "best.safetensors") for folder in (first, second))
    assert all(torch.equal(before[name], after[name]) for name in before)  # weight decay, too, leaves them alone
    added = after.keys() - before.keys()
    assert added
    assert all("adapters" in name for name in added)
    assert any(torch.any(after[name]) for name in added if name.endswith("up.weight"))
    assert run(["eval", second, "-k", "0", "--queries", "1", "--metrics", "ppl", "--out", str(tmp_path / "out")]) == 0


# A BERT's layers


def test_what_was_copied_is_still_there(tmp_path: Path) -> None:
    network = bert(tmp_path / "bert")
    for rezero in (False, True):
        made = loaded(str(tmp_path / "bert"), pretrained_weights=str(tmp_path / "bert"), rezero=rezero)
        assert_holds(dict(routed(made).named_parameters()), network, rezero=rezero)


def assert_holds(ours: dict[str, torch.Tensor], network: Any, *, rezero: bool) -> None:
    """Fail unless the layers are those of a BERT, of transformers' own names."""
    below = network.embeddings.LayerNorm
    for number, layer in enumerate(network.encoder.layer):
        own = f"layers.{number}"
        maps = [getattr(layer.attention.self, name).weight for name in ("query", "key", "value")]
        assert torch.equal(ours[f"{own}.attention.qkv.weight"], torch.cat(maps))
        for name, module in (
            ("attention.out", layer.attention.output.dense),
            ("network.inner", layer.intermediate.dense),
            ("network.outer", layer.output.dense),
            ("norm", below),
            *([] if rezero else [("middle_norm", layer.attention.output.LayerNorm)]),
        ):
            assert torch.equal(ours[f"{own}.{name}.weight"], module.weight), name
            assert torch.equal(ours[f"{own}.{name}.bias"], module.bias), name
        below = layer.output.LayerNorm


def test_attention_that_was_copied_attends_as_the_bert_does(tmp_path: Path) -> None:
    network = bert(tmp_path / "bert")
    made = loaded(str(tmp_path / "bert"), pretrained_weights=str(tmp_path / "bert"))
    attention: Any = next(iter(routed(made).layers)).attention
    x = torch.randn(1, 5, 32, generator=torch.Generator().manual_seed(1))
    own = network.encoder.layer[0].attention
    with torch.no_grad():
        q, k, v = attention.all_of(x)
        found = attention.out(attention.attend(q, (k, v), None))
        wanted = own.output.dense(own.self(x)[0])
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


def test_a_loaded_run_has_what_it_learnt_not_what_was_copied(tmp_path: Path) -> None:
    network = bert(tmp_path / "bert")
    quick = settings(
        write(tmp_path / "chat.jsonl"),
        *("outer.steps=1", "outer.eval_every=1", "model.max_length=60", "outer.lr=1e-6", "outer.weight_decay=0"),
        "model.rezero=no",  # closed gates let no gradient through
        *(f"model.{name}={tmp_path / 'bert'}" for name in ("pieces_of", "pretrained_weights")),
    )
    folder = tmp_path / "run"
    assert run(["train", "arplus-ineffective/weights@tiny", "--out", str(folder), *quick]) == 0
    found = dict(routed(load_model(config_of(str(folder)).model)).named_parameters())
    copied = network.encoder.layer[1].intermediate.dense.weight
    torch.testing.assert_close(found["layers.1.network.inner.weight"], copied, rtol=0, atol=1e-5)
    kept = tensors.load(folder / "best.safetensors")
    assert all(torch.equal(kept[name], found[name]) for name in kept)
    assert not torch.equal(found["layers.1.network.inner.weight"], copied)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"hidden_size": 16}, "hidden_size 16, not 32"),
        ({"num_heads": 2}, "num_heads 2, not 4"),
        ({"intermediate_size": 32}, "intermediate_size 32, not 64"),
        ({"groups": 2}, "groups 2, not 1"),
        ({"feed_forward": "factor_fixed"}, "feed_forward factor_fixed, not full"),
        ({"num_layers": 3}, "num_layers 3, more than 2"),
    ],
)
def test_layers_of_other_shapes_are_refused_with_those_that_fit(changed: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"tiny does not fit: {told}")) as caught:
        loaded(pretrained_weights="tiny", **changed)
    for setting in (
        "hidden_size=32",
        "num_heads=4",
        "intermediate_size=64",
        "groups=1",
        "feed_forward=full",
        "num_layers=2",
    ):
        assert f"--set model.{setting}" in caught.value.problems[0].hint


# A BERT's states


def test_pieces_of_an_encoder_are_its_own_behind_our_control_tokens() -> None:
    theirs = load_bert("tiny").tokenizer
    made = subset_of_pieces(theirs, ["a bad cab"], max_size=100, control=["<pet>"])
    assert sorted(made.rows(), key=lambda piece: made.rows()[piece])[:7] == [*PIECE_TOKENS, "<pet>"]
    known = {row: piece for piece, row in theirs.rows().items()}
    text = "a bad cab"
    rows = encoder_ids(made, theirs)
    assert [known[rows[number]] for number in made.encode(text)] == [known[row] for row in theirs.encode(text)]
    assert made.decode(made.encode(text)) == text
    marks = [known[rows[made.control(name)]] for name in (*PIECE_TOKENS, "<pet>")]
    assert marks == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[SEP]", "[MASK]", "[UNK]"]


@torch.no_grad()
@pytest.mark.parametrize("layer", [-1, 1, 0, -3])
def test_states_are_those_of_the_bert_whatever_stands_beside(layer: int, tmp_path: Path) -> None:
    network = bert(tmp_path / "bert")
    folder = str(tmp_path / "bert")
    texts = ("i like tea clocks", "hi")
    made = loaded(folder, texts, pretrained_features=folder, features_layer=layer)
    features: Any = routed(made).features
    ours = [made.encoder.tokenizer.encode(text) for text in texts]
    their = [[PIECES.index(piece) for piece in text] for text in (("i", "like", "tea", "clock", "##s"), ("hi",))]
    ids = torch.tensor([ours[0], (*ours[1], 0, 0, 0, 0)])
    found = features._encoder[0](ids, ids > 0)
    for row, pieces in enumerate(their):
        given = torch.tensor([[PIECES.index("[CLS]"), *pieces]])
        wanted = network(input_ids=given, output_hidden_states=True).hidden_states[layer][0, 1:]
        torch.testing.assert_close(found[row, : len(pieces)], wanted, rtol=0, atol=1e-5)


def test_a_frozen_encoder_is_no_part_of_the_model() -> None:
    made = loaded(pretrained_features="tiny")
    model = routed(made)
    encoder: Any = model.features
    assert [name for name in model.state_dict() if "features" in name] == ["features.map.weight", "features.map.bias"]
    assert made.base.parameters == sum(value.numel() for value in model.parameters())
    held = encoder._encoder[0]
    before = {name: value.clone() for name, value in held.state_dict().items()}
    with model.dropout(1):
        model.loss(model.batch(read(made))).total.backward()
    assert not any(value.requires_grad or value.grad is not None for value in held.parameters())
    assert all(torch.equal(before[name], value) for name, value in held.state_dict().items())
    assert not held.training
    assert model.features is not None
    assert torch.any(model.features.map.weight.grad)


def test_states_stand_beside_the_table_s_rows_or_in_their_place() -> None:
    for way, changes in (("concat", True), ("replace", False)):
        made = loaded(pretrained_features="tiny", features_as=way)
        model = routed(made)
        rows = read(made)
        batch = model.batch(rows)

        def context(model: AttentionRouting = model, batch: Any = batch) -> torch.Tensor:
            with torch.no_grad():
                return model._context(batch.exchanges, model._profiles(batch.exchanges))[0]

        before = context()
        stir(model.table)
        assert torch.equal(before, context()) is not changes
        assert model.features is not None
        assert model.features.map.in_features == 32 + 12 * changes


def test_features_are_what_a_run_was_trained_with_when_it_is_loaded(tmp_path: Path) -> None:
    quick = settings(write(tmp_path / "chat.jsonl"), "outer.steps=2", "outer.eval_every=2", "model.max_length=64")
    folder = str(tmp_path / "run")
    assert run(["train", "arplus-ineffective/features-concat@tiny", "--out", folder, *quick]) == 0
    model = routed(load_model(config_of(folder).model))
    assert model.features is not None
    kept = tensors.load(tmp_path / "run" / "best.safetensors")
    assert torch.equal(kept["features.map.weight"], model.features.map.weight)
    assert not [name for name in kept if name.startswith("features.") and ".map." not in name]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"pretrained_features": "tiny", "pieces_of": ""}, "tiny reads no word pieces but its own"),
        ({"pieces": "char"}, "model.pieces_of: of an encoder are word pieces, not char"),
        ({"pretrained_features": "tiny", "features_layer": 3}, "features_layer: 3, the encoder has layers 0"),
        ({"pretrained_features": "tiny", "max_length": 256}, "model.max_length: 256, but tiny has 256 places"),
        ({"adapter_bottleneck": -1}, "model.adapter_bottleneck: -1, must not be negative"),
    ],
)
def test_settings_that_cannot_be_are_refused(changed: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        loaded(**changed)


def test_how_wide_states_are_has_to_be_known() -> None:
    asked = {"pieces": "wordpiece", "pieces_of": "tiny", "pretrained_features": "tiny"}
    with pytest.raises(ConfigError, match="how wide are the states of tiny"):
        AttentionRouting(AttentionRoutingConfig(**BERTS, **asked), 9, 4)


def test_a_network_that_is_no_bert_is_refused(tmp_path: Path) -> None:
    gpt2(tmp_path)
    for weights in (False, True):
        with pytest.raises(ConfigError, match="is no BERT"):
            load_bert(str(tmp_path), weights=weights)


def test_rows_are_alike_in_all_but_what_their_names_say() -> None:
    for size in ("tiny", "cpu", "paper"):
        base = recipe(f"arplus-ineffective/base@{size}")
        for name, changed in (
            ("adapters", {"adapter_bottleneck"}),
            ("weights", {"pretrained_weights"}),
            ("features-concat", {"pretrained_features"}),
            ("features-replace", {"pretrained_features", "features_as"}),
        ):
            row = recipe(f"arplus-ineffective/{name}@{size}")
            assert (row.data, row.outer, row.dtype) == (base.data, base.outer, base.dtype)
            assert {key for key, value in vars(row.model).items() if value != getattr(base.model, key)} == changed
