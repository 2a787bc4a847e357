"""Products of matrices, each checked: wrong results, or fewer in a second than declared."""

from gpuwarden.agent.probes.own import own

MATMUL = own("gpuwarden.agent.selftest.matmul", "the slowest's pace", "TFLOP/s")
