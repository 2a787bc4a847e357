"""Builds the fake `libnvidia-ml.so.1` with gcc; one build for each state of its source."""

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).parent
LIBRARY = "libnvidia-ml.so.1"
_CORE = ("state.c", "plant.c", "steer.c", "nvml_core.c")
_MORE = ("nvml_getters.c", "nvml_fields.c", "nvml_events.c")
_FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared")


def build(out_dir: Path | None = None, *, few: bool = False) -> Path:
    """The folder to put into LD_LIBRARY_PATH. `few`: a library with only the core calls, as an old or partial one has.

    No soname: a test process loads this file by its path to steer it, and must not thereby satisfy pynvml's dlopen.
    """
    return compile_library([SOURCE / name for name in (_CORE if few else _CORE + _MORE)], out_dir)


def compile_library(sources: list[Path], out_dir: Path | None = None) -> Path:
    """Compiles `sources` into <cache>/<digest>/libnvidia-ml.so.1 and returns that folder."""
    headers = sorted(sources[0].parent.glob("*.h"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in [*sources, *headers])).hexdigest()[:16]
    folder = (out_dir or _cache()) / digest
    if not (folder / LIBRARY).exists():
        folder.mkdir(parents=True, exist_ok=True)
        _compile(sources, folder)
    return folder


def _compile(sources: list[Path], folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        made = Path(scratch) / LIBRARY
        subprocess.run(["gcc", *_FLAGS, *map(str, sources), "-lm", "-lpthread", "-o", str(made)], check=True)
        made.rename(folder / LIBRARY)  # two test runs at once: the last one wins, and both are whole


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "gpuwarden" / "fake-nvml"
