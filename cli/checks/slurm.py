"""What Slurm does to cards before and after a job: its prologs and epilogs, and clocks that it sets for a job (--gpu-freq)."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gpuwarden.cli.checks import setter_lines
from gpuwarden.cli.checks.found import Found, absent, ok, warning
from gpuwarden.cli.checks.place import Place

_WHERE: Final = ("etc/slurm", "etc/slurm-llnl", "usr/local/etc", "opt/slurm/etc")
_SCRIPTS: Final = frozenset({"prolog", "epilog", "taskprolog", "taskepilog"})
_KEY: Final = re.compile(r"^\s*(\w+)\s*=\s*([^\s#]+)")
_NVML: Final = re.compile(r"^[^#]*\bautodetect\s*=\s*(nvml|nvidia)\b", re.IGNORECASE | re.MULTILINE)


def check(place: Place) -> Iterator[Found]:
    folder = next((place.root / at for at in _WHERE if (place.root / at / "slurm.conf").is_file()), None)
    if folder is None:
        yield absent("no slurm.conf here; a node without one (configless) is not looked at")
        return
    try:
        conf = (folder / "slurm.conf").read_text(encoding="utf-8", errors="replace")
    except OSError as why:
        yield warning(f"{folder / 'slurm.conf'}: {why.strerror}", f"sudo gpuwarden doctor --config-dir {place.config_dir}")
        return
    scripts = sorted(set(_scripts(conf, place.root)))
    undone = [one for script in scripts for one in setter_lines.found(script)]
    yield from undone
    if not undone:
        yield ok(f"none of {len(scripts)} prologs and epilogs of Slurm undoes a limit")
    yield from _clocks(folder, conf)


def _scripts(conf: str, root: Path) -> Iterator[Path]:
    """Those that run on this node; a name may be a pattern, and a folder means what is in it."""
    for line in conf.splitlines():
        key = _KEY.match(line)
        if key is None or key[1].lower() not in _SCRIPTS or not key[2].startswith("/"):
            continue
        for path in root.glob(key[2].lstrip("/")):
            yield from (one for one in (path.iterdir() if path.is_dir() else (path,)) if one.is_file())


def _clocks(folder: Path, conf: str) -> Iterator[Found]:
    """Slurm's NVML plug-in sets application clocks for a step that asks for them, or for all where GpuFreqDef says so, and resets them after it."""
    gres = folder / "gres.conf"
    try:
        text = gres.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    if not _NVML.search(text):
        return
    default = next((key[2] for line in conf.splitlines() if (key := _KEY.match(line)) and key[1].lower() == "gpufreqdef"), None)
    if default is not None:
        yield warning(f"GpuFreqDef={default} in {folder / 'slurm.conf'}: every job step sets its cards' clocks, and resets them when it ends", f"$EDITOR {folder / 'slurm.conf'}")
    else:
        yield warning(f"{gres}: with AutoDetect=nvml a job may set its cards' clocks (--gpu-freq), and they are reset when it ends; power limits stay", f"$EDITOR {gres}")
