"""Topic names. A topic's version is that of its payload: a change that is not additive makes a new topic."""

TELEMETRY = "gpuwarden.telemetry.v1"  # key: node
COMM = "gpuwarden.comm.v1"  # key: job
SCORES = "gpuwarden.scores.v1"  # key: consumer group of detectors
PROGRESS = "gpuwarden.progress.v1"  # key: job
FINDINGS = "gpuwarden.findings.v1"  # key: subject
ACTIONS = "gpuwarden.actions.v1"  # key: subject
DEAD_LETTER = "gpuwarden.dead-letter.v1"  # key: the refused record's topic

ALL = (TELEMETRY, COMM, SCORES, PROGRESS, FINDINGS, ACTIONS, DEAD_LETTER)
