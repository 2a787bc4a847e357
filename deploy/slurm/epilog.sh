#!/bin/sh
# Epilog of slurm.conf, as root on each node: the job's logs go with it. The newest lines are in the agent's inspector_ring.
set -eu
logs=${GPUWARDEN_INSPECTOR_DIR:-/var/spool/gpuwarden-inspector}
case $SLURM_JOB_ID in '' | *[!0-9]*) exit 0 ;; esac
rm -rf "${logs:?}/$SLURM_JOB_ID"
