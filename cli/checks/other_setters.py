"""Who else may undo what the limiter sets on this node: cron tables, units, boot scripts, DCGM."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from gpuwarden.cli.checks import setter_lines
from gpuwarden.cli.checks.found import Found, absent, ok, warning
from gpuwarden.cli.checks.place import Place

_WHERE: Final = (
    "etc/crontab", "etc/cron.*/*", "var/spool/cron/*", "var/spool/cron/crontabs/*", "etc/rc.local",
    "etc/systemd/system/*.service", "etc/systemd/system/*.timer", "usr/local/lib/systemd/system/*.service",
)
_HOSTENGINE: Final = "nv-hostengine"  # DCGM's daemon: `dcgmi config --set -P` goes through it


def check(place: Place) -> Iterator[Found]:
    files = [path for pattern in _WHERE for path in sorted(place.root.glob(pattern)) if path.is_file()]
    found = [one for path in files for one in setter_lines.found(path)]
    yield from found
    running = set(_running(place.root))
    if _HOSTENGINE in running:
        yield warning("nv-hostengine (DCGM) runs: a limit in its configuration would fight ours", "dcgmi config --get -g 0")
    if not found:
        yield ok(f"none of {len(files)} cron tables, units and boot scripts undoes a limit")
    if "nvidia-persistenced" not in running:
        yield absent("nvidia-persistenced does not run; persistence mode is told by the check of nvml")


def _running(root: Path) -> Iterator[str]:
    """Names of the kernel's processes, cut to 15 characters by it."""
    names = {name[:15]: name for name in (_HOSTENGINE, "nvidia-persistenced")}
    for comm in (root / "proc").glob("[0-9]*/comm"):
        with suppress(OSError):  # it has ended
            said = comm.read_text(encoding="utf-8", errors="replace").strip()
            yield names.get(said, said)
