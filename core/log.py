"""One line of JSON per sentence, on standard error: systemd's journal keeps it, people and machines read it."""

import json
import logging
import sys
from datetime import UTC, datetime

from gpuwarden.core.machine import Level, Say

_LEVELS = {Level.INFO: logging.INFO, Level.WARNING: logging.WARNING, Level.ERROR: logging.ERROR}
_log = logging.getLogger("gpuwarden")


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def log_to_stderr() -> None:
    """Once, at the start of a daemon. Libraries are heard from warnings on."""
    to_stderr = logging.StreamHandler(sys.stderr)
    to_stderr.setFormatter(_JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[to_stderr])
    _log.setLevel(logging.INFO)


def say(sentence: Say) -> None:
    """A machine's sentence into the log."""
    _log.log(_LEVELS[sentence.level], sentence.sentence)
