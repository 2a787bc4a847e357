"""The kernel's boot clock, on which leases end: there, and never behind the monotonic one."""

import time
from collections.abc import Iterator
from typing import Final

from gpuwarden.cli.checks.found import Found, ok, warning, wrong
from gpuwarden.cli.checks.place import Place

STEP_S: Final = 0.05
COARSE_S: Final = 0.001
_SOURCE: Final = "sys/devices/system/clocksource/clocksource0/current_clocksource"


def check(place: Place) -> Iterator[Found]:
    before_s, began_s = time.clock_gettime(time.CLOCK_BOOTTIME), time.monotonic()
    time.sleep(STEP_S)
    gone_s, waited_s = time.clock_gettime(time.CLOCK_BOOTTIME) - before_s, time.monotonic() - began_s
    if not 0.5 * waited_s < gone_s < 2 * waited_s:
        yield wrong(f"CLOCK_BOOTTIME went {gone_s:.4f} s in {waited_s:.4f} s: leases would end at the wrong time", "dmesg | grep -i clocksource")
        return
    source = place.root / _SOURCE
    kind = source.read_text(encoding="ascii").strip() if source.exists() else "unknown"
    if (step_s := time.clock_getres(time.CLOCK_BOOTTIME)) > COARSE_S:
        yield warning(f"CLOCK_BOOTTIME has steps of {step_s:g} s", "dmesg | grep -i clocksource")
    else:
        yield ok(f"CLOCK_BOOTTIME goes, steps of {step_s:g} s, clock source {kind}; up for {before_s / 3600:,.1f} h")
