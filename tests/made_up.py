"""Made-up dialogues and small models that the tests of several stations share."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer as HFTokenizer
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel

from menura.artefacts.bases import base as bases
from menura.artefacts.subword_vocabulary import SubwordVocabulary, mark
from menura.batches.batch import Batch
from menura.batches.chat_format import CHAT_FORMATS, SPECIAL_TOKENS, ChatFormatName, separated, utterances, words
from menura.batches.encode import EncodedDialogue, Encoder
from menura.batches.speaker_profile import words_of_profiles
from menura.batches.tokenizer import CHAT_TOKENS, WORD_TOKENS, Tokenizer, byte_tokenizer, subword_tokenizer
from menura.corpus.dialogue import Dialogue, Turn
from menura.models.attention_routing.config import AttentionRoutingConfig
from menura.models.attention_routing.model import AttentionRouting
from menura.models.catalogue import MODELS, build
from menura.models.causal_lm.backbone import HFBackbone
from menura.models.layers.adapters import Adapters
from menura.models.layers.transformer import Sizes
from menura.models.lic import LicConfig
from menura.models.plato.config import PlatoConfig
from menura.models.plato.model import Plato, sized
from menura.models.recurrent.seq2seq import Seq2SeqConfig
from menura.tasks.task import DialogueView
from menura.training.recipes.arplus import AR

FACTS = ("i mend clocks.", "my goat is called fern.")
PROFILES = {"mira": {"craft": ("clocks",), "pet": ("goat fern", "owl")}, "guest": {"craft": ("none at all",)}}


def part(dialogue_id: str, *lines: str, facts: Sequence[str] = ()) -> DialogueView:
    """Make a dialogue of lines said by turns; every second line is the persona's."""
    speakers = ("guest", "mira")
    turns = tuple(Turn(speakers[index % 2], line) for index, line in enumerate(lines))
    return DialogueView(
        Dialogue(dialogue_id, turns, {"mira": tuple(facts)} if facts else {}, profiles=PROFILES), "mira"
    )


ROUTED = {
    "hidden_size": 16,
    "num_layers": 4,
    "num_heads": 2,
    "intermediate_size": 24,
    "embedding": 6,
    "groups": 2,
    "rank": 5,
    "max_length": 512,
}

SUPPORT = (
    part("s1", "hi", "tick tock, hello!", "what is that noise?", "my clocks, all forty.", facts=FACTS),
    part("s2", "do you have a pet?", "fern the goat."),
)
QUERY = (part("q1", "good evening", "half past six, good evening!", "tired?", "never."),)


@dataclass(frozen=True)
class Toy:
    """A small model with the encoder that fits it."""

    model: Any  # of the catalogue; what it can do beside the contract, tests ask of those that can
    encoder: Encoder

    def dialogues(self, parts: Sequence[DialogueView]) -> tuple[EncodedDialogue, ...]:
        """Encode dialogues."""
        return self.encoder.dialogues(parts, "mira")

    def batch(self, parts: Sequence[DialogueView]) -> Batch:
        """Make one batch of all the exchanges in dialogues."""
        return self.model.batch([exchange for dialogue in self.dialogues(parts) for exchange in dialogue])

    @property
    def end(self) -> int:
        """The token that ends a reply."""
        return self.encoder.chat_format.end


@dataclass(frozen=True)
class Variant:
    """One way to put a model together."""

    network: str = "tiny"  # "tiny" is a Llama, "gpt2" another architecture
    kind: str = "houlsby"
    layers: str = "all"
    layout: ChatFormatName = "chat"
    train_base: bool = False
    init: str = "identity"
    model: str = "causal_lm"  # of the catalogue
    settings: Mapping[str, Any] = field(default_factory=dict)  # of this model alone

    @property
    def over_words(self) -> bool:
        """Tell whether it stands on no network."""
        return issubclass(MODELS[self.model].settings, Seq2SeqConfig)

    @property
    def over_network(self) -> bool:
        """Tell whether it stands on one that a base brings."""
        return not self.over_words and self.model not in ("plato", "lic", "attention_routing")

    def toy(self, *, stirred: bool = True, double: bool = False) -> Toy:
        """Build it; ``stirred`` moves all that adapts away from its start, so that nothing of it is zero."""
        if self.over_words:
            return self._over_words(stirred=stirred, double=double)
        if self.model == "attention_routing":
            return self._routed(stirred=stirred, double=double)
        if self.model == "lic":
            return self._shared(stirred=stirred, double=double)
        if not self.over_network:
            return self._unified(stirred=stirred, double=double)
        adapters = Adapters(
            kind=self.kind, bottleneck=4, rank=4, num_virtual_tokens=4, layers=self.layers, init=self.init
        )
        made = MODELS[self.model].settings
        config = made("tiny", self.layout, 512, adapters, self.train_base, **self.settings)
        tokenizer = byte_tokenizer()
        if self.layout == "special":
            tokenizer = tokenizer.adding(SPECIAL_TOKENS)
        layout = CHAT_FORMATS[self.layout](tokenizer)
        torch.manual_seed(7)
        model: Any = build(gpt2() if self.network == "gpt2" else llama(), config, layout).eval()
        if stirred:
            stir(model)
        encoder = Encoder(tokenizer, layout, config.max_length)
        return Toy(in_double(model) if double else model, encoder)

    def _over_words(self, *, stirred: bool, double: bool) -> Toy:
        """Build it over bytes, which know all words."""
        tokenizer = byte_tokenizer((*CHAT_TOKENS, *WORD_TOKENS))
        config = MODELS[self.model].settings(
            len(tokenizer), hidden_size=6, num_layers=2, max_length=512, **self.settings
        )
        torch.manual_seed(7)
        model: Any = build(None, config, persona_ids=("mira",)).eval()
        if stirred:
            stir(model, size=0.5)
        return Toy(model.double() if double else model, Encoder(tokenizer, words(tokenizer), config.max_length))

    def _unified(self, *, stirred: bool, double: bool) -> Toy:
        """Build it over bytes, with a token that opens replies and one that ends utterances."""
        tokenizer = byte_tokenizer((*CHAT_TOKENS, "<bou>", "<eou>"))
        settings = {"num_latents": 5, "max_length": 256, "max_turns": 4, **self.settings}
        config = PlatoConfig(init="random", **settings)
        opens, end = tokenizer.control("<bou>"), tokenizer.control("<eou>")
        torch.manual_seed(7)
        model: Any = Plato(config, sized(config, Sizes(len(tokenizer), 16, 2, 2, 32, 128)), end=end).eval()
        if stirred:
            stir(model, size=0.2)
        return Toy(model.double() if double else model, Encoder(tokenizer, utterances(opens, end), config.max_length))

    def _shared(self, *, stirred: bool, double: bool) -> Toy:
        """Build layers that encoder and decoder share, over the same bytes."""
        tokenizer = byte_tokenizer((*CHAT_TOKENS, "<bou>", "<eou>"))
        opens, end = tokenizer.control("<bou>"), tokenizer.control("<eou>")
        config = LicConfig(init="random", max_length=512, **self.settings)
        torch.manual_seed(7)
        model: Any = build(None, config, sizes=Sizes(len(tokenizer), 16, 2, 2, 32, 128)).eval()
        if stirred:
            stir(model, size=0.2)
        return Toy(model.double() if double else model, Encoder(tokenizer, utterances(opens, end), config.max_length))

    def _routed(self, *, stirred: bool, double: bool) -> Toy:
        """Build attention routing over the printable characters, and the attributes of ``PROFILES``."""
        letters = [chr(code) for code in range(32, 127)]
        keys = ("craft", "pet")
        tokenizer = subword_tokenizer("char", letters, max_size=200, control=[mark(key) for key in keys])
        words = words_of_profiles(PROFILES.values())
        lexicon = SubwordVocabulary("char", tokenizer.to_json(), keys, tuple(words), ())
        config = AttentionRoutingConfig(**{**ROUTED, **self.settings})
        torch.manual_seed(7)
        model: Any = AttentionRouting(config, len(tokenizer), lexicon.profile_words).eval()
        if stirred:
            stir(model, size=0.2)
            with torch.no_grad():
                for table in model.modules():
                    if isinstance(table, nn.Embedding):
                        table.weight[0] = 0
        profile = lexicon.profile_tokens(by_words=config.memory)
        encoder = Encoder(tokenizer, separated(tokenizer), config.max_length, profile=profile)
        return Toy(model.double() if double else model, encoder)


VARIANTS = {
    "houlsby": Variant(),
    "houlsby-upper": Variant(layers="upper"),
    "lora": Variant(kind="lora"),
    "lora-upper": Variant(kind="lora", layers="upper"),
    "in-place": Variant(kind="none"),
    "special": Variant(layout="special"),
    "special-upper": Variant(layers="upper", layout="special"),
    "plain": Variant(layout="plain"),
    "train-base": Variant(train_base=True),
    "gpt2-houlsby": Variant("gpt2"),
    "gpt2-upper": Variant("gpt2", layers="upper"),
    "gpt2-lora": Variant("gpt2", kind="lora"),
    "gpt2-in-place": Variant("gpt2", kind="none"),
    "ia3": Variant(kind="ia3"),
    "prompt": Variant(kind="prompt"),
    "prompt-upper": Variant(kind="prompt", layers="upper"),
    "gpt2-ia3": Variant("gpt2", kind="ia3"),
    "gpt2-prompt": Variant("gpt2", kind="prompt"),
    "transfer-transfo": Variant(model="transfer_transfo"),
    "transfer-transfo-upper": Variant(layers="upper", model="transfer_transfo", settings={"token_types": False}),
    "transfer-transfo-special": Variant(layout="special", model="transfer_transfo"),
    "transfer-transfo-lm": Variant(model="transfer_transfo", settings={"next_utterance_weight": 0.0}),
    "gpt2-transfer-transfo-in-place": Variant("gpt2", kind="none", model="transfer_transfo"),
    "p2-bot": Variant(model="p2_bot"),
    "seq2seq": Variant(model="seq2seq"),
    "speaker": Variant(model="speaker", settings={"num_users": 2, "user_size": 3}),
    "seq2spg": Variant(model="seq2spg"),
    "seq2spg-prime": Variant(model="seq2spg", settings={"reads": "state", "gate": "repo"}),
    "hierarchical": Variant(model="hierarchical"),
    "lic": Variant(model="lic"),
    "lic-bert-mlm": Variant(model="lic", settings={"lm_head": "bert_mlm"}),
    "ivae-mi": Variant(model="ivae_mi", settings={"latent_size": 5, "num_samples": 3}),
    "ar+": Variant(model="attention_routing"),
    "ar+-release": Variant(model="attention_routing", settings={"preset": "release"}),
    "ar+-paper": Variant(model="attention_routing", settings={"preset": "paper", "persona_path": "both"}),
    "ar+-strength": Variant(
        model="attention_routing", settings={"persona_path": "memory_stream", "strength_by": "predicted"}
    ),
    "ar": Variant(model="attention_routing", settings=AR),
    "plato": Variant(model="plato"),
    "plato-release": Variant(model="plato", settings={"preset": "release", "adapter_bottleneck": 3}),
    "plato-by-blocks": Variant(model="plato", settings={"context": "block_bi", "lm_head": "bert_mlm"}),
    "plato-without": Variant(model="plato", settings={"num_latents": 0}),
    "plato-one-way": Variant(model="plato", settings={"num_latents": 0, "context": "uni", "norm": "pre"}),
}


@contextmanager
def read_by_their_own_network() -> Iterator[None]:
    """Make models, within it, that are read by their network's own forward pass."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("menura.models.causal_lm.model.backbone_of", HFBackbone)
        yield


def spelled(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """Return the text of ids with control tokens shown."""
    text: str = HFTokenizer.from_str(tokenizer.to_json()).decode(list(ids), skip_special_tokens=False)
    return text


def llama() -> PreTrainedModel:
    """Return the tiny base: four layers, 32 wide, over bytes."""
    return bases.load("tiny", say=lambda line: None).network


def gpt2() -> PreTrainedModel:
    """Return a random GPT-2 of two layers, 16 wide, over the same bytes."""
    config = GPT2Config(
        vocab_size=259, n_positions=512, n_embd=16, n_layer=2, n_head=2, initializer_range=0.2, bos_token_id=None
    )
    config.eos_token_id = None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return GPT2LMHeadModel(config).eval()


@torch.no_grad()
def stir(model: nn.Module, size: float = 0.05, seed: int = 5) -> None:
    """Move every parameter that adapts a little, at random."""
    stream = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.requires_grad:
            noise = torch.randn(parameter.shape, generator=stream, dtype=torch.float32)
            parameter += (size * noise).to(parameter.dtype)


def in_double(model: Any) -> Any:
    """Return the model in float64 throughout; Llama's own norm computes in float32 whatever it is given."""
    for module in list(model.modules()):
        for name, norm in list(module.named_children()):
            if type(norm).__name__ == "LlamaRMSNorm":
                exact = nn.RMSNorm(norm.weight.shape, eps=norm.variance_epsilon)
                exact.weight = norm.weight
                setattr(module, name, exact)
    return model.double()


def snapshot(model: nn.Module) -> dict[str, torch.Tensor]:
    """Copy all parameters, buffers, the flags that say what adapts and the state of torch's own stream."""
    copied = {name: value.detach().clone() for name, value in model.state_dict().items()}
    copied |= {f"buffer {name}": value.detach().clone() for name, value in model.named_buffers()}
    copied |= {f"adapts {name}": torch.tensor(p.requires_grad) for name, p in model.named_parameters()}
    copied |= {f"gradient {name}": torch.tensor(p.grad is None) for name, p in model.named_parameters()}
    return copied | {"stream": torch.get_rng_state()}


def assert_same_bits(model: nn.Module, before: dict[str, torch.Tensor], what: str = "this") -> None:
    """Fail, naming the tensor and ``what`` was done, if anything is not bit for bit what it was."""
    now = snapshot(model)
    assert now.keys() == before.keys()
    changed = [name for name in before if not torch.equal(now[name], before[name])]
    assert not changed, f"{what} changed {changed[:5]}"
