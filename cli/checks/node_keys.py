"""Sealing keys: there, readable by their owner only, and the same on both sides."""

import os
from collections.abc import Iterator
from pathlib import Path

from gpuwarden.cli.checks.found import Found, absent, ok, warning, wrong
from gpuwarden.cli.checks.node_names import names
from gpuwarden.cli.checks.place import Place
from gpuwarden.core.config import ConfigError
from gpuwarden.core.private import read_key


def check(place: Place) -> Iterator[Found]:
    limiter, controller = place.limiter, place.controller
    if limiter is None and controller is None:
        yield absent("no limiter and no controller is configured here")
    if limiter is not None:
        yield _key(limiter.key_file)
    if controller is not None:
        found = [_key(controller.keys_dir / f"{node}.key") for node in controller.nodes()]
        bad = [one for one in found if one.then]
        yield from bad
        if not bad:
            yield ok(f"{controller.keys_dir}: all of the {len(found)} nodes' keys are there")
    yield from _agree(place)


def _key(file: Path) -> Found:
    try:
        read_key(file)
    except ConfigError as why:
        if os.path.lexists(file) and not os.access(file, os.R_OK):
            return warning(f"{file}: may not be read by this user, so it is not checked", "sudo gpuwarden doctor")
        if not os.access(file.parent, os.X_OK) and file.parent.exists():
            return warning(f"{file.parent}: may not be read by this user, so it is not checked", "sudo gpuwarden doctor")
        then = f"chmod 600 {file}" if "chmod" in str(why) else f"gpuwarden config node-keys {file.stem} --out {file.parent}"
        return wrong(str(why), then)
    return ok(f"{file}: is a key that only its owner reads")


def _agree(place: Place) -> Iterator[Found]:
    """Only where both ends are on one machine: keys do not travel."""
    limiter, controller = place.limiter, place.controller
    node = names(place).get("limiter")
    if limiter is None or controller is None or node not in controller.nodes():
        return
    theirs = controller.keys_dir / f"{node}.key"
    try:
        same = read_key(limiter.key_file) == read_key(theirs)
    except ConfigError:
        return  # said already
    if not same:
        yield wrong(f"{limiter.key_file} and {theirs} differ: every report of {node} is refused", f"install -m 600 {theirs} {limiter.key_file}")
