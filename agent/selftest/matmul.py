"""Products of matrices, each checked: `python -m gpuwarden.agent.selftest.matmul '{"gpus": 0, "seconds": 5}'`."""

from gpuwarden.agent.selftest.told import asked, say, told

if __name__ == "__main__":
    wanted = asked()
    say(told(wanted["gpus"], wanted["seconds"], 1e12, lambda arrays, place, number: arrays.product(place, number)))
