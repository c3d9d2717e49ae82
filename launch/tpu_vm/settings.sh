# Sourced by the other scripts of this folder. Set these in the environment, or edit:
#
#   ZONE=us-central2-b ACCELERATOR_TYPE=v4-32 PROCESSES=4 BUCKET=mine ./launch/tpu_vm/create.sh ...
# shellcheck shell=bash

export PROJECT=${PROJECT:-}                      # empty: gcloud's own
export ZONE=${ZONE:-}                            # one that has the type
export ACCELERATOR_TYPE=${ACCELERATOR_TYPE:-}    # v4-32, v5litepod-16, v6e-16, ...
export RUNTIME_VERSION=${RUNTIME_VERSION:-tpu-ubuntu2204-base}  # v5e: v2-alpha-tpuv5-lite
export PROCESSES=${PROCESSES:-}                  # hosts of the slice: 4 for v4-32
export BUCKET=${BUCKET:-}                        # code, logs, runs; in the zone's region
export NFS=${NFS:-}                              # HOST:/PATH: runs there instead
export SPOT=${SPOT:-1}                           # 0: never taken away, costs more
export PYTHON_VERSION=${PYTHON_VERSION:-3.11}    # of constraints.txt
export RECORDS=${RECORDS:-}                      # empty: runs/launch
