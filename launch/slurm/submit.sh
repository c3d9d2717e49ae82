#!/usr/bin/env bash
# One training on several nodes of a Slurm cluster, which goes on by itself after time
# limits, preemptions and crashes. Run it on the login node.
#
#   NODES=2 GPUS=4 ./launch/slurm/submit.sh --partition=gpu --time=12:00:00 -- \
#       python -m alpt_jax.bin.pretrain --config=... --workdir=/shared/run
#   NODES=4 ./launch/slurm/submit.sh -- COMMAND                no GPUs: a process a node
#   NODES=2 GPUS=4 ./launch/slurm/submit.sh --dry-run -- COMMAND
#
# What stands before -- goes to sbatch. The folder of the run and this checkout must be
# on a disk that all nodes share. Logs: WORKDIR/logs/process-0.log and so on.
set -euo pipefail

export NODES=${NODES:-1}
export GPUS=${GPUS:-0}            # of a node
export TASKS=${TASKS:-node}       # a process per node, or per gpu
export EXTRAS=${EXTRAS:-}         # to install; with GPUS '[cuda]'
export RESTARTS=${RESTARTS:-20}   # starts after which a crash is final

if [ $# -eq 0 ]; then
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
# shellcheck source=launch/plain_python.sh
. "$(dirname "${BASH_SOURCE[0]}")/../plain_python.sh"

exec "$python" -m alpt_jax.launching.slurm train "$@"
