"""The order of severities."""

from typing import Final

SEVERITIES: Final = ("info", "warning", "critical")


def at_least(severity: str, least: str) -> bool:
    """One that is not known counts as info."""
    rank = SEVERITIES.index(severity) if severity in SEVERITIES else 0
    return rank >= SEVERITIES.index(least)
