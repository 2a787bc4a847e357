"""What kafka-python has to say, in our log: it says the same few lines several times a second while a broker is away."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

SAY_AGAIN_S: Final = 60.0
MOST_REASONS: Final = 4

_log = logging.getLogger("gpuwarden.bus.kafka")


class _Sparingly(logging.Handler):
    """Passes on what comes from one line of code at most once in SAY_AGAIN_S."""

    def __init__(self) -> None:
        super().__init__()
        self._silent_until_s: dict[tuple[str, int], float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        now_s, place = time.monotonic(), (record.pathname, record.lineno)
        if now_s >= self._silent_until_s.get(place, now_s):
            self._silent_until_s[place] = now_s + SAY_AGAIN_S
            _log.log(record.levelno, "%s", _in_one_sentence(record))


def _in_one_sentence(record: logging.LogRecord) -> str:
    """With what was raised, without where: it is the library's, which logs its own races (a read of a socket just closed) as accidents."""
    raised = record.exc_info[1] if record.exc_info else None
    return record.getMessage() if raised is None else f"{record.getMessage()}: {type(raised).__name__}: {raised}"


_sparingly: Final = _Sparingly()


def listen_to_kafka() -> None:
    """From now on, for the whole process. Once is enough, twice does no harm."""
    kafka = logging.getLogger("kafka")
    kafka.addHandler(_sparingly)
    kafka.propagate = False
    kafka.setLevel(logging.WARNING)  # whatever the level of others: its debug lines hold passwords


@contextmanager
def reasons() -> Iterator[list[str]]:
    """What kafka-python warns of meanwhile, each failure once: of a bootstrap it raises only that there was none."""
    heard = _Reasons()
    kafka = logging.getLogger("kafka")
    kafka.addHandler(heard)
    try:
        yield heard.reasons
    finally:
        kafka.removeHandler(heard)


class _Reasons(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.reasons: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        failures = [*(record.args if isinstance(record.args, tuple) else ()), *(record.exc_info or ())]
        for failure in failures:
            reason = str(failure)
            if isinstance(failure, Exception) and reason not in self.reasons and len(self.reasons) < MOST_REASONS:
                self.reasons.append(reason)
