#!/usr/bin/env bash
# A training on a TPU slice of GKE, as a JobSet: what is preempted or crashes starts again
# from its last checkpoint. Settings: settings.sh.
#
#   IMAGE=... BUCKET=... ./launch/gke/submit.sh NAME -- \
#       python -m alpt_jax.bin.pretrain --config=...
#   IMAGE=... BUCKET=... ./launch/gke/submit.sh NAME --dry-run -- COMMAND
#
# The run goes to gs://BUCKET/runs/NAME, which pods see as /mnt/alpt/runs/NAME; name data
# in the bucket as /mnt/alpt/... The launcher adds --workdir and the flags of the cluster.
#   kubectl logs --selector=jobset.sigs.k8s.io/jobset-name=NAME --prefix --tail=-1
#   kubectl delete jobset NAME
set -euo pipefail

if [ $# -eq 0 ]; then
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
# shellcheck source=launch/gke/settings.sh
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
# shellcheck source=launch/plain_python.sh
. "$(dirname "${BASH_SOURCE[0]}")/../plain_python.sh"

exec "$python" -m alpt_jax.launching.gke submit "$@"
