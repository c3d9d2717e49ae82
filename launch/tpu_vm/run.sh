#!/usr/bin/env bash
# Starts a training on all hosts of a slice that create.sh only installed, or stops it.
#
#   ./launch/tpu_vm/run.sh RUN_ID -- python -m alpt_jax.bin.pretrain --config=...
#   ./launch/tpu_vm/run.sh RUN_ID --stop          it saves and ends; nothing is deleted
#   ./launch/tpu_vm/run.sh RUN_ID --dry-run -- COMMAND       shows the command
#
# It goes on when you hang up, but does not start again when a host boots: for that, give
# the training to create.sh. To look on: logs.sh, or on a host journalctl -fu alpt.
set -euo pipefail

if [ $# -eq 0 ]; then
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
# shellcheck source=launch/tpu_vm/settings.sh
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
# shellcheck source=launch/plain_python.sh
. "$(dirname "${BASH_SOURCE[0]}")/../plain_python.sh"

exec "$python" -m alpt_jax.launching.tpu_vm run "$@"
