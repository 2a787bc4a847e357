"""`gpuwarden doctor`: what is wrong on this machine, without anything having to run."""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gpuwarden.cli.checks.found import Found

_COLOURS: Final = {"ok": "green", "warning": "yellow", "wrong": "red", "not applicable": "dim"}
_MARKS: Final = {"not applicable": "n/a"}


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    doctor = verbs.add_parser("doctor", help="check this machine: 0 nothing is wrong, 1 something is")
    doctor.add_argument("--config-dir", type=Path, default=Path("/etc/gpuwarden"), metavar="DIR", help="default: %(default)s")
    doctor.add_argument("--json", action="store_true", help="one list of what was found")
    doctor.set_defaults(run=run, verb="doctor")


def run(args: argparse.Namespace) -> int:
    from gpuwarden.cli.checks.examiner import examine
    from gpuwarden.cli.checks.place import Place

    found: list[tuple[str, Found]] = []
    for name, said in examine(Place(args.config_dir)):
        found += [(name, one) for one in said]
        if not args.json:
            print("\n".join(_lines(name, said)), flush=True)
    counts = {word: sum(one.outcome.value == word for _, one in found) for word in _COLOURS}
    if args.json:
        print(json.dumps([_as_json(name, one) for name, one in found], indent=1))
    else:
        print("\n" + ", ".join(f"{count} {word}" for word, count in counts.items()))
    return int(counts["wrong"] > 0)


def _lines(name: str, said: Iterable["Found"]) -> Iterator[str]:
    from gpuwarden.cli.plain_text import Ink, printable

    ink = Ink(sys.stdout.isatty())
    for one in said:
        word = one.outcome.value
        yield f"{ink(_MARKS.get(word, word).ljust(7), _COLOURS[word])}  {name:<14}  {printable(one.sentence)}"
        if one.then:
            yield f"{'':25}{ink('next:', 'dim')} {printable(one.then)}"


def _as_json(name: str, one: "Found") -> dict[str, str]:
    return {"check": name, "outcome": one.outcome.value, "sentence": one.sentence, "next": one.then}
