"""What a job's own Python loads so that its ranks tell the node's agent how far they are. Nothing here needs gpuwarden to be installed where the job runs.

`gpuwarden agent env` puts this folder into PYTHONPATH: Python imports `sitecustomize` at its start, which begins a thread (`rank.py`) in workers of torchrun.
"""
