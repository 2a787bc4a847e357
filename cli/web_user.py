"""`gpuwarden config web-user`: who may log in to the page, as what, with which password."""

import argparse
import getpass
import sys
from pathlib import Path

from gpuwarden.core.config import ConfigError


def add(steps: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    user = steps.add_parser("web-user", help="let somebody log in to the page, or give them another password or role")
    user.add_argument("name", metavar="NAME")
    user.add_argument("--role", choices=("viewer", "operator", "admin"), required=True, help="a viewer looks, an operator also changes, an admin may force a mode")
    user.add_argument("--out", type=Path, required=True, metavar="FILE", help="the controller's web_users_file")
    user.set_defaults(run=_web_user)


def _web_user(args: argparse.Namespace) -> int:
    from gpuwarden.controller.web.users import Role, write_user

    new = write_user(args.out, args.name, Role(args.role), _password())
    print(f"{args.out}: {args.name} {'may now log in' if new else 'has another password'} as {args.role}")
    print("A running controller takes it up by itself. To shut somebody out, delete their line.")
    return 0


def _password() -> str:
    """Asked for twice at a terminal, else the first line of the input: never an argument, which other users could see."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    typed = getpass.getpass("password: ")
    if getpass.getpass("again: ") != typed:
        raise ConfigError("password: is not the same the second time")
    return typed
