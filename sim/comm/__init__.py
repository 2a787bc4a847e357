"""A training job's communication in virtual time, as its libraries would write it down, with faults whose place is known: who comes late where (`job.py`), and
where everybody stands when it hangs (`hung.py`)."""
