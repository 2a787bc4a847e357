"""Where the Python of running processes spends its time, by py-spy."""

import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

RATE_HZ = 200


def profile(pids: Sequence[int], folder: Path, seconds: int) -> list[str]:
    """The five functions that hold the interpreter for most of the time, over all processes; what C code does alone is not in it."""
    outs = [folder / f"{pid}.profile" for pid in pids]
    tool = str(Path(sys.executable).with_name("py-spy"))
    options = ["-d", str(seconds), "-r", str(RATE_HZ), "--gil", "-f", "raw"]
    running = [
        subprocess.Popen([tool, "record", "-p", str(pid), *options, "-o", str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for pid, out in zip(pids, outs, strict=True)
    ]
    for one in running:
        one.wait(seconds + 30)
    samples = Counter[str]()
    for line in (line for out in outs if out.exists() for line in out.read_text().splitlines()):
        stack, _, count = line.rpartition(" ")
        samples[stack.rpartition(";")[2]] += int(count)
    total = sum(samples.values())
    return [f"{100 * count / total:.0f} % {name}" for name, count in samples.most_common(5)]
