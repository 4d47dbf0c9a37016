"""What a process held at most is told of that process alone."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_small_process_started_by_a_large_one_is_small() -> None:
    small = "import json; from benchmarks.memory import peak_bytes; print(json.dumps(peak_bytes()))"
    large = (
        "import subprocess, sys; held = bytearray(b'x') * (2 << 30); "
        "sys.stdout.write(subprocess.run([sys.executable, '-c', sys.argv[1]], capture_output=True, text=True).stdout)"
    )
    done = subprocess.run([sys.executable, "-c", large, small], cwd=ROOT, capture_output=True, text=True, check=True)
    assert 50e6 < json.loads(done.stdout) < 1.5e9
