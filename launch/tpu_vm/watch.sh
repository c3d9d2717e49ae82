#!/usr/bin/env bash
# Watches over a slice until its training has ended: asks for it again when it was
# preempted (SUSPENDED) or could not be had (FAILED), and deletes it in the end.
#
#   ./launch/tpu_vm/watch.sh RUN_ID                 exit code: that of the training
#   ./launch/tpu_vm/watch.sh RUN_ID --every 300 --keep
#   ./launch/tpu_vm/watch.sh RUN_ID --dry-run       shows the commands
#
# Run it on a machine that stays on, in tmux or under nohup, from the folder where
# create.sh ran. Stopped and started again it goes on. --keep: leaves the slice, and its
# costs, when the training has ended.
set -euo pipefail

if [ $# -eq 0 ]; then
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
# shellcheck source=launch/tpu_vm/settings.sh
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
# shellcheck source=launch/plain_python.sh
. "$(dirname "${BASH_SOURCE[0]}")/../plain_python.sh"

exec "$python" -m alpt_jax.launching.tpu_vm watch "$@"
