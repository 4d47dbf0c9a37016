"""A run's settings become its data in splits, its model, and the hashes of both."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from menura import registry
from menura.artefacts.bases.dtype import Dtype
from menura.artefacts.loading import LoadedModel, LoadOptions
from menura.errors import MismatchError
from menura.personas.profiles import told_in
from menura.tasks.split import Splits
from menura.training.config import RunConfig
from menura.training.data import EncodedTask, encoded, split_of, tasks_of
from menura.training.recalled_exchanges import with_recalled


@dataclass(frozen=True)
class Prepared:
    """A loaded model and the splits of its data."""

    config: RunConfig
    loaded: LoadedModel
    split: Splits

    def tasks(self, name: str) -> list[EncodedTask]:
        """Return the tasks of a split as ids; those of the training split can be lent one another's profiles."""
        tasks, encoder = self.split.splits[name], self.loaded.encoder
        train_encoder = registry.model(self.config.model.name).train_encoder
        if name == "train" and train_encoder:
            profiles = [told_in(part) for task in tasks for part in task.dialogues]
            encoder = train_encoder(self.config.model, encoder, profiles)
        made, data = encoded(tasks, encoder), self.config.data
        if name != "train" or not data.memory_tokens:
            return made
        return with_recalled(made, encoder, tokens=data.memory_tokens, share=data.memory_share, seed=self.config.seed)

    @property
    def origin(self) -> dict[str, str]:
        """Return the metadata of weights trained here: the data and split they have seen."""
        return {"corpus": self.config.data.corpus, "split_sha256": str(self.split.record()["sha256"])}

    def check_unseen(self) -> None:
        """Raise MismatchError if the initial weights were trained on another split and may have seen the test split."""
        about = self.loaded.init_about
        ours = self.origin
        if about.get("corpus") == ours["corpus"] and about.get("split_sha256") != ours["split_sha256"]:
            raise MismatchError(
                f"the start was trained on another split of {ours['corpus']}: its personas may stand in the test split",
                hint="leave data.* as the start's recipe has it, or begin afresh with --set model.init_from=",
                code="split_differs",
            )

    @property
    def sources(self) -> dict[str, Any]:
        """Return the hashes of base, data and split."""
        return {
            "base": self.loaded.base.name,
            "base_sha256": self.loaded.base.sha256,
            "start_sha256": self.loaded.init_sha256,
            "split_sha256": self.split.record()["sha256"],
        }


def prepare(
    config: RunConfig,
    *,
    device: str = "cpu",
    offline: bool = False,
    say: Callable[[str], None] = lambda line: None,
    dtype: Dtype = "float32",
) -> Prepared:
    """Read the data, split it, load the model. Data comes first, as its errors show faster.

    ``dtype`` is the number type of the base; that of the run is autocast's, over weights in float32.
    """
    split = split_of(config.data, tasks_of(config.data))
    split.verify()
    learn = registry.model(config.model.name).learn_vocabulary
    vocabulary = learn(config.model, split.splits["train"]) if learn and not config.model.init_from else None
    options = LoadOptions(config.seed, offline, say, vocabulary, dtype)
    loaded = registry.load_model(config.model, options, device=device)
    return Prepared(config, loaded, split)
