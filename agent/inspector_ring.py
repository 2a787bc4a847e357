"""The newest raw lines of NCCL Inspector, kept for whoever comes to suspect a job: the logs themselves go with the job. `gpuwarden diagnose RING/JOB` reads them."""

import contextlib
import os
from pathlib import Path
from typing import BinaryIO, Final

from gpuwarden.agent.tail import Grown

HALF_BYTES: Final = 8 << 20  # of a process: as much is kept at least, and twice as much at most
MOST_LOGS: Final = 128


class Ring:
    """Two files a process: where the newer one is full it takes the older one's place."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError where the folder cannot be made."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._open = dict[Path, BinaryIO]()
        self._logs = sorted((log for log in folder.glob("*/*.log") if not log.name.endswith("-old.log")), key=lambda log: log.stat().st_mtime)

    def keep(self, grown: Grown) -> None:
        """Raises OSError, as where the disk is full."""
        if not grown.lines:
            return
        log = self._folder / grown.path.parent.name / grown.path.name
        opened = self._open.get(log) or self._opened(log)
        opened.write(b"\n".join((*grown.lines, b"")))
        if opened.tell() >= HALF_BYTES:
            self._open.pop(log).close()
            os.replace(log, _older(log))

    def close(self) -> None:
        for opened in self._open.values():
            opened.close()
        self._open.clear()

    def _opened(self, log: Path) -> BinaryIO:
        if log not in self._logs:
            if len(self._logs) >= MOST_LOGS:
                self._forget(self._logs.pop(0))
            self._logs.append(log)
        log.parent.mkdir(exist_ok=True)
        self._open[log] = opened = log.open("ab", buffering=0)
        return opened

    def _forget(self, log: Path) -> None:
        """The one that was begun first."""
        if log in self._open:
            self._open.pop(log).close()
        for file in (log, _older(log)):
            file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            log.parent.rmdir()  # others are in it


def _older(log: Path) -> Path:
    return log.with_name(f"{log.stem}-old.log")
