#!/usr/bin/env bash
# ALPT on the mazes of section 5.6, from nothing to a report: about 10 minutes on two
# CPU cores after the installation. Run it again and it goes on, or shows the result.
#
#   ./launch/quickstart.sh            everything, into runs/quickstart
#   ./launch/quickstart.sh --smoke    the same way in under a minute; learns nothing
#
# OUT=DIR chooses another folder, WORKERS=N the runs at a time.
set -euo pipefail

case "${1:-}" in
  '') argument='' default=runs/quickstart ;;
  --smoke) argument=':smoke' default=runs/quickstart-smoke ;;
  *)
    echo "error: unknown argument '$1'. Known: --smoke" >&2
    exit 2
    ;;
esac

out=${OUT:-$default}
case "$out" in /*) ;; *) [ -z "${OUT:-}" ] || out="$PWD/$out" ;; esac
# shellcheck source=launch/environment.sh
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

exec python -m alpt_jax.bin.reproduce --config="configs/quickstart.py$argument" \
  --out="$out" --workers="${WORKERS:-2}"
