"""The catalogue of published corpora as a part of a page, and as lines of a terminal."""

from collections.abc import Iterable, Sequence

from menura.corpus.published.catalogue import CORPORA
from menura.corpus.published.records import PublishedCorpus, PublishedFile
from menura.errors import number_of

NOT_PUBLISHED = "not published"
CORPUS_COLUMNS = ("name", "what", "who uses it", "licence", "published counts", "once the files are there")
FILE_COLUMNS = ("name", "file", "bytes", "SHA-256", "checksum from")


def markdown() -> str:
    """Return a table of the corpora, one of their files, and a note on each corpus, in Markdown."""
    corpora = [_corpus_row(corpus) for corpus in CORPORA.values()]
    files = [_file_row(corpus, file) for corpus in CORPORA.values() for file in corpus.files]
    notes = "\n".join(_note(corpus) for corpus in CORPORA.values())
    return f"{_table(CORPUS_COLUMNS, corpora)}\n\n{_table(FILE_COLUMNS, files)}\n\n{notes}"


def published_counts(corpus: PublishedCorpus) -> str:
    """Return what is published of each split: ``train 8,939 dialogues (131,438 turns), …``."""
    known = [split for split in corpus.splits if split.dialogues]
    counts = (
        f"{split.name} {number_of(split.dialogues, corpus.unit)}" + (f" ({split.turns:,} turns)" if split.turns else "")
        for split in known
    )
    return f"{', '.join(counts)}; by {corpus.counts_from}" if known else NOT_PUBLISHED


def _corpus_row(corpus: PublishedCorpus) -> list[str]:
    doing = f"`{corpus.command}`" if corpus.command else "nothing to add"
    about = f"[{corpus.about}]({corpus.source})"
    return [f"`{corpus.name}`", about, corpus.used_by, corpus.licence, published_counts(corpus), doing]


def _file_row(corpus: PublishedCorpus, file: PublishedFile) -> list[str]:
    name = f"[`{file.name}`]({file.url})" if file.url else f"`{file.name}`"
    size = f"{file.size:,}" if file.size else NOT_PUBLISHED
    sha256 = f"`{file.sha256}`" if file.sha256 else NOT_PUBLISHED
    return [f"`{corpus.name}`", name, size, sha256, file.checksum_from]


def _note(corpus: PublishedCorpus) -> str:
    return f"- `{corpus.name}`: {corpus.note}" + (f" Then: `{corpus.then}`." if corpus.then else "")


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = (columns, ["---"] * len(columns), *rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
