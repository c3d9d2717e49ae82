#!/usr/bin/env bash
# The container image of this checkout, built and pushed. Settings: settings.sh.
#
#   IMAGE=us-docker.pkg.dev/mine/alpt/alpt:1 ./launch/gke/image.sh push
#   IMAGE=... ./launch/gke/image.sh build        without pushing it
#   IMAGE=... ./launch/gke/image.sh push --dry-run
set -euo pipefail

if [ $# -eq 0 ]; then
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
# shellcheck source=launch/gke/settings.sh
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
# shellcheck source=launch/plain_python.sh
. "$(dirname "${BASH_SOURCE[0]}")/../plain_python.sh"

exec "$python" -m alpt_jax.launching.gke image "$@"
