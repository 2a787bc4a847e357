"""The Unix socket on which ranks of jobs say how far they are. Anybody on the node may connect; who it is, the kernel says."""

import contextlib
import logging
import os
import selectors
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

from prometheus_client import Counter

from gpuwarden.agent.rank_words import MOST_BYTES, BadWord, ProgressWord, Word, read
from gpuwarden.agent.reading import RankEnd

MOST_CONNECTIONS: Final = 512
MOST_WORDS: Final = 4096  # that wait for the next pass
MOST_A_SECOND: Final = 20  # words of one connection; a rank says one
WAIT_S: Final = 0.5
MODE: Final = 0o666

HEARD: Final = Counter("gpuwarden_agent_rank_words_total", "Messages of ranks that were understood, ends of connections included")
REFUSED: Final = Counter("gpuwarden_agent_rank_words_refused_total", "Messages of ranks that were refused: too large or not what they should be")
LOST: Final = Counter("gpuwarden_agent_rank_words_lost_total", "Messages that ranks gave up, since they do not wait for this agent")
DROPPED: Final = Counter("gpuwarden_agent_rank_words_dropped_total", "Messages of ranks that no pass came for in time, the oldest first")

_log = logging.getLogger("gpuwarden.agent")


class Heard(NamedTuple):
    """A rank's word and when it came, by this process's monotonic clock. `gone`: it was its last."""

    pid: int
    word: Word | ProgressWord
    at_s: float
    gone: bool = False


@dataclass(slots=True)
class _Caller:
    connection: socket.socket
    pid: int
    newest: Word | ProgressWord | None = None
    ended: bool = False
    refused: int = 0
    second_s: float = 0.0  # since when these are counted
    words: int = 0

    def floods(self, now_s: float) -> bool:
        """Counts a message."""
        if now_s - self.second_s >= 1.0:
            self.second_s, self.words = now_s, 0
        self.words += 1
        return self.words > MOST_A_SECOND


class RankSocket:
    """Listens in a thread of its own, until `close`. Raises OSError where the socket cannot be made."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock, self._words = path, clock, deque[Heard]()
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._listener = _listening(path)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._callers = 0
        self._thread = threading.Thread(target=self._run, name="ranks", daemon=True)
        self._thread.start()

    def take(self) -> list[Heard]:
        """All since the last time, in order."""
        with self._lock:
            words, self._words = list(self._words), deque()
        return words

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    def _run(self) -> None:
        while not self._stop.is_set():
            for key, _ in self._selector.select(WAIT_S):
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._hear(key.data)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # gone again, or no file is left for it
            return
        if self._callers >= MOST_CONNECTIONS:
            _log.warning("rank_socket: has %d connections, and takes no more", self._callers)
            connection.close()
            return
        self._callers += 1
        connection.setblocking(False)
        pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
        self._selector.register(connection, selectors.EVENT_READ, _Caller(connection, pid))

    def _hear(self, caller: _Caller) -> None:
        try:
            message = caller.connection.recv(MOST_BYTES + 1)
        except BlockingIOError:
            return
        except OSError:
            message = b""
        if not message:
            self._gone(caller)
            return
        if caller.floods(self._clock()):
            self._refuse(caller, BadWord(f"message: is one of more than {MOST_A_SECOND} in a second; the connection is closed"))
            self._gone(caller)
            return
        try:
            word = read(message)
        except BadWord as why:
            self._refuse(caller, why)
            return
        LOST.inc(max(0, word.number - 1 - (caller.newest.number if caller.newest is not None else 0)))
        caller.newest, caller.ended = word, isinstance(word, Word) and word.end is not RankEnd.RUNS
        self._keep(Heard(caller.pid, word, self._clock()))

    def _gone(self, caller: _Caller) -> None:
        now_s = self._clock()
        self._selector.unregister(caller.connection)
        caller.connection.close()
        self._callers -= 1
        if isinstance(caller.newest, ProgressWord):
            self._keep(Heard(caller.pid, caller.newest, now_s, gone=True))
        elif caller.newest is not None and not caller.ended:
            self._keep(Heard(caller.pid, replace(caller.newest, groups=(), timed=(), end=RankEnd.SILENT, why=""), now_s))

    def _refuse(self, caller: _Caller, why: BadWord) -> None:
        REFUSED.inc()
        caller.refused += 1
        if caller.refused.bit_count() == 1:  # the first, second, fourth, eighth
            _log.warning("rank_socket: message %d of process %d is refused: %s", caller.refused, caller.pid, why)

    def _keep(self, heard: Heard) -> None:
        HEARD.inc()
        with self._lock:
            if len(self._words) >= MOST_WORDS:
                self._words.popleft()
                DROPPED.inc()
            self._words.append(heard)


def _listening(path: Path) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()  # of the agent before this one
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        listener.bind(str(path))
        os.chmod(path, MODE)
        listener.listen(64)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener
