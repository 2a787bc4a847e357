"""What nodes would tell of themselves, minute by minute, well and ill: to learn from, and to judge what has learnt.

`work.py` says what jobs ask of their nodes, `body.py` what a node makes of it, `faults.py` what may be wrong with one, `changes.py` what may change
and is no fault. Physics of first order: enough that cards heat, hold each other up and differ from each other as real ones do.
"""
