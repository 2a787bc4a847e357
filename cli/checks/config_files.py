"""The daemons' files: there, and understood to the last key."""

from collections.abc import Iterator

from gpuwarden.cli.checks.found import Found, absent, ok, warning, wrong
from gpuwarden.cli.checks.place import Place
from gpuwarden.cli.config import config_of
from gpuwarden.core.config import ConfigError, load


def check(place: Place) -> Iterator[Found]:
    if not place.daemons():
        yield absent(f"{place.config_dir} has none of agent.toml, limiter.toml, detector.toml, controller.toml")
    for daemon in place.daemons():
        yield _file(place, daemon)


def _file(place: Place, daemon: str) -> Found:
    file = place.file(daemon)
    try:
        load(file, config_of(daemon))
    except ConfigError as why:
        return wrong("; ".join(str(why).splitlines()), f"gpuwarden config check {daemon} {file}")
    except ModuleNotFoundError as why:
        return warning(f"{file}: cannot be checked without {why.name}", f"pip install 'gpuwarden[{daemon}]'")
    return ok(f"{file}: is good for the {daemon}")
