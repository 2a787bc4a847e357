"""Tests of our own of a node's cards or processors, each a program of its own: `python -m gpuwarden.agent.selftest.matmul JSON`."""
