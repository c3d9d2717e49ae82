# Sourced by the other scripts: goes to the project folder and leaves `python` in an
# environment where alpt-jax is installed. An active virtual environment is used; else
# .venv is made. Installing is skipped when this setup.py was installed there before.
# shellcheck shell=bash

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
EXTRAS=${EXTRAS:-}  # for example EXTRAS='[cuda]'

if [ -z "${VIRTUAL_ENV:-}" ]; then
  if [ ! -x .venv/bin/python ]; then
    for candidate in "${PYTHON:-python3}" python3.12 python3.11 python3.13; do
      if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
        2>/dev/null; then
        found=$candidate
        break
      fi
    done
    if [ -z "${found:-}" ]; then
      echo "error: Python 3.11 or newer is needed; set PYTHON=/path/to/python." >&2
      exit 2
    fi
    echo "making .venv with $("$found" --version)"
    if ! "$found" -m venv .venv; then
      rm -rf .venv
      echo "error: no virtual environment could be made. On Debian and Ubuntu:" \
        "apt-get install python3-venv" >&2
      exit 2
    fi
  fi
  # shellcheck disable=SC1091
  . .venv/bin/activate
fi

stamp="$VIRTUAL_ENV/.alpt-jax-$( (pwd; echo "$EXTRAS"; cat setup.py) | cksum | tr ' ' -)"
if [ ! -e "$stamp" ]; then
  echo "installing alpt-jax$EXTRAS and what it needs into $VIRTUAL_ENV (minutes, once)"
  python -m pip install --quiet --disable-pip-version-check --editable ".$EXTRAS"
  touch "$stamp"
fi

# A training step on a CPU gets its memory anew each time. In pages of 2 MB, which Linux
# gives to those who ask, that takes less time (docs/benchmarks.md); mazes gain nothing.
if [ -n "${HUGE_PAGES:-}" ]; then
  export GLIBC_TUNABLES=${GLIBC_TUNABLES-glibc.malloc.hugetlb=1}
fi
