"""What healthy means for a node, learned from unlabelled history. NaN is missing.

From its own, in blocks of rows with a leading axis of nodes: `fit.py` learns from recorded minutes, `live.py` judges nodes as they live. From its job's other
nodes, its cards beside each other and the laws that hold in any node, minute by minute: `fused.py`, which the detector does not use yet. Measured by
bench/anomaly.py, bench/score.py and bench/health_*.py.
"""
