"""systemd's units of what is configured here."""

import shutil
import subprocess
from collections.abc import Iterator
from typing import Final

from gpuwarden.cli.checks.found import Found, absent, ok, wrong
from gpuwarden.cli.checks.place import Place

PATIENCE_S: Final = 2.0


def check(place: Place) -> Iterator[Found]:
    systemctl = shutil.which("systemctl")
    if systemctl is None:
        yield absent("this machine has no systemctl")
        return
    units = [f"gpuwarden-{daemon}.service" for daemon in place.daemons()]
    if not units:
        yield absent("no daemon is configured here")
        return
    asked = subprocess.run([systemctl, "is-active", *units], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    states = asked.stdout.split()
    if len(states) != len(units):
        yield absent(f"systemctl does not tell: {'; '.join((asked.stderr or asked.stdout).splitlines())}")
        return
    yield from map(_unit, units, states)


def _unit(unit: str, state: str) -> Found:
    if state == "active":
        return ok(f"{unit} is active")
    return wrong(f"{unit} is {state}", f"systemctl status {unit}")
