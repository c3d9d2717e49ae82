# Sourced by the other scripts of this folder. Set these in the environment, or edit:
#
#   IMAGE=us-docker.pkg.dev/mine/alpt/alpt:1 BUCKET=mine ./launch/gke/submit.sh ...
# shellcheck shell=bash

export IMAGE=${IMAGE:-}                  # with a tag of its own for each commit
export BUCKET=${BUCKET:-}                # data and runs; in the cluster's region
# For submit.sh: the slice, as gcloud container node-pools describe has it.
export ACCELERATOR=${ACCELERATOR:-tpu-v4-podslice}
export TOPOLOGY=${TOPOLOGY:-2x2x4}
export CHIPS=${CHIPS:-4}                 # of a host
export NAMESPACE=${NAMESPACE:-default}
export SERVICE_ACCOUNT=${SERVICE_ACCOUNT:-default}  # Kubernetes', may write the bucket
# For xpk.sh.
export PROJECT=${PROJECT:-}
export ZONE=${ZONE:-}
export CLUSTER=${CLUSTER:-}
export TPU_TYPE=${TPU_TYPE:-v4-32}
export PROCESSES=${PROCESSES:-4}         # hosts of it
# For both.
export RESTARTS=${RESTARTS:-100}         # a preemption is one
export GRACE=${GRACE:-180}               # seconds; longer than a step and a save
export EXTRAS=${EXTRAS:-[tpu]}           # what the image installs
export RECORDS=${RECORDS:-}              # empty: runs/launch
