"""Nodes, jobs and a scheduler in virtual time, for the isolating machine: what it does in a story, and what it never does whatever happens."""
