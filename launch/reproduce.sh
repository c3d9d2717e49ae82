#!/usr/bin/env bash
# The paper's experiments by name, at the size of a CPU (twin) or of the paper.
#
#   ./launch/reproduce.sh figure5 --seeds 5       both label budgets, 30 minutes, 2 cores
#   ./launch/reproduce.sh figure2/maze --dry-run  how many runs, how long
#   ./launch/reproduce.sh all --smoke             every one in seconds; learns nothing
#   ./launch/reproduce.sh figure2/atari --size paper --rl_unplugged DIR
#   ./launch/reproduce.sh labels --shard 0/4      a quarter of it, on each of 4 machines
#
# NAME: figure2 figure3 figure4 figure5 figure6 table4 labels, or NAME/maze, NAME/atari.
# Everything goes to runs/reproduce/NAME-PART (--out DIR: elsewhere); run it again and
# it goes on. All options: python -m alpt_jax.bin.reproduce --help
set -euo pipefail

if [ $# -eq 0 ] || [ "${1#-}" != "$1" ]; then
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
name=$1
shift
options=()
for option in "$@"; do
  case "$option" in
    --smoke) options+=(--size smoke) ;;
    *) options+=("$option") ;;
  esac
done

here=$PWD
# shellcheck source=launch/environment.sh
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
[ "$here" = "$PWD" ] || echo "paths are relative to $PWD" >&2

# Before bash 4.4, an empty array counts as unset.
exec python -m alpt_jax.bin.reproduce --experiment="$name" ${options[@]+"${options[@]}"}
