#!/bin/sh
# Prolog of slurm.conf, as root on each node: the folder into which the job's NCCL Inspector writes, and which the agent may read.
set -eu
logs=${GPUWARDEN_INSPECTOR_DIR:-/var/spool/gpuwarden-inspector}
case $SLURM_JOB_ID in '' | *[!0-9]*) exit 0 ;; esac
mkdir -p -m 0755 "$logs"
mkdir -p -m 0755 "$logs/$SLURM_JOB_ID"
chown "$SLURM_JOB_UID" "$logs/$SLURM_JOB_ID"
