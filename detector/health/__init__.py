"""What healthy means for a node, learned from its own unlabelled history. Arrays have a leading axis of nodes; NaN is missing.

Measured by bench/anomaly.py; the detector does not use it yet.
"""
