"""The schedulers of jobs: who places work on nodes, and is asked to take it away. One is a file here and a line in this table."""
