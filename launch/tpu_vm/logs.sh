#!/usr/bin/env bash
# Fetches the log of every host into runs/launch/RUN_ID/logs; at most a minute old.
#
#   ./launch/tpu_vm/logs.sh RUN_ID [--dry-run]
set -euo pipefail

if [ $# -eq 0 ]; then
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
# shellcheck source=launch/tpu_vm/settings.sh
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
# shellcheck source=launch/plain_python.sh
. "$(dirname "${BASH_SOURCE[0]}")/../plain_python.sh"

exec "$python" -m alpt_jax.launching.tpu_vm logs "$@"
