"""Who may log in to the page: a file with one `NAME:ROLE:HASH` a line, read again whenever it has changed."""

import logging
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from gpuwarden.controller.web.password import Scrypt, hashed, parse_scrypt
from gpuwarden.controller.web.version import Version, version_of
from gpuwarden.core.config import ConfigError
from gpuwarden.core.private import check_private

MOST_USERS: Final = 1000
MIN_PASSWORD_CHARS: Final = 12
MAX_TEXT_CHARS: Final = 1024
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII)

_log = logging.getLogger("gpuwarden.controller")


class Role(StrEnum):
    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    @property
    def may_change(self) -> bool:
        return self is not Role.VIEWER


@dataclass(frozen=True, slots=True)
class User:
    name: str
    role: Role
    secret: Scrypt


class Users:
    """While the file is bad nobody is known, so that a slip of the pen lets nobody stay who was to go."""

    def __init__(self, path: Path) -> None:
        """ConfigError if the file is absent, open to others or wrong."""
        self._path = path
        self._users = read_users(path)
        self._version: Version | None = version_of(path)

    def find(self, name: str) -> User | None:
        self._look()
        return self._users.get(name)

    def _look(self) -> None:
        try:
            version = version_of(self._path)
        except OSError:
            version = None
        if version == self._version:
            return
        self._version = version
        try:
            self._users = read_users(self._path)
            _log.info("web_users_file: read again, %d users", len(self._users))
        except ConfigError as why:
            self._users = {}
            _log.error("web_users_file: nobody can log in to the page until this is mended: %s", why)


def read_users(path: Path) -> Mapping[str, User]:
    """By name; ConfigError with a line for everything that is wrong. Empty lines and `#` comments are left out."""
    check_private(path)
    users, wrong = dict[str, User](), list[str]()
    for number, line in enumerate(_lines(path), 1):
        if line.strip() and not line.startswith("#"):
            try:
                user = _user(line.strip())
            except ValueError as why:
                wrong.append(f"{path}:{number}: {why}")
                continue
            if user.name in users:
                wrong.append(f"{path}:{number}: user {user.name} is there already")
            users[user.name] = user
    if len(users) > MOST_USERS:
        wrong.append(f"{path}: has {len(users)} users, at most {MOST_USERS} may be there")
    if wrong:
        raise ConfigError("\n".join(wrong))
    return users


def write_user(path: Path, name: str, role: Role, password: str) -> bool:
    """Adds a user, or gives one another role and password; True if the user is new. The rest of the file stays."""
    if not _NAME.fullmatch(name):
        raise ConfigError(f"NAME: is {name!r}, should be letters, digits, '.', '_', '@' and '-', at most 64")
    if not password.isprintable() or len(password) > MAX_TEXT_CHARS:
        raise ConfigError(f"password: should be at most {MAX_TEXT_CHARS} printable characters")
    if len(password) < MIN_PASSWORD_CHARS:
        raise ConfigError(f"password: has {len(password)} characters, should have at least {MIN_PASSWORD_CHARS}")
    known = read_users(path) if path.exists() else {}
    kept = [line for line in (_lines(path) if path.exists() else []) if line.partition(":")[0].strip() != name]
    _replace(path, "\n".join([*kept, f"{name}:{role}:{hashed(password)}"]) + "\n")
    return name not in known


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError as why:
        raise ConfigError(f"{path}: {why.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not text") from None


def _user(line: str) -> User:
    name, _, rest = line.partition(":")
    role, _, written = rest.partition(":")
    if not _NAME.fullmatch(name) or not written:
        raise ValueError("should be NAME:ROLE:HASH, as gpuwarden config web-user writes it")
    if role not in tuple(Role):
        raise ValueError(f"the role of {name} is {role!r}, should be one of {', '.join(Role)}")
    return User(name, Role(role), parse_scrypt(written))


def _replace(path: Path, text: str) -> None:
    """At once, or not at all: the controller may be reading it. mkstemp's files are their owner's alone."""
    try:
        handle, made = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        os.replace(made, path)
    except OSError as why:
        raise ConfigError(f"{path}: cannot be written: {why.strerror}") from None
