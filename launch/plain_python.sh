# Sourced by the scripts that only call other programs: leaves in $python a Python 3.11
# or newer that finds alpt_jax.launching, which needs the standard library alone.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=''
for candidate in "${PYTHON:-python3}" "$root/.venv/bin/python" python3.13 python3.12 \
  python3.11; do
  if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$candidate
    break
  fi
done
if [ -z "$python" ]; then
  echo "error: Python 3.11 or newer is needed; set PYTHON=/path/to/python." >&2
  exit 2
fi
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
