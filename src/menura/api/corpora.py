"""Corpora by name: where they are published, and a user's files of one, checked, counted and put into the workspace."""

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from menura.errors import ConfigError, DataError, shown

if TYPE_CHECKING:
    from menura.corpus.inputs import Input
    from menura.corpus.published.records import PublishedCorpus
    from menura.corpus.published.selection import CorpusFiles
    from menura.corpus.published.tally import Tally


def sources(name: str = "") -> "tuple[PublishedCorpus, ...]":
    """Return the published corpora that the papers and the recipes use, or the one of a name.

    Raises ConfigError, with the names there are, for another name.
    """
    from menura.corpus.published.catalogue import CORPORA

    if name and name not in CORPORA:
        message, hint = f"no published corpus is called {shown(name)}", f"names: {', '.join(CORPORA)}"
        raise ConfigError(message, code="unknown_corpus", hint=hint)
    return (CORPORA[name],) if name else tuple(CORPORA.values())


def sources_as_markdown() -> str:
    """Return the tables of the page about the papers' data."""
    from menura.corpus.published.tables import markdown

    return markdown()


def published_counts(corpus: "PublishedCorpus") -> str:
    """Return what is published of the splits of a corpus, in words."""
    from menura.corpus.published import tables

    return tables.published_counts(corpus)


def add_corpus(
    name: str,
    files: Sequence[Path],
    format: str | None = None,
    *,
    dry_run: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Put a corpus into the workspace under a name, once it is read without error; return what was counted.

    Files of a published corpus may be given as they are published, archives included; ``say`` gets how they compare
    with the published files. Raises ConfigError, DataError and StorageError for what cannot be added; nothing is
    stored then.
    """
    from menura.artefacts import corpus_store
    from menura.corpus.published.checksums import compared
    from menura.corpus.published.selection import select

    with tempfile.TemporaryDirectory(prefix="menura-") as folder:
        chosen = select(name, files, Path(folder), any_format=format is not None)
        try:
            counted = _counted(chosen, format)
            comparisons = list(compared((*files, *chosen.files), chosen.corpus)) if chosen.corpus else []
            for comparison in comparisons:
                say(str(comparison))
            if not dry_run:
                corpus_store.add(name, chosen.files, format, alone=bool(chosen.corpus and chosen.corpus.unit == "pair"))
        except DataError as error:
            raise chosen.named(error) from error
    checksums = [{"file": one.published.name, "sha256": one.sha256, "as_published": one.same} for one in comparisons]
    return {"name": name, "folder": str(corpus_store.folder_of(name)), **counted, "checksums": checksums}


def _counted(chosen: "CorpusFiles", format: str | None) -> dict[str, Any]:
    """Return how many dialogues or pairs there are, and those of each split beside what is published of it."""
    from menura.corpus.published.tally import Tally

    corpus = chosen.corpus
    tally = Tally(corpus) if corpus else None
    unit = corpus.unit if corpus else "dialogue"
    total = _pairs(chosen, tally) if unit == "pair" else _dialogues(_inputs(chosen.files, format), tally)
    counted: dict[str, Any] = {f"{unit}s": total, "unit": unit}
    if corpus is not None and tally is not None:
        counted |= {
            "source": corpus.source,
            "splits": [{**asdict(count), "differs": count.differs} for count in tally.counts()],
            "missing": list(tally.missing()),
            "counts_from": corpus.counts_from,
            "then": corpus.then,
        }
    return counted


def _inputs(files: Sequence[Path], format: str | None) -> "list[Input]":
    from menura.corpus import chitchat
    from menura.corpus.inputs import inputs

    return inputs([chitchat.installed() if str(file) == "chitchat" else file for file in files], format)


def _dialogues(found: "Iterable[Input]", tally: "Tally | None") -> int:
    """SplitCount the dialogues of all files; one DataError with all that is wrong in any of them."""
    total, wrong = 0, []
    for one in found:
        try:
            for dialogue in one.dialogues():
                total += 1
                if tally is not None:
                    tally.add(one.file.stem, dialogue)
        except DataError as error:
            wrong += error.problems
    if wrong:
        raise DataError.of(wrong)
    return total


def _pairs(chosen: "CorpusFiles", tally: "Tally | None") -> int:
    """SplitCount the pairs of Dialogue NLI in all files."""
    from menura.corpus.source import stem_of
    from menura.scorers import dialogue_nli

    total = 0
    for file in chosen.files:
        count = len(dialogue_nli.read([file]))
        total += count
        if tally is not None:
            tally.add_pairs(stem_of(file), count)
    return total
