#!/usr/bin/env bash
# N processes of one training on this machine, supervised: what crashes or is preempted
# starts again from its last checkpoint.
#
#   ./launch/local.sh 1 -- python -m alpt_jax.bin.pretrain --config=... --workdir=DIR
#   ./launch/local.sh 2 --restarts 20 -- python -m alpt_jax.bin.finetune ...
#   ./launch/local.sh 2 --dry-run -- COMMAND...    shows each process's command
#   DEVICES_PER_PROCESS=2 ./launch/local.sh 2 -- COMMAND...    2 x 2 devices of the CPU
#
# One process drives all GPUs of a machine: N = 1 there, and COMMAND may be any program.
# More are for CPUs and for trying what a cluster does. Logs: DIR/logs/process-0.log and
# so on (--logs ELSEWHERE); process 0's is shown. Ctrl-C saves and ends; twice ends now.
# Exit codes: 0 done, 42 stopped after a clean save, 1 failed, 2 wrong arguments, 128 and
# more crashed too often (--restarts in a row; 5).
set -euo pipefail

if [ $# -eq 0 ]; then
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
here=$PWD
HUGE_PAGES=1
# shellcheck source=launch/environment.sh
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
[ "$here" = "$PWD" ] || echo "paths are relative to $PWD" >&2

exec python -m alpt_jax.launching.local "$@"
