"""`gpuwarden models`: which models of health there are, which one judges; makes the shadow live, and goes back."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gpuwarden.cli.plain_text import aligned, printable
from gpuwarden.cli.train import REGISTRY
from gpuwarden.core.config import ConfigError

if TYPE_CHECKING:
    from gpuwarden.detector.registry.shelf import Registry

_TITLE: Final = ("MODEL", "ROLE", "DATA FROM", "UNTIL", "NODES", "METRICS", "BUDGET")


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    models = verbs.add_parser("models", help="models of what is usual for nodes: list them, promote the shadow, roll back")
    models.add_argument("action", nargs="?", choices=("list", "promote", "roll-back"), default="list", help="default: %(default)s")
    models.add_argument("--registry", type=Path, default=REGISTRY, metavar="DIR", help="default: %(default)s")
    models.add_argument("--json", action="store_true")
    models.set_defaults(run=run, verb="models")


def run(args: argparse.Namespace) -> int:
    from gpuwarden.detector.registry.refused import BadModel
    from gpuwarden.detector.registry.shelf import Registry

    if not args.registry.is_dir():
        raise ConfigError(f"--registry: {args.registry} is not a folder; gpuwarden train makes it")
    registry = Registry(args.registry)
    try:
        if args.action != "list":
            live = registry.promote() if args.action == "promote" else registry.roll_back()
            print(json.dumps({"live": live}) if args.json else f"{live} judges; detectors take it up within a minute")
            return 0
        made = [_told(registry, one) for one in registry.ids()]
        _tell(made, args)
    except (BadModel, OSError) as why:
        raise ConfigError(f"--registry: {why}") from None
    return int(any("refused" in one for one in made))


def _told(registry: "Registry", model_id: str) -> dict[str, Any]:
    """What cannot be read is told with the reason: it does not hide the others."""
    from gpuwarden.detector.registry.refused import BadModel

    pointers = registry.pointers()
    role = "live" if model_id == pointers.live else "shadow" if model_id == pointers.shadow else "before" if model_id in pointers.before else ""
    try:
        manifest = registry.load(model_id).manifest
    except BadModel as why:
        return {"model": model_id, "role": role, "refused": str(why)}
    return {
        "model": model_id, "role": role, "kind": manifest.kind, "from_unix_s": manifest.data_from_unix_s, "until_unix_s": manifest.data_until_unix_s,
        "nodes": len(manifest.nodes), "features": len(manifest.features), "calibration": dict(manifest.calibration.numbers),
    }  # fmt: skip


def _tell(made: list[dict[str, Any]], args: argparse.Namespace) -> None:
    if args.json:
        print(json.dumps(made, indent=1))
    elif not made:
        print(f"no models in {args.registry}; gpuwarden train makes them")
    else:
        print("\n".join(aligned([_TITLE, *map(_cells, made)], (4, 5, 6))))


def _cells(one: dict[str, Any]) -> tuple[str, ...]:
    from gpuwarden.cli.train_told import when

    if "refused" in one:
        return one["model"], one["role"], f"refused: {printable(one['refused'])}", "", "", "", ""
    times = (when(int(one[key]) // 60) for key in ("from_unix_s", "until_unix_s"))
    return one["model"], one["role"], *times, f"{one['nodes']:,}", f"{one['features']:,}", ", ".join(f"{n:g}" for n in one["calibration"].values())
