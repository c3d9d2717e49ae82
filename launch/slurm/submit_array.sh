#!/usr/bin/env bash
# An experiment's runs over a Slurm cluster: an array of TASKS jobs, each with its share
# (launch/reproduce.sh --shard). Run it on the login node.
#
#   TASKS=4 CPUS=8 ./launch/slurm/submit_array.sh --time=4:00:00 -- figure5 --seeds 5
#   TASKS=8 GPUS=1 ./launch/slurm/submit_array.sh --partition=gpu -- \
#       figure2/atari --size paper --rl_unplugged DIR
#   TASKS=4 ./launch/slurm/submit_array.sh --dry-run -- figure5
#
# What stands before -- goes to sbatch, what behind it to launch/reproduce.sh, which says
# how many shares an experiment has at most. This checkout must be on a disk that all
# nodes share. When all are done, run launch/reproduce.sh once without --shard: it finds
# every run done and writes the report of all.
set -euo pipefail

export TASKS=${TASKS:-}           # machines
export CPUS=${CPUS:-2}            # of each; as many runs at a time without a GPU
export GPUS=${GPUS:-0}            # of each; 0 or 1
export EXTRAS=${EXTRAS:-}         # to install; with GPUS '[cuda]'
export RESTARTS=${RESTARTS:-20}   # starts after which a crash is final

if [ $# -eq 0 ]; then
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
# shellcheck source=launch/plain_python.sh
. "$(dirname "${BASH_SOURCE[0]}")/../plain_python.sh"

exec "$python" -m alpt_jax.launching.slurm array "$@"
