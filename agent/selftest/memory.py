"""Patterns written and read back: `python -m gpuwarden.agent.selftest.memory '{"gpus": 0, "seconds": 5, "memory_gib": 1}'`."""

from gpuwarden.agent.selftest.told import asked, say, told

if __name__ == "__main__":
    wanted = asked()
    say(told(wanted["gpus"], wanted["seconds"], 1e9, lambda arrays, place, number: arrays.pattern(place, number, wanted["memory_gib"])))
