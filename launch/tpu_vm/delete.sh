#!/usr/bin/env bash
# Deletes a slice with whatever runs there, and its costs. The bucket keeps the run:
# create.sh of the same RUN_ID goes on.
#
#   ./launch/tpu_vm/delete.sh RUN_ID [--dry-run]
set -euo pipefail

if [ $# -eq 0 ]; then
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
# shellcheck source=launch/tpu_vm/settings.sh
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
# shellcheck source=launch/plain_python.sh
. "$(dirname "${BASH_SOURCE[0]}")/../plain_python.sh"

exec "$python" -m alpt_jax.launching.tpu_vm delete "$@"
