"""Long chats: how long ``menura data check`` and ``menura adapt`` take on them, and how much memory.

``python -m benchmarks.chats`` makes the files in a temporary folder and prints a table; ``--large`` adds files of 1 GB.
Each measurement is a process of its own.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

from menura.artefacts.files import home
from menura.cli.terminal import columns

LINES = 90_000
TEXTS = 20_000  # that messages are drawn from
LAST = 7  # dialogues of the small chat: as many as adapt learns from and checks on
GIGABYTE = 10**9
SECONDS_WANTED = 6.0  # of the processor, as others may use the machine too
RATIO_WANTED = 1.5  # of adapting to the long chat against the short one
BEGAN = datetime(2022, 1, 1, 9)
TEXT = """
the fern is green today and it sulks again after lunch you said so yesterday water twice maybe three times no
really look at that leaf what a day tea later yes of course i forgot my keys where are you now almost home bring
bread please and two lemons thanks see you soon it rains here all the time but the basil likes it lovely
"""
WORDS = TEXT.split()


@dataclass(frozen=True)
class Said:
    """One message; ``starts`` tells that a long silence is before it."""

    when: datetime
    name: str
    text: str
    starts: bool


@dataclass(frozen=True)
class Measured:
    """Wall and processor time in seconds, and peak memory in MB, of one process."""

    seconds: float
    busy: float
    peak: float


def messages(seed: int, days: float = 730.0, lines: int = LINES) -> Iterator[Said]:
    """Yield messages without end, so many on average in so many days.

    Conversations of two to sixty messages a minute apart lie hours apart, some of them days.
    """
    rng = random.Random(seed)
    texts = [_text(rng) for _ in range(TEXTS)]
    when, name = BEGAN, "Ines"
    mean = 20.0  # messages of a conversation
    silence = max(days * 86_400 / lines * mean - mean * 60, 4 * 3600)
    while True:
        for place in range(2 + min(int(rng.expovariate(1 / (mean - 2))), 58)):
            if place == 1 or rng.random() < 0.7:  # both speak in every conversation
                name = "Tomo" if name == "Ines" else "Ines"
            yield Said(when, name, rng.choice(texts), place == 0)
            when += timedelta(seconds=5 + rng.expovariate(1 / 55))
        when += timedelta(seconds=2.5 * 3600 + rng.expovariate(1 / (silence - 2.5 * 3600)))


def _text(rng: random.Random) -> str:
    if rng.random() < 0.04:
        return "<Media omitted>"
    said = " ".join(rng.choices(WORDS, k=1 + min(int(rng.expovariate(1 / 8)), 60)))
    return f"{said} 🌿" if rng.random() < 0.1 else said


def whatsapp_line(said: Said) -> str:
    """Return a message as WhatsApp on Android writes it."""
    when = said.when
    clock = f"{when.hour % 12 or 12}:{when.minute:02} {'PM' if when.hour >= 12 else 'AM'}"
    return f"{when.month}/{when.day}/{when.year}, {clock} - {said.name}: {said.text}\n"


def telegram_row(number: int, said: Said) -> str:
    """Return a message as Telegram writes it, with the entities that it repeats each text in."""
    row = {
        "id": number,
        "type": "message",
        "date": said.when.isoformat(timespec="seconds"),
        "date_unixtime": str(int(said.when.timestamp())),
        "from": said.name,
        "from_id": "user1" if said.name == "Ines" else "user2",
        "text": said.text,
        "text_entities": [{"type": "plain", "text": said.text}],
    }
    return json.dumps(row, ensure_ascii=False, indent=1)


def write_whatsapp(path: Path, said: Iterator[Said], size: int) -> None:
    """Write messages until there are none, or so many bytes."""
    with path.open("w", encoding="utf-8") as file:
        for one in said:
            if file.write(whatsapp_line(one)) and file.tell() >= size:
                return


def write_telegram(path: Path, said: Iterator[Said], size: int) -> None:
    """Write a ``result.json`` of so many bytes."""
    with path.open("w", encoding="utf-8") as file:
        file.write('{\n "name": "Tomo",\n "type": "personal_chat",\n "id": 1,\n "messages": [')
        for number, one in enumerate(said):
            file.write(f"{',' if number else ''}\n{telegram_row(number, one)}")
            if file.tell() >= size:
                break
        file.write("\n ]\n}\n")


def last_dialogues(said: Sequence[Said], dialogues: int) -> list[Said]:
    """Return the messages of the last dialogues, as many as there are to be."""
    starts = [index for index, one in enumerate(said) if one.starts]
    return list(said[starts[-dialogues] :])


def measured(words: Sequence[str], workspace: Path) -> Measured:
    """Run a line of Menura in a process of its own; SystemExit where it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MENURA_HOME": str(workspace)}
    began = time.perf_counter()
    running = subprocess.Popen(
        [sys.executable, "-m", "menura", *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert running.stdout is not None
    told = running.stdout.read().decode()
    _, status, usage = os.wait4(running.pid, 0)  # of this process alone, not the most of all so far
    running.returncode = os.waitstatus_to_exitcode(status)
    if running.returncode:
        raise SystemExit(f"menura {' '.join(words)}: {running.returncode}\n{told}")
    scale = 1 if sys.platform == "darwin" else 1024
    return Measured(time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * scale / 1e6)


def rows(folder: Path, base: str, rounds: int, *, large: bool) -> Iterator[list[str]]:
    """Yield a row for each thing that is measured, as it is known."""
    said = list(islice(messages(0), LINES))
    long, short = folder / "long.txt", folder / "short.txt"
    write_whatsapp(long, iter(said), GIGABYTE)
    write_whatsapp(short, iter(last_dialogues(said, LAST)), GIGABYTE)
    check = measured(["data", "check", str(long)], folder)
    yield _row(f"check {LINES:,} lines, {long.stat().st_size / 1e6:.1f} MB", check, SECONDS_WANTED)
    yield _row(f"check their last {LAST} dialogues", measured(["data", "check", str(short)], folder))
    (folder / "bases").symlink_to(home() / "bases")
    learn = ["adapt", "noa", "--speaker", "Tomo", "-k", "5", "--base", base, "--replace"]
    measured([*learn, str(short)], folder)  # the stranger's persona is made once and kept
    few, many = (
        min((measured([*learn, str(path)], folder) for _ in range(rounds)), key=lambda one: one.busy)
        for path in (short, long)
    )
    yield _row(f"adapt to {LAST} dialogues, {base}", few)
    yield _row(f"adapt to {LINES:,} lines, {base}: {many.busy / few.busy:.2f} times", many, RATIO_WANTED * few.busy)
    if large:
        for name, write in (("whatsapp.txt", write_whatsapp), ("result.json", write_telegram)):
            path = folder / name
            write(path, messages(1, 36_500, 10_000_000), GIGABYTE)
            yield _row(
                f"check {name}, {path.stat().st_size / 1e9:.2f} GB", measured(["data", "check", str(path)], folder)
            )
            path.unlink()


def _row(what: str, found: Measured, seconds: float = float("inf")) -> list[str]:
    wanted = f"at most {seconds:.1f} s" if seconds < float("inf") else ""
    if wanted:
        wanted += ": met" if found.busy <= seconds else ": missed"
    return [what, f"{found.seconds:.1f} s", f"{found.busy:.1f} s", f"{found.peak:.0f} MB", wanted]


def main(words: Sequence[str]) -> int:
    """Measure what is asked for, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chats", description="Time and memory of long chats.")
    parser.add_argument("--base", default="tiny", help="the base that is adapted")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="the best of so many adaptations counts")
    parser.add_argument("--large", action="store_true", help="files of 1 GB, too")
    asked = parser.parse_args(words)
    found = [["what", "time", "of the processor", "peak memory", "wanted"]]
    with tempfile.TemporaryDirectory(prefix="menura-chats-") as folder:
        for row in rows(Path(folder), asked.base, asked.rounds, large=asked.large):
            print("  ".join(row), flush=True)
            found.append(row)
    print(columns(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
