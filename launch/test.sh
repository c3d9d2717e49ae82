#!/usr/bin/env bash
# The tests and the linter.
#
#   ./launch/test.sh          all but the slow tests, a few minutes
#   ./launch/test.sh --all    the slow ones too, with the compiler of TPUs (installed
#                             into a folder of its own, 700 MB; no TPU is needed) and
#                             the real rlds (in an environment of its own, 1.9 GB)
#
# Further arguments go to pytest.
set -euo pipefail

export EXTRAS='[test]'
# shellcheck source=launch/environment.sh
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

selection=(-m 'not slow')
if [ "${1:-}" = --all ]; then
  selection=()
  shift
  # Apart from the environment: JAX looks for a TPU wherever it finds this.
  needs='import importlib.metadata as m; print(*(r.split(";")[0].strip() for r in
    m.requires("jax") if r.startswith("libtpu")))'
  requirement=$(python -c "$needs")
  ALPT_LIBTPU="$VIRTUAL_ENV/${requirement//[^a-z0-9.]/}"
  if [ ! -d "$ALPT_LIBTPU" ]; then
    echo "installing $requirement into $ALPT_LIBTPU (once)"
    rm -rf "$ALPT_LIBTPU.partial"
    if python -m pip install --quiet --disable-pip-version-check --no-deps \
      --target "$ALPT_LIBTPU.partial" "$requirement"; then
      mv "$ALPT_LIBTPU.partial" "$ALPT_LIBTPU"
    elif [ "$(uname -sm)" = 'Linux x86_64' ]; then
      echo "error: $requirement could not be installed" >&2
      exit 1
    else
      echo "there is no $requirement for $(uname -sm): its tests are skipped" >&2
    fi
  fi
  export ALPT_LIBTPU
  export ALPT_RLDS="$VIRTUAL_ENV/rlds-0.1.8"
  tests/interop/run.sh
fi
ruff check .
ruff format --check .
# A file at a time, so that its tests share what they compile, trace and record.
# Before bash 4.4, an empty array counts as unset.
exec python -m pytest -n "${WORKERS:-2}" --dist loadfile ${selection[@]+"${selection[@]}"} "$@"
