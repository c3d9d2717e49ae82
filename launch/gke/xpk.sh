#!/usr/bin/env bash
# The same through xpk, on a cluster that xpk made. Settings: settings.sh.
#
#   CLUSTER=... PROJECT=... ZONE=... IMAGE=... ./launch/gke/xpk.sh NAME -- \
#       python -m alpt_jax.bin.pretrain --config=...
#   ... ./launch/gke/xpk.sh NAME --dry-run -- COMMAND
#
# The bucket must be there as /mnt/alpt: once for the cluster, xpk storage attach alpt
# --type=gcsfuse --bucket=BUCKET --mount-point=/mnt/alpt --readonly=false --auto-mount=true
# --size=1 --mount-options=implicit-dirs,rename-dir-limit=200000
# --cluster=CLUSTER --project=PROJECT --zone=ZONE
set -euo pipefail

if [ $# -eq 0 ]; then
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
# shellcheck source=launch/gke/settings.sh
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
# shellcheck source=launch/plain_python.sh
. "$(dirname "${BASH_SOURCE[0]}")/../plain_python.sh"

exec "$python" -m alpt_jax.launching.gke xpk "$@"
