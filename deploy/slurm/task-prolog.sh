#!/bin/sh
# TaskProlog of slurm.conf, as the job's user: what it prints as `export NAME=value` is set for the task. A job goes on without.
"${GPUWARDEN:-/opt/gpuwarden/bin/gpuwarden}" agent env --config "${GPUWARDEN_AGENT_TOML:-/etc/gpuwarden/agent.toml}" || exit 0
