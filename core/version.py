"""The version of this code."""

from dataclasses import dataclass
from typing import Final

VERSION = "0.1.0"  # pyproject.toml says the same; a test compares them


@dataclass(frozen=True, slots=True)
class Versions:
    """What one side of a conversation speaks."""

    lowest: int
    highest: int

    def agree(self, theirs: "Versions") -> int | None:
        """The highest that both speak, None where there is none."""
        highest = min(self.highest, theirs.highest)
        return highest if highest >= max(self.lowest, theirs.lowest) else None

    def __contains__(self, version: int) -> bool:
        return self.lowest <= version <= self.highest

    def __str__(self) -> str:
        return str(self.highest) if self.lowest == self.highest else f"{self.lowest} to {self.highest}"


SESSION: Final = Versions(1, 2)  # of agent and controller. A release that adds one keeps the one before, for while nodes are upgraded
PROBES_SINCE: Final = 2  # version of the session
