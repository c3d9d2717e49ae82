#!/usr/bin/env bash
# ALPT on Atari, from nothing to a report: records five games with scripted players in
# the emulator, pretrains on four, learns the fifth from 300 recorded actions, with and
# without the pretrained base, over five label draws. About 20 minutes on two CPU cores
# after the installation. Run it again and it goes on, or shows the result.
#
#   ./launch/atari_demo.sh            everything, into runs/atari-demo-Breakout
#   ./launch/atari_demo.sh --smoke    the same way in two minutes; learns nothing
#   TARGET=SpaceInvaders ./launch/atari_demo.sh
#   SIZE=paper EXTRAS='[cuda]' ./launch/atari_demo.sh      the 6-layer model, on a GPU
#
# OUT=DIR chooses another folder, WORKERS=N the runs at a time.
set -euo pipefail

size=${SIZE:-small}
case "${1:-}" in
  '') ;;
  --smoke) size=smoke ;;
  *)
    echo "error: unknown argument '$1'. Known: --smoke" >&2
    exit 2
    ;;
esac
target=${TARGET:-Breakout}
case "$size" in
  small) default=runs/atari-demo-$target workers=2 ;;
  smoke) default=runs/atari-demo-$target-smoke workers=2 ;;
  paper) default=runs/atari-demo-$target-paper workers=1 ;;
  *)
    echo "error: unknown SIZE '$size'. Known: small, paper" >&2
    exit 2
    ;;
esac

out=${OUT:-$default}
case "$out" in /*) ;; *) [ -z "${OUT:-}" ] || out="$PWD/$out" ;; esac
HUGE_PAGES=1
# shellcheck source=launch/environment.sh
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

exec python -m alpt_jax.bin.reproduce \
  --config="configs/atari_demo.py:$target,$size" \
  --out="$out" --workers="${WORKERS:-$workers}"
