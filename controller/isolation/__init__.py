"""Which node is taken out of which job, and when: decided here, done elsewhere. Begin with `machine.py`; what holds it back is in `rails/`."""
