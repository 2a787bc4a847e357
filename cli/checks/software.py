"""Python, gpuwarden and the libraries that what is configured here needs."""

import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Final

from gpuwarden.cli.checks.found import Found, ok, wrong
from gpuwarden.cli.checks.place import Place
from gpuwarden.core.version import VERSION

OLDEST: Final = (3, 11)
_EXTRAS: Final = {"detector": "detector", "controller": "controller"}
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+")


def check(place: Place) -> Iterator[Found]:
    python = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST:
        yield wrong(f"Python is {python}, {'.'.join(map(str, OLDEST))} or newer is needed", "apt install python3.11")
    for extra in ("", *(_EXTRAS[daemon] for daemon in place.daemons() if daemon in _EXTRAS)):
        yield _installed(extra, f"Python {python}, gpuwarden {VERSION}" if not extra else f"for the {extra}")


def _installed(extra: str, of: str) -> Found:
    there, lacking = list[str](), list[str]()
    for name in _needed(extra):
        try:
            there.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            lacking.append(name)
    if lacking:
        package = f"gpuwarden[{extra}]" if extra else "gpuwarden"
        return wrong(f"{of}: {', '.join(lacking)} not installed", f"{sys.executable} -m pip install '{package}'")
    return ok(f"{of}: {', '.join(there)}")


def _needed(extra: str) -> Iterator[str]:
    """Names of the requirements that the extra adds, of the plain install where it is empty."""
    for line in requires("gpuwarden") or ():
        requirement, _, marker = line.partition(";")
        wanted = f'extra == "{extra}"' in marker.replace("'", '"') if extra else "extra ==" not in marker
        if wanted and (name := _NAME.match(requirement)) is not None:
            yield name[0]
