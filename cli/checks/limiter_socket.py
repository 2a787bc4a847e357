"""The limiter's socket, without connecting: the limiter keeps one agent, the newest, so a caller would cut the real one off."""

import grp
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gpuwarden.cli.checks.found import Found, absent, ok, warning, wrong
from gpuwarden.cli.checks.place import Place

_LOOK: Final = "systemctl status gpuwarden-limiter"
_LISTENS: Final = 0x10000  # __SO_ACCEPTCON in the flags of /proc/net/unix, see unix(7) and net/unix/af_unix.c


def check(place: Place) -> Iterator[Found]:
    limiter, agent = place.limiter, place.agent
    if limiter is not None and agent is not None and agent.limiter_socket not in (None, limiter.socket):
        yield wrong(f"the limiter listens at {limiter.socket}, the agent looks at {agent.limiter_socket}", f"$EDITOR {place.file('agent')}")
    path = limiter.socket if limiter is not None else agent.limiter_socket if agent is not None else None
    if path is None:
        yield absent("no limiter and no agent with limiter_socket is configured here")
        return
    yield _socket(place, path, limiter.socket_group if limiter is not None else "")


def _socket(place: Place, path: Path, group: str) -> Found:
    try:
        state = path.stat()
    except OSError as why:
        return wrong(f"{path}: {why.strerror}: no limiter has opened it", _LOOK)
    if not stat.S_ISSOCK(state.st_mode):
        return wrong(f"{path}: is no socket", f"ls -l {path}")
    if not somebody_listens(place.root, path):
        return wrong(f"{path}: nobody listens there; what is left is of a limiter that was killed", _LOOK)
    owner = _group(state.st_gid)
    if group and owner != group:
        return wrong(f"{path}: its group is {owner}, socket_group says {group}", "systemctl restart gpuwarden-limiter")
    if not os.access(path, os.W_OK):
        return warning(f"{path}: it is listened at; this user may not connect, group {owner} may", f"usermod -aG {owner} gpuwarden")
    return ok(f"{path}: it is listened at, group {owner}, mode {stat.S_IMODE(state.st_mode):o}")


def somebody_listens(root: Path, path: Path) -> bool:
    """`root` is where the machine's own files are looked for."""
    lines = (root / "proc/net/unix").read_text(encoding="utf-8", errors="replace").splitlines()[1:]
    sockets = (line.split(maxsplit=7) for line in lines)
    return any(len(words) == 8 and words[7] == str(path) and int(words[3], 16) & _LISTENS for words in sockets)


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
