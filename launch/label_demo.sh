#!/usr/bin/env bash
# Labels for recordings of one's own, from nothing to a label card: plays Freeway and
# Breakout, writes videos and tables as a stranger would have them, tells four of five
# actions of Breakout to nobody, converts, trains on both games, labels Breakout, and
# shows what the card claims beside the truth. About 4 minutes on two CPU cores after
# the installation. Run it again and it goes on, or shows the result.
#
#   ./launch/label_demo.sh            everything, into runs/label-demo
#   ./launch/label_demo.sh --smoke    the same way in two minutes; learns nothing
#
# OUT=DIR chooses another folder, EXTRAS='[video,cuda]' installs for a GPU.
set -euo pipefail

case "${1:-}" in
  '') steps=600 warmup=50 smoke=() default=runs/label-demo ;;
  --smoke) steps=4 warmup=1 smoke=(--smoke) default=runs/label-demo-smoke ;;
  *)
    echo "error: unknown argument '$1'. Known: --smoke" >&2
    exit 2
    ;;
esac

out=${OUT:-$default}
case "$out" in /*) ;; *) [ -z "${OUT:-}" ] || out="$PWD/$out" ;; esac
EXTRAS=${EXTRAS:-[video]}
HUGE_PAGES=1
# shellcheck source=launch/environment.sh
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

show() {  # a command as one could type it, and what it does
  printf '\n$ %s\n' "$*"
  "$@"
}

mkdir -p "$out"
# Before bash 4.4, an empty array counts as unset.
show python -m alpt_jax.bin.label_demo --stage=record --out="$out" \
  ${smoke[@]+"${smoke[@]}"}
if [ ! -d "$out/data" ]; then
  show python -m alpt_jax.bin.convert --data="$out/recordings/videos" \
    --out="$out/data" --frame_skip=4 --max_pool
fi
show python -m alpt_jax.bin.pretrain --workdir="$out/run" \
  --config="configs/own.py:target=$out/data/Breakout,sources=$out/data/Freeway" \
  --config.data.audit_share=0.4 --config.training.num_steps="$steps" \
  --config.optimizer.warmup_steps="$warmup"
show python -m alpt_jax.bin.label --run="$out/run" --data="$out/data/Breakout" \
  --out="$out/labels"
show python -m alpt_jax.bin.label_demo --stage=check --out="$out"
