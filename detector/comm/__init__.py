"""Which rank holds the job back, from what the ranks' own communication libraries tell.

`flight_dump.py` and `flight_folder.py` read PyTorch's Flight Recorder, `waits.py` says who waits for whom, `hang.py` who holds all others up; `ras_folder.py`
and `ras_hang.py` do the same with what NCCL's RAS port answers. `inspector_folder.py`, `timings.py`, `slow.py` and `delays.py` say who makes a job slow. `verdict.py` is what all of
them say. `watch.py` does all that while jobs run. Formats that the agent reads as well are in `core/nccl/`.
"""
