#!/usr/bin/env bash
# Makes the environment in which the `rlds` package runs, once: 1.9 GB, about a minute.
# It needs older packages than the project, so it stands in a folder of its own,
# $ALPT_RLDS, where tests/interop_test.py finds it.
#
# Its storage, Reverb, exists for Linux on x86-64 and up to Python 3.11 alone: elsewhere
# nothing is made, which is said, and the test is skipped.
set -euo pipefail

: "${ALPT_RLDS:?expected the folder of the environment}"
packages=(
  rlds==0.1.8
  'dm-reverb[tensorflow]==0.14.0'
  tensorflow-datasets==4.9.7
  # What these need without saying so, or would take too new.
  tensorflow-metadata==1.15.0
  'protobuf<4.26'
  importlib_resources
)

if [ -d "$ALPT_RLDS" ]; then
  exit
fi
if [ "$(uname -sm)" != 'Linux x86_64' ]; then
  echo "the real rlds did not run: it is not there for $(uname -sm)" >&2
  exit
fi
for candidate in python3.11 python "${PYTHON:-python3}"; do
  # An interpreter without ensurepip can make no environment.
  if "$candidate" -c 'import sys, ensurepip; sys.exit(sys.version_info[:2] != (3, 11))' \
    2>/dev/null; then
    found=$candidate
    break
  fi
done
if [ -z "${found:-}" ]; then
  echo 'the real rlds did not run: it needs Python 3.11, and there is none' >&2
  exit
fi
echo "installing ${packages[*]} into $ALPT_RLDS (once)"
rm -rf "$ALPT_RLDS.partial"
# -I: what PYTHONPATH names belongs to another environment.
if "$found" -m venv "$ALPT_RLDS.partial" &&
  "$ALPT_RLDS.partial/bin/python" -I -m pip install --quiet \
    --disable-pip-version-check "${packages[@]}"; then
  mv "$ALPT_RLDS.partial" "$ALPT_RLDS"
else
  rm -rf "$ALPT_RLDS.partial"
  echo "error: ${packages[0]} could not be installed" >&2
  exit 1
fi
