"""The table of XIDs: meaning, severity, what to do. `xid.toml` holds it."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Final

from gpuwarden.detector.rules.rule import CRITICAL, INFO, WARNING
from gpuwarden.proto.finding_pb2 import Severity

PREEMPTIVE_CLEANUP: Final = 45  # follows whatever ended the application; speaks for itself only when alone

_SEVERITIES: Final = {"info": INFO, "warning": WARNING, "critical": CRITICAL}


@dataclass(frozen=True, slots=True)
class Xid:
    """One row. `needs_reset`: it stays true until the driver is loaded anew or the node boots."""

    code: int
    meaning: str
    severity: "Severity.ValueType"
    needs_reset: bool
    action: str


def _row(code: int, row: Mapping[str, Any]) -> Xid:
    assert row["until"] in ("quiet", "reset"), f"xid.toml: {code}.until: is {row['until']!r}, should be quiet or reset"
    return Xid(code, row["meaning"], _SEVERITIES[row["severity"]], row["until"] == "reset", row["action"])


def _read() -> Mapping[int, Xid]:
    document = tomllib.loads(files(__package__).joinpath("xid.toml").read_text(encoding="utf-8"))
    return MappingProxyType({int(code): _row(int(code), row) for code, row in document.items()})


XIDS: Final = _read()


def xid(code: int) -> Xid:
    """The row of a code; for one that the table lacks, a warning that says so."""
    unknown = Xid(code, "not in our table", WARNING, False, "Look it up in NVIDIA's XID catalogue and in the kernel log.")
    return XIDS.get(code, unknown)
