"""A word to a watcher of watchers for as long as decisions are made: a dead man's switch, which calls a person when we fall silent.

The machine orders every beat, so that a decider which hangs is silent too, whatever else of this process lives on.
"""

import asyncio
import json
import logging
import queue
from contextlib import suppress
from threading import Event, Thread
from typing import Final

import httpx
from prometheus_client import Counter

from gpuwarden.controller.actuators.reach import read_url
from gpuwarden.controller.config import HeartbeatConfig
from gpuwarden.core.config import ConfigError
from gpuwarden.core.version import VERSION

ATTEMPT_S: Final = 5.0
STOP_S: Final = 1.0
OUTCOMES: Final = ("delivered", "failed", "left_out")

BEATS: Final = Counter("gpuwarden_controller_heartbeats_total", "Heartbeats, by what became of them", ["outcome"])

_log = logging.getLogger("gpuwarden.heartbeat")


class Heartbeat:
    """Posts from a thread of its own until `close`. A beat that is still waiting when the next comes is left out."""

    def __init__(self, config: HeartbeatConfig) -> None:
        """ConfigError if its address cannot be read."""
        read_url(config.url, config.url_file)
        self._config, self._failing = config, False
        for outcome in OUTCOMES:
            BEATS.labels(outcome)  # born at 0, so that the first failure is an increase
        self._waiting: queue.Queue[int | None] = queue.Queue(1)
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def beat(self, unix_ns: int) -> None:
        """Returns at once."""
        try:
            self._waiting.put_nowait(unix_ns)
        except queue.Full:
            BEATS.labels("left_out").inc()

    def close(self) -> None:
        """Within STOP_S. What is under way and takes longer ends with the process."""
        self._stopping.set()
        with suppress(queue.Full):
            self._waiting.put_nowait(None)  # a beat that waits wakes it as well
        self._thread.join(STOP_S)

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            client = httpx.AsyncClient(timeout=ATTEMPT_S, headers={"User-Agent": f"gpuwarden/{VERSION}"})
            while (unix_ns := self._waiting.get()) is not None and not self._stopping.is_set():
                self._told(runner.run(self._post(client, unix_ns)))
            runner.run(client.aclose())

    async def _post(self, client: httpx.AsyncClient, unix_ns: int) -> str:
        """'' if it arrived, else why not. The deadline is for all of it: a watcher that drips its answer does not hold us."""
        body, head = json.dumps({"alive": True, "unix_ns": unix_ns, "version": VERSION}), {"Content-Type": "application/json"}
        try:
            url = read_url(self._config.url, self._config.url_file)
            async with asyncio.timeout(ATTEMPT_S), client.stream("POST", url, content=body, headers=head) as answer:
                status = answer.status_code
        except TimeoutError:
            return f"no answer within {ATTEMPT_S:g} s"
        except httpx.RequestError as why:
            return f"{type(why).__name__} {why}".strip()
        except ConfigError as why:
            return str(why)
        return "" if 200 <= status < 300 else f"was answered {status}"

    def _told(self, failure: str) -> None:
        BEATS.labels("failed" if failure else "delivered").inc()
        if bool(failure) != self._failing:
            _log.log(logging.WARNING if failure else logging.INFO, "heartbeat: %s", failure or "arrives again")
        self._failing = bool(failure)
