#!/usr/bin/env bash
# A Cloud TPU slice that trains by itself: every host installs the commit that is checked
# out here and starts its process, now and whenever it boots. Settings: settings.sh.
#
#   ./launch/tpu_vm/create.sh RUN_ID -- python -m alpt_jax.bin.pretrain --config=...
#   ./launch/tpu_vm/create.sh RUN_ID              only installs; then run.sh
#   ./launch/tpu_vm/create.sh RUN_ID --dry-run -- COMMAND    shows files and commands
#
# The run goes to gs://BUCKET/runs/RUN_ID, which hosts see as /mnt/alpt/runs/RUN_ID; name
# data in the bucket as /mnt/alpt/... The launcher adds --workdir and the flags of the
# cluster. It costs from now on until it is deleted: keep watch.sh running beside it.
set -euo pipefail

if [ $# -eq 0 ]; then
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
# shellcheck source=launch/tpu_vm/settings.sh
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
# shellcheck source=launch/plain_python.sh
. "$(dirname "${BASH_SOURCE[0]}")/../plain_python.sh"

exec "$python" -m alpt_jax.launching.tpu_vm create "$@"
