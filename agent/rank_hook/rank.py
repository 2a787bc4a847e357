"""One rank, watched from a thread of its own process: which collective each of its process groups has asked for and which are done.

The counters of PyTorch's Flight Recorder are looked at every LOOK_S, which takes some 15 us and the interpreter's lock for as long; what an operation took is known to
about that. Its entries are read when something does not get on, or to learn what was timed. Once a second all goes to the node's agent over a Unix socket, as one
message; who does not answer is not waited for. What this thread does not get to say says that it does not run: its silence is meant to be evidence.
"""

import atexit
import hashlib
import json
import os
import pickle
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Optional

LOOK_S = 0.02
TELL_S = 1.0
ENTRIES_S = 5.0  # between readings of all entries, where operations were timed
STUCK_S = 2.0  # an operation that is pending for so long is looked at
MOST_TIMED = 200  # operations of a message
MOST_PENDING = 16  # operations of a group
RANKS_EVERY = 30  # messages: who is in a group is said so often
VERSION = 1
# What the counters and entries raise where torch is just beginning, ending, or another one than we know.
_AWAY = (RuntimeError, ValueError, TypeError, AttributeError, LookupError, ImportError, EOFError, pickle.PickleError)

Dump = Callable[[bool, bool, bool], bytes]


class Track:
    """One process group's counters, and when each operation that is not done was first seen."""

    def __init__(self, asked: int, done: int) -> None:
        self.asked, self.done = done, done
        self.began = dict[int, float]()
        self.took = dict[int, tuple[float, float]]()  # operation to what it took, and when it was done
        self.name, self.shift = "", 0  # the group's; operations that are no collectives, which the counters count too
        self.pending: list[list[object]] = []
        self.read_at: Optional[tuple[int, int]] = None  # noqa: UP045 - a job's Python may be older than ours

    def look(self, asked: int, done: int, at_s: float, now_s: float) -> None:
        """`at_s`: in the middle between this look and the one before. What is done stays so: gloo's counter goes back where two were done out of order."""
        done = max(done, self.done)
        for operation in range(max(self.asked, asked - 1000) + 1, asked + 1):
            self.began[operation] = at_s
        for operation in [one for one in self.began if one <= done]:
            self.took[operation] = at_s - self.began.pop(operation), now_s
        self.asked, self.done = asked, done

    def stuck(self, now_s: float) -> bool:
        return any(now_s - began_s > STUCK_S for began_s in self.began.values()) and self.read_at != (self.asked, self.done)


class Rank:
    """`said` is what every message begins with."""

    def __init__(self, path: str, said: Mapping[str, object]) -> None:
        self._path, self._said = path, said
        self._socket: Optional[socket.socket] = None  # noqa: UP045 - a job's Python may be older than ours
        self._tracks = dict[str, Track]()
        self._looked_s = self._read_s = self._told_s = 0.0
        self._timed: list[list[object]] = []
        self._messages = 0
        self._ended = False

    def watch(self) -> None:
        """For ever."""
        with suppress(OSError), open(f"/proc/self/task/{threading.get_native_id()}/comm", "w") as name:  # as `top -H` shows it
            name.write("gpuwarden")
        while True:
            now_s = time.monotonic()
            try:
                dump = _dump()
                if dump is None:
                    time.sleep(0.5)
                    continue
                self._look(dump, now_s)
                if now_s - self._told_s >= TELL_S and not self._ended:
                    self._told_s = now_s
                    self._read(dump, now_s)
                    self.tell({"groups": self._groups(now_s), "timed": self._timed[-MOST_TIMED:]})
                    self._timed = []
            except _AWAY as why:
                self.tell({"groups": [], "timed": [], "lacks": f"{type(why).__name__}: {why}"[:200]})
                time.sleep(TELL_S)
            time.sleep(LOOK_S)

    def _look(self, dump: Dump, now_s: float) -> None:
        at_s = (self._looked_s + now_s) / 2 if self._looked_s else now_s
        for number, status in pickle.loads(dump(False, False, False)).get("pg_status", {}).items():
            asked, done = int(status["last_enqueued_collective"]), int(status["last_completed_collective"])
            if number not in self._tracks:
                self._tracks[number] = Track(asked, done)
            self._tracks[number].look(asked, done, at_s, now_s)
        self._looked_s = now_s

    def _read(self, dump: Dump, now_s: float) -> None:
        """All entries, where that is worth their cost."""
        tracks = self._tracks.values()
        due = now_s - self._read_s >= ENTRIES_S and any(track.took for track in tracks)
        if not due and all(track.name and not track.stuck(now_s) for track in tracks):
            return
        self._read_s = now_s
        for track in tracks:
            track.pending, track.read_at = [], (track.asked, track.done)
        pending = dict[str, int]()  # the oldest operation, none where it is above all
        for entry in pickle.loads(dump(True, False, False)).get("entries", []):
            number = str(entry["pg_id"])
            if number in self._tracks:
                done = self._take(self._tracks[number], number, entry, now_s)
                pending[number] = min(pending.get(number, sys.maxsize), sys.maxsize if done else int(entry["op_id"]))
        for number, track in self._tracks.items():
            track.took = {}
            if number in pending:  # entries know better than the counter, which tells of the last that was done
                track.look(track.asked, min(track.asked, pending[number] - 1), now_s, now_s)
                track.read_at = track.asked, track.done

    def _take(self, track: Track, number: str, entry: Mapping[str, Any], now_s: float) -> bool:
        """Whether it is done."""
        operation, collective = int(entry["op_id"]), not entry["is_p2p"]
        track.name = str(entry["process_group"][0])
        if collective:
            track.shift = operation - int(entry["collective_seq_id"])
        name = str(entry["profiling_name"])
        done = bool(entry.get("retired")) or entry["state"] == "completed"
        if not done and len(track.pending) < MOST_PENDING:
            place = entry["collective_seq_id"] if collective else operation
            track.pending.append([int(entry["record_id"]), int(place), name, not collective, now_s - track.began.get(operation, now_s)])
        if collective and operation in track.took:
            took_s, done_s = track.took[operation]
            self._timed.append([number, name.partition(":")[2], operation - track.shift, _size(entry), round(took_s, 4), round(now_s - done_s, 3)])
        return done

    def _groups(self, now_s: float) -> list[dict[str, object]]:
        described = _described()
        groups = list[dict[str, object]]()
        for number, track in self._tracks.items():
            if track.name in described:
                desc, ranks, digest = described[track.name]
                pending = track.pending if track.read_at == (track.asked, track.done) else []
                oldest_s = now_s - min(track.began.values(), default=now_s)
                group: dict[str, object] = {
                    "number": number, "id": digest, "desc": desc, "asked": track.asked - track.shift, "done": track.done - track.shift,
                    "oldest_s": round(oldest_s, 3), "pending": pending,
                }  # fmt: skip
                if self._messages % RANKS_EVERY < 2:
                    group["ranks"] = ranks
                groups.append(group)
        return groups

    def tell(self, more: Mapping[str, object]) -> None:
        """Gives the message up where nobody listens, or who listens is slow."""
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                self._socket.setblocking(False)
                self._socket.connect(self._path)
                self._messages = 0
            self._messages += 1
            self._socket.send(json.dumps({**self._said, "number": self._messages, **more}).encode())
        except BlockingIOError:
            pass
        except OSError:
            self.let_go()

    def let_go(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def end(self, how: str, why: str) -> None:
        """Said once."""
        if not self._ended and self._socket is not None:
            self._ended = True
            self.tell({"groups": [], "timed": [], "end": how, "why": why[:300]})


def _dump() -> Optional[Dump]:  # noqa: UP045 - a job's Python may be older than ours
    """Once the job has begun to communicate."""
    torch = sys.modules.get("torch.distributed.distributed_c10d")
    if torch is None or not getattr(torch, "is_initialized", bool)():
        return None
    from torch._C import _distributed_c10d as recorder

    name = "_dump_nccl_trace" if "nccl" in torch.get_backend() else "_dump_fr_trace"
    found: Optional[Dump] = getattr(recorder, name, None)  # noqa: UP045 - a job's Python may be older than ours
    return found


def _described() -> dict[str, tuple[str, list[int], str]]:
    """Of each process group by name: description, ranks of the whole job, and what it is known by at all its ranks. Gloo's own entries do not tell."""
    world = sys.modules["torch.distributed.distributed_c10d"]._world
    found, met = dict[str, tuple[str, list[int], str]](), dict[tuple[str, str], int]()
    for group, name in list(world.pg_names.items()):
        places = world.pg_group_ranks.get(group, {})
        ranks = sorted(places, key=lambda rank: places[rank])
        desc = str(getattr(group, "group_desc", "") or "undefined")
        like = desc, ",".join(map(str, ranks))
        met[like] = met.get(like, 0) + 1
        desc = desc if met[like] == 1 else f"{desc} {met[like]}"
        found[str(name)] = desc, ranks, hashlib.sha256("\0".join((desc, like[1])).encode()).hexdigest()[:16]
    return found


def _size(entry: Mapping[str, Any]) -> int:
    """Elements of the first input."""
    elements = 1
    for length in (entry.get("input_sizes") or [[]])[0]:
        elements *= int(length)
    return elements


def begin_launcher(environ: Mapping[str, str]) -> None:
    """In torchrun itself: says at the end that one of its ranks failed, if that was so. A job that is ended from outside ends otherwise."""
    before = sys.excepthook

    def on_exception(kind: type[BaseException], value: BaseException, trace: Optional[TracebackType]) -> None:  # noqa: UP045 - a job's Python may be older than ours
        at = trace
        while at is not None and not hasattr(at.tb_frame.f_locals.get("config"), "run_id"):
            at = at.tb_next
        if at is not None:
            run = environ.get("SLURM_JOB_ID") or str(at.tb_frame.f_locals["config"].run_id)
            said = {"version": VERSION, "rank": 0, "ranks": 1, "job": run, "attempt": 0, "launcher": True}
            launcher = Rank(environ["GPUWARDEN_RANK_SOCKET"], said)
            launcher.tell({"groups": [], "timed": [], "end": "raised", "why": f"{kind.__name__}: {value}"[:300]})
        before(kind, value, trace)

    sys.excepthook = on_exception


def speaker(environ: Mapping[str, str]) -> Rank:
    """Of this process."""
    run = environ.get("TORCHELASTIC_RUN_ID", "none")
    at = f"{environ.get('MASTER_ADDR', '')}:{environ.get('MASTER_PORT', '')}"
    rank = Rank(
        environ["GPUWARDEN_RANK_SOCKET"],
        {
            "version": VERSION, "rank": int(environ["RANK"]), "ranks": int(environ.get("WORLD_SIZE", "1")),
            "job": environ.get("SLURM_JOB_ID") or (run if run != "none" else at), "attempt": int(environ.get("TORCHELASTIC_RESTART_COUNT", "0")),
        },
    )  # fmt: skip
    os.register_at_fork(after_in_child=rank.let_go)  # a child's copy would keep the connection open after its parent's end
    return rank


def begin(environ: Mapping[str, str]) -> None:
    """Starts the thread, and sees to the last words."""
    rank, before = speaker(environ), sys.excepthook

    def on_exception(kind: type[BaseException], value: BaseException, trace: Optional[TracebackType]) -> None:  # noqa: UP045 - a job's Python may be older than ours
        rank.end("raised", f"{kind.__name__}: {value}")
        before(kind, value, trace)

    sys.excepthook = on_exception
    atexit.register(rank.end, "left", "")
    threading.Thread(target=rank.watch, name="gpuwarden", daemon=True).start()
