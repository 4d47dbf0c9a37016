"""What runs when a person is adapted to and chatted with: files, functions and classes of ours; what an import loads.

``python -m benchmarks.main_job`` types ``menura adapt`` and ``menura chat`` on the tiny base in a workspace of their
own, each in a process that watches its calls, and counts. What runs while a module is imported is not counted, and not
what the formats are asked to find out which one a file is in. The control of ``adapt``, which is made once a workspace,
is there before.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import menura

SOURCE = Path(menura.__file__).parent
CHAT = Path(__file__).parent.parent / "docs" / "example" / "bakery.txt"
LIMITS = {"files": 90, "classes": 50, "modules": 90}
WATCH = """
import inspect, json, sys
from pathlib import Path
source, seen, function = {source!r}, set(), inspect.CO_NEWLOCALS  # which the body of a module or a class is not
def watch(frame, event, argument):
    code = frame.f_code
    if event != "call" or not code.co_flags & function or not code.co_filename.startswith(source):
        return
    call = code.co_filename[len(source) + 1:], code.co_qualname
    if call not in seen and not beside(frame):
        seen.add(call)
def beside(frame):
    while frame := frame.f_back:
        if frame.f_code.co_name in ("_find_and_load", "detected"):
            return True
    return False
sys.setprofile(watch)
import threading; threading.setprofile(watch)
from menura.cli.main import run
code = run({words!r})
sys.setprofile(None)
Path({out!r}).write_text(json.dumps(sorted(seen)))
sys.exit(code)
"""
LOADED = "import sys, menura.api; print(sum(name.split('.')[0] == 'menura' for name in sys.modules))"


def traced(words: list[str], folder: Path, typed: str = "") -> set[tuple[str, str]]:
    """Run one command line; return (file, function) of each of our functions that was called."""
    out = folder / "calls.json"
    program = WATCH.format(source=str(SOURCE), words=words, out=str(out))
    environment = {**os.environ, "MENURA_HOME": str(folder)}
    subprocess.run(
        [sys.executable, "-c", program], check=True, input=typed, text=True, env=environment, stdout=subprocess.DEVNULL
    )
    return {(file, function) for file, function in json.loads(out.read_text())}


def main() -> int:
    """Print the counts beside what is promised; 1 if one is exceeded."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        adapt = ["adapt", "baker", str(CHAT), "--speaker", "Mara", "-k", "2", "--base", "tiny"]
        traced(adapt, folder)
        calls = traced(adapt, folder) | traced(["chat", "baker"], folder, "hello\nhow was your day?\n/quit\n")
    files = sorted({file for file, _ in calls})
    methods = (function.partition(".<locals>")[0] for _, function in calls)
    classes = sorted({method.rsplit(".", 1)[0] for method in methods if "." in method})
    modules = int(subprocess.run([sys.executable, "-c", LOADED], check=True, capture_output=True, text=True).stdout)
    counts = {"files": len(files), "functions": len(calls), "classes": len(classes), "modules": modules}
    if "--list" in sys.argv:
        print("\n".join([*files, "", *classes]), end="\n\n")
    for what, count in counts.items():
        print(f"{what:10} {count:4}" + (f"   at most {LIMITS[what]}" if what in LIMITS else ""))
    return int(any(counts[what] > most for what, most in LIMITS.items()))


if __name__ == "__main__":
    sys.exit(main())
