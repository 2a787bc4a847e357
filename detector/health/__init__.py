"""What healthy means for a node, learned from unlabelled history. NaN is missing.

From its own, in blocks of rows with a leading axis of nodes: `rolling.py`. From its job's other nodes, its cards beside each other and the laws that hold in
any node, minute by minute: `fused.py`. Measured by bench/anomaly.py and bench/health_*.py; the detector does not use it yet.
"""
