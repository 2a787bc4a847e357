"""Work for a simulated card: so many seconds at its highest clock, longer at a lower one.

    python workload.py SECONDS [fail]
"""

import sys
import time

import pynvml

STEP_S = 0.02

pynvml.nvmlInit()
card = pynvml.nvmlDeviceGetHandleByIndex(0)
highest_mhz = pynvml.nvmlDeviceGetMaxClockInfo(card, pynvml.NVML_CLOCK_SM)
left_s, before_s = float(sys.argv[1]), time.monotonic()
while left_s > 0.0:
    time.sleep(STEP_S)
    now_s = time.monotonic()
    left_s -= (now_s - before_s) * pynvml.nvmlDeviceGetClockInfo(card, pynvml.NVML_CLOCK_SM) / highest_mhz
    before_s = now_s
if sys.argv[2:] == ["fail"]:
    sys.exit("out of memory")
