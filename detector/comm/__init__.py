"""Which rank holds the job back, from what the ranks' own communication libraries tell.

`flight_dump.py` and `flight_folder.py` read PyTorch's Flight Recorder, `places.py` joins the ranks' views of a group, `waits.py` says who waits for
whom, `hang.py` says who holds all others up.
"""
