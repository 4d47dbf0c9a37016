"""Human judgement by files: replies of several systems become blind sheets, and the sheets that come back scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from menura.artefacts.files import write_text
from menura.errors import ConfigError, number_of

if TYPE_CHECKING:
    from menura.annotation.scoring import StudyScores

KEY, FOR_RATERS = "key.json", "for-raters"  # the key lies beside the folder that is sent out, never in it


@dataclass(frozen=True)
class NewStudy:
    """A study that can be written: its id, how much is asked, and the files by path within its folder."""

    study: str
    systems: tuple[str, ...]
    contexts: int
    items: int
    questions: int
    left_out: int
    same: int
    files: Mapping[str, str]

    @property
    def said(self) -> str:
        """The study as a line."""
        told = f"study {self.study}: {number_of(len(self.systems), 'system')}, {number_of(self.contexts, 'context')}, "
        told += f"{number_of(self.items, 'item')}, {number_of(self.questions, 'question')} a rater"
        if self.left_out:
            told += f"\n{number_of(self.left_out, 'context')} left out: not all systems replied to them"
        if self.same:
            told += f"\n{number_of(self.same, 'pair')} of the same replies: not asked, each counts as a tie"
        return told

    def save(self, folder: Path) -> list[Path]:
        """Write the study; ConfigError where another study lies there, whose key would be lost."""
        _check_free(folder, self.study)
        # The key first: without it, sheets that are filled in could not be scored.
        for name, text in self.files.items():
            write_text(folder / name, text)
        return [folder / name for name in self.files]


def new_study(
    folders: Sequence[Path],
    protocol: str,
    *,
    rows: Sequence[str] = (),
    items: int | None = None,
    references: bool = False,
    ties: bool = False,
    with_potato: bool = False,
    seed: int = 0,
) -> NewStudy:
    """Return a study of what ``menura eval`` wrote to these folders, by a protocol: cmaml, plato or pairwise.

    ``items`` is the number of contexts drawn (None: 100, 0: all), ``rows`` names the systems (empty: all),
    ``references`` adds the real replies as one, ``ties`` lets raters of pairs see no difference. Raises ConfigError and
    DataError for what cannot be asked.
    """
    import json

    from menura.annotation import page, potato, protocols, replies, sheet, study

    asked = protocols.named(protocol, ties=ties)
    found = replies.read(folders, rows, with_reference=references)
    made = study.make(found, asked, ties=ties, items=study.MOST_ITEMS if items is None else items, seed=seed)
    texts = {KEY: json.dumps(made.key.content(), indent=1, ensure_ascii=False) + "\n"}
    texts[f"{FOR_RATERS}/page.html"] = page.page(made)
    for name, text in {**sheet.sheets(made), "guide.txt": sheet.guide(asked)}.items():
        texts[f"{FOR_RATERS}/{name}"] = text
    texts |= potato.files(made) if with_potato else {}
    return NewStudy(
        study=made.key.study,
        systems=tuple(sorted(found.by_system)),
        contexts=len({item.context for item in (*made.key.items.values(), *made.key.same)}),
        items=len(made.key.items),
        questions=sum(len(made.parts[part.name]) * len(part.questions) for part in asked.parts),
        left_out=found.left_out,
        same=len(made.key.same),
        files=texts,
    )


@dataclass(frozen=True)
class ScoredStudy:
    """The scores of a study, and their table."""

    scores: "StudyScores"

    def table(self) -> str:
        """Return the tables as Markdown that also reads as text."""
        from menura.annotation.tables import markdown

        return markdown(self.scores)

    def content(self) -> dict[str, Any]:
        """Return all figures as JSON has them."""
        import json

        from menura.annotation.tables import json_text

        return dict(json.loads(json_text(self.scores)))

    def save(self, folder: Path) -> list[Path]:
        """Write table.md and scores.json; return their paths."""
        from menura.annotation.tables import json_text

        texts = {"table.md": self.table(), "scores.json": json_text(self.scores)}
        for name, text in texts.items():
            write_text(folder / name, text)
        return [folder / name for name in texts]


def score_study(
    files: Sequence[Path], key: Path, *, partial: bool = False, rounds: int = 1000, seed: int = 0
) -> ScoredStudy:
    """Return the scores of the files that raters sent back: sheets, files of the page, or Potato's ``user_state.json``.

    ``partial``: votes may be missing. Raises DataError with all that is wrong in any file.
    """
    from menura.annotation import scoring, votes
    from menura.annotation.study import read_key

    found = read_key(key)
    return ScoredStudy(scoring.score(votes.read(files, found, partial=partial), found, rounds=rounds, seed=seed))


def _check_free(folder: Path, study: str) -> None:
    from menura.annotation.study import read_key

    path = folder / KEY
    if path.exists() and read_key(path).study != study:
        raise ConfigError(
            f"--out {folder}: another study lies there, and its sheets cannot be scored without its key",
            hint="choose another --out",
            code="exists",
        )
