"""Adapting on the default base fits on a small machine: the peak of the whole process, with all that it imports."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from counts import count

import menura

EXAMPLE = Path(__file__).parents[3] / "docs" / "example" / "bakery.txt"
GIBIBYTE = 1 << 30
ADAPTING = """
import resource, sys
from pathlib import Path
from menura.cli.main import run
code = run(["adapt", "mara", sys.argv[1], "--speaker", "Mara", "--offline", "--dtype", *sys.argv[2:]])
status = Path("/proc/self/status")
# ``ru_maxrss`` would begin at what the process that started this one had held.
kibibytes = (
    next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    if status.exists()
    else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
)
print("PEAK", kibibytes * 1024)
sys.exit(code)
"""


@pytest.mark.weights
@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "at_most"), [("float32", 2.0), ("bfloat16", 1.3)][: count(full_count=2, quick_count=1)]
)
def test_adapting_the_default_base_stays_within(
    dtype: str, at_most: float, weights_workspace: Path, tmp_path: Path
) -> None:
    (tmp_path / "bases").symlink_to(weights_workspace / "bases")
    environment = os.environ | {
        "PYTHONPATH": str(Path(menura.__file__).parents[1]),
        "MENURA_HOME": str(tmp_path),
        "OMP_NUM_THREADS": "1",
    }
    quick = count(full_count=0, quick_count=1)  # every pass over the dialogues takes as much memory as the first
    once = ["--set", "method.inner.epochs=1"] * quick
    done = subprocess.run(
        [sys.executable, "-c", ADAPTING, str(shutil.copy(EXAMPLE, tmp_path)), dtype, *once],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    peak = int(done.stdout.splitlines()[-1].removeprefix("PEAK "))
    assert peak < at_most * GIBIBYTE, f"{peak / GIBIBYTE:.2f} GiB"
