#!/usr/bin/env bash
# The tests and the linter.
#
#   ./launch/test.sh          all but the slow tests, a few minutes
#   ./launch/test.sh --all    the slow ones too
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
fi
ruff check .
ruff format --check .
# Before bash 4.4, an empty array counts as unset.
exec python -m pytest -n "${WORKERS:-2}" ${selection[@]+"${selection[@]}"} "$@"
