"""A word to a watcher of watchers for as long as decisions are made: a dead man's switch, which calls a person when we fall silent.

The machine orders every beat, so that a decider which hangs is silent too, whatever else of this process lives on.
"""

import json
import logging
import queue
from threading import Thread
from typing import Final

import httpx
from prometheus_client import Counter

from gpuwarden.controller.actuators.reach import read_url
from gpuwarden.controller.config import HeartbeatConfig
from gpuwarden.core.config import ConfigError
from gpuwarden.core.version import VERSION

ATTEMPT_S: Final = 5.0

BEATS: Final = Counter("gpuwarden_controller_heartbeats_total", "Heartbeats, by what became of them", ["outcome"])

_log = logging.getLogger("gpuwarden.heartbeat")


class Heartbeat:
    """Posts from a thread of its own until `close`. A beat that is still waiting when the next comes is left out."""

    def __init__(self, config: HeartbeatConfig) -> None:
        """ConfigError if its address cannot be read."""
        read_url(config.url, config.url_file)
        self._config, self._failing = config, False
        self._waiting: queue.Queue[int | None] = queue.Queue(1)
        self._thread = Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def beat(self, unix_ns: int) -> None:
        """Returns at once."""
        try:
            self._waiting.put_nowait(unix_ns)
        except queue.Full:
            BEATS.labels("left_out").inc()

    def close(self) -> None:
        self._waiting.put(None)
        self._thread.join(ATTEMPT_S)

    def _run(self) -> None:
        with httpx.Client(timeout=ATTEMPT_S, headers={"User-Agent": f"gpuwarden/{VERSION}"}) as client:
            while (unix_ns := self._waiting.get()) is not None:
                self._told(self._post(client, unix_ns))

    def _post(self, client: httpx.Client, unix_ns: int) -> str:
        """'' if it arrived, else why not."""
        body = json.dumps({"alive": True, "unix_ns": unix_ns, "version": VERSION})
        try:
            url = read_url(self._config.url, self._config.url_file)
            status = client.post(url, content=body, headers={"Content-Type": "application/json"}).status_code
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
