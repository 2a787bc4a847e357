"""What healthy means for a node, learned from its own unlabelled history. Arrays have a leading axis of nodes; NaN is missing.

`fit.py` learns from recorded minutes, `live.py` judges nodes as they live; measured by bench/anomaly.py and bench/score.py.
"""
