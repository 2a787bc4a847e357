"""`gpuwarden sim faults`: a month of a large training job that crashes, with the paper's delays and with ours."""

import argparse
import json
import multiprocessing
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from gpuwarden.cli.plain_text import aligned
from gpuwarden.core.config import ConfigError

_TITLE: Final = ("DELAYS", "CRASHES", "CHECKPOINT", "LOST", "SPREAD", "UNDONE", "DETECTION", "DIAGNOSIS", "REINIT", "BY A PERSON")


def add(what: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    faults = what.add_parser("faults", help="a month of a large training job that crashes: what is lost to what, before and with the isolating machine")
    faults.add_argument("--preset", choices=("c4",), default="c4", help="whose job, mix of causes and delays before")
    faults.add_argument("--months", type=int, default=12, metavar="N", help="of each cell; default: %(default)s")
    faults.add_argument("--seed", type=int, default=1)
    faults.add_argument("--jobs", type=int, default=multiprocessing.cpu_count(), metavar="N", help="months at a time; default: as many as there are cores")
    faults.add_argument("--plot", type=Path, metavar="FILE", help="the months as a picture, one HTML file")
    faults.add_argument("--json", action="store_true", help="the figures as JSON")
    faults.set_defaults(run=run, verb="sim")


def run(args: argparse.Namespace) -> int:
    for name, most in (("months", 10_000), ("jobs", 1024)):
        if not 1 <= getattr(args, name) <= most:
            raise ConfigError(f"--{name}: is {getattr(args, name)}, should be 1 to {most:,}")
    from gpuwarden.sim.crashes.study import done

    made = done(args.seed, args.months, args.jobs, _progress)
    print(json.dumps(made, indent=1) if args.json else "\n".join(lines(made)))
    if args.plot is not None:
        _plot(args.plot, made)
    return 0


def _progress(what: str, ratio: float) -> None:
    end = "\n" if ratio >= 1.0 else ""
    if sys.stderr.isatty():
        print(f"\r{what}: {100 * ratio:3.0f} %", end=end, file=sys.stderr, flush=True)


def _plot(file: Path, made: dict[str, Any]) -> None:
    from gpuwarden.sim.crashes.picture import draw

    try:
        draw(file, [*_sentences(made)], made)
    except OSError as why:
        raise ConfigError(f"--plot {file}: {why.strerror}") from None
    print(f"{file}: open it in a browser", file=sys.stderr)


def lines(made: dict[str, Any]) -> Iterator[str]:
    """The cells, what they say, and the sweep."""
    yield from aligned([_TITLE, *map(_row, made["cells"])], range(1, len(_TITLE)))
    yield ""
    yield from _sentences(made)
    yield ""
    yield from _sweep(made["sweep"])


def _row(cell: dict[str, Any]) -> tuple[str, ...]:
    shares = [f"{cell[f'{name}_percent']:.2f} %" for name in ("total", "total_sd", "post_checkpoint", "detection", "diagnosis_isolation", "reinit")]
    person = f"{cell['by_person_a_month']:.1f}" if cell["delays"] == "ours" else "all"
    return (cell["delays"], f"{cell['crashes']}", f"{cell['interval_s'] / 60:.0f} min", *shares, person)


def _sentences(made: dict[str, Any]) -> Iterator[str]:
    paper, stated, before, after = made["inputs"]["paper"], made["inputs"]["stated"], made["before"], made["after"]
    yield (
        f"Before, with the delays fitted to the paper: {before['total_percent']:.2f} % lost, the paper has {paper['before_total_percent']} %. "
        f"After, with ours: {after['total_percent']:.2f} % (from month to month {after['total_sd_percent']:.2f}), the paper has {paper['after_total_percent']} %."
    )
    yield (
        f"A person ends {after['by_person_a_month']:.1f} of {after['crashes_a_month']:.0f} crashes in a month after, within {stated['person_s'] / 60:.0f} min: stated, not measured, as is that "
        f"a test shows {100 * stated['shown_ratio']:.0f} % of what it is needed for. Nothing of the causes of crashes is ours, nor of the interval between checkpoints."
    )
    yield _enough(made)


def _enough(made: dict[str, Any]) -> str:
    """How quick a person would have to be, between the swept values; what is lost grows with that in a straight line."""
    most, stated = made["inputs"]["paper"]["after_total_percent"], made["inputs"]["stated"]
    swept = [(one["person_min"], one["total_percent"]) for one in made["sweep"] if one.get("shown_ratio") == stated["shown_ratio"]]
    if made["after"]["total_percent"] <= most:
        return f"That is at or under the paper's {most} %."
    within = [(first, last) for first, last in pairwise(swept) if first[1] <= most < last[1]]
    if not within:
        return f"At none of the values swept below it would be at or under the paper's {most} %."
    (low, low_percent), (high, high_percent) = within[0]
    enough = low + (most - low_percent) / (high_percent - low_percent) * (high - low)
    return f"It would be at or under the paper's {most} % if a person took {enough:.0f} min or less."


def _sweep(swept: list[dict[str, Any]]) -> Iterator[str]:
    by_person = [one for one in swept if "person_min" in one]
    minutes = sorted({one["person_min"] for one in by_person})
    title = ("ours, after; a person takes", *(f"{one:.0f} min" for one in minutes))
    rows = [
        (f"a test shows {100 * shown:.0f} %", *(f"{one['total_percent']:.2f} %" for one in by_person if one["shown_ratio"] == shown))
        for shown in sorted({one["shown_ratio"] for one in by_person}, reverse=True)
    ]
    yield from aligned([title, *rows], range(1, len(title)))
    yield ""
    false = [one for one in swept if "false_a_month" in one]
    title = ("ours, after; false findings of a hang, a month", *(f"{one['false_a_month']}" for one in false if one["wrong_ratio"] == 0.0))
    rows = [
        (said, *(f"{one['total_percent']:.2f} %" for one in false if one["wrong_ratio"] == wrong))
        for said, wrong in (("each costs a test", 0.0), ("each is borne out by a test that is wrong", 1.0))
    ]
    yield from aligned([title, *rows], range(1, len(title)))
