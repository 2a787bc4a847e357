"""A daemon as a thread of `gpuwarden up`."""

import threading
from collections.abc import Callable
from typing import Final, Self

from gpuwarden.core.config import ConfigError

PATIENCE_S: Final = 5.0


class Part:
    """Runs `body` until it is left. One that ends before it is told to sets `end`, and `failure` says so: none dies unseen."""

    def __init__(self, name: str, body: Callable[[threading.Event], None], end: threading.Event) -> None:
        self.name, self._body, self._end = name, body, end
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.failure = ""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def tell(self) -> None:
        """To end; it is not waited for."""
        self._stop.set()

    def __exit__(self, *why: object) -> None:
        self.tell()
        self._thread.join(PATIENCE_S)
        if self._thread.is_alive():
            self.failure = f"{self.name}: did not end within {PATIENCE_S:g} s"

    def _run(self) -> None:
        try:
            self._body(self._stop)
        except (ConfigError, OSError) as why:  # a socket, a folder or a disk that cannot be had
            self.failure = f"{self.name}: {why}"
        finally:
            if not self._stop.is_set():
                self.failure = self.failure or f"{self.name}: ended by itself"
                self._end.set()
