"""Patterns are written to memory and read back: wrong ones, or fewer in a second than declared."""

from gpuwarden.agent.probes.own import own

MEMORY = own("gpuwarden.agent.selftest.memory", "the slowest's pace", "GB/s")
