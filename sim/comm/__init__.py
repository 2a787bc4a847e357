"""A training job's communication in virtual time: who comes late where, as NCCL Inspector would write it down, with faults whose place is known."""
