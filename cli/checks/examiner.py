"""Runs the checks, each in a child process under a deadline: a driver that hangs or a library that crashes costs one check."""

import logging
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Final

from gpuwarden.agent.child import Child, ChildFailed, Hung
from gpuwarden.cli.checks import CHECKS
from gpuwarden.cli.checks.found import Check, Found, Outcome, wrong
from gpuwarden.cli.checks.place import Place

DEADLINE_S: Final = 3.0
_SUBJECT: Final = "gpuwarden.cli.checks.examiner:Examiner"


class Examiner:
    """The child's side."""

    def __init__(self, config_dir: str, root: str) -> None:
        logging.getLogger().addHandler(logging.NullHandler())  # what a library says of a dead broker is in what is found
        self._place = Place(Path(config_dir), Path(root))

    def examine(self, name: str) -> tuple[Found, ...]:
        check: Check = import_module(f"gpuwarden.cli.checks.{CHECKS[name]}").check
        return tuple(check(self._place))


def examine(place: Place, deadline_s: float = DEADLINE_S) -> Iterator[tuple[str, tuple[Found, ...]]]:
    """Every check by name, as it is done. One that fails or does not end in time is `wrong` and says so itself."""
    child = _child(place)
    try:
        for name in CHECKS:
            try:
                yield name, child.call("examine", name, deadline_s=deadline_s)
            except (Hung, ChildFailed) as why:
                yield name, (wrong(f"this check itself failed: {why}", f"gpuwarden doctor --config-dir {place.config_dir} --json"),)
                child.close()
                child = _child(place)  # the next check does not pay for this one's failure
    finally:
        child.close()


def _child(place: Place) -> Child:
    return Child(_SUBJECT, str(place.config_dir), str(place.root), types=(Found, Outcome))
