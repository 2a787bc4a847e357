"""`gpuwarden config certs`: a test authority and the certificate of everybody who takes part."""

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

DAYS = 90.0
HERE = ("localhost", "127.0.0.1", "::1")  # how the command calls a controller on its own machine
_NAME = re.compile(r"[\w.@:-]+")


class Holder(NamedTuple):
    """One who gets a certificate. `hosts` are what a client may have called a server."""

    role: str
    name: str
    hosts: tuple[str, ...] = ()


def add(steps: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    certs = steps.add_parser("certs", help="make an authority, and a certificate for everybody named; repeat it to add or renew")
    certs.add_argument("--out", type=Path, required=True, metavar="DIR", help="the authority's folder; ca.key in it signs everything")
    certs.add_argument("--controller", nargs="+", default=[], metavar="HOST", help="every name and address by which agents call the controller; this machine's own are added")
    certs.add_argument("--node", nargs="+", default=[], metavar="NODES", help="agents; `gpu[01-64]` is a range")
    for role, meaning in (("viewer", "may read"), ("operator", "may set budgets and modes too"), ("admin", "may force them too")):
        certs.add_argument(f"--{role}", nargs="+", default=[], metavar="NAME", help=f"people who {meaning}")
    certs.add_argument("--days", type=float, default=DAYS, help="how long they are valid (%(default)g)")
    certs.add_argument("--json", action="store_true")
    certs.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from gpuwarden.cli.authority import Authority
    from gpuwarden.controller.access import TRUST_DOMAIN

    holders = list(_holders(args))
    authority = Authority(args.out)
    made = [(h, authority.leaf(h.role, h.name, f"{TRUST_DOMAIN}{h.role}/{h.name}", h.hosts, args.days)) for h in holders]
    if args.json:
        print(json.dumps({"authority": str(args.out / "ca.crt"), "made": {f"{h.role} {h.name}": str(path) for h, path in made}}, indent=1))
        return 0
    for holder, path in made:
        print(f"{holder.role:<10} {holder.name:<24} {path}")
    print(f"{len(made)} certificates for {args.days:g} days. Give each holder its folder, as tls_dir; keep {args.out / 'ca.key'} to yourself.")
    return 0


def _holders(args: argparse.Namespace) -> Iterator[Holder]:
    """ConfigError for a host list that cannot be."""
    from gpuwarden.controller.power.hostlist import BadHostlist, expand
    from gpuwarden.core.config import ConfigError

    if args.controller:
        yield Holder("controller", _name("controller", args.controller[0]), tuple(dict.fromkeys((*args.controller, *HERE))))
    try:
        yield from (Holder("agent", node, (node,)) for node in expand(args.node))
    except BadHostlist as why:
        raise ConfigError(f"--node: {why}") from None
    for role in ("viewer", "operator", "admin"):
        yield from (Holder(role, _name(role, name)) for name in getattr(args, role))


def _name(role: str, name: str) -> str:
    """It becomes a folder and the end of a URI."""
    from gpuwarden.core.config import ConfigError

    if not _NAME.fullmatch(name) or name.startswith("."):
        raise ConfigError(f"--{role}: {name!r} is no name: letters, digits and . _ - @ : may be in it")
    return name
