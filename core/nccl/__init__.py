"""NCCL's own formats, which the agent reads on the node and the detector from what a job left: Inspector's lines (`inspector.py`) and answers of the RAS port (`ras.py`)."""
