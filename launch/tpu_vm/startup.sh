# What every host of a slice runs as root whenever it boots: create.sh puts its settings
# before this text, and the training as arguments. Installs what is missing, mounts the
# bucket, takes the code from it, and starts the training as the service `alpt`.
# shellcheck shell=bash
set -euo pipefail

home=${ALPT_HOME:-/opt/alpt}
shared=${ALPT_SHARED:-/mnt/alpt}
nfs=${ALPT_NFS:-/mnt/alpt-nfs}
apt=${ALPT_APT:-/etc/apt}
launch=$shared/launch/$RUN_ID
export HOME=${HOME:-/root} DEBIAN_FRONTEND=noninteractive

mkdir -p "$home" "$shared"
exec > >(tee -a "$home/startup.log") 2>&1
worker=unknown

finish() {  # a host that cannot start must be heard of: the others wait for it
  local code=$?
  mountpoint -q "$shared" || exit "$code"
  mkdir -p "$launch/logs" "$launch/exit-code"
  cp "$home/startup.log" "$launch/logs/startup-$worker.log"
  if [ "$code" -ne 0 ] && [ "$worker" != unknown ]; then
    echo "$worker 1" > "$launch/exit-code/worker-$worker"
  fi
}
trap finish EXIT

retry() {  # networks and locks of a machine that has just booted
  local wait
  for wait in 5 15 45 135; do
    "$@" && return 0
    echo "failed, again in $wait s: $*" >&2
    sleep "$wait"
  done
  "$@"
}

# Chains, as `set -e` does not hold in what `retry` calls.
install_packages() {
  local keys=$home/gcsfuse.asc site=https://packages.cloud.google.com/apt release
  # shellcheck disable=SC1091
  release=$(. /etc/os-release && echo "$VERSION_CODENAME") \
    && curl -fsSL "$site/doc/apt-key.gpg" -o "$keys" \
    && echo "deb [signed-by=$keys] $site gcsfuse-$release main" \
      > "$apt/sources.list.d/gcsfuse.list" \
    && apt-get update -q \
    && apt-get install -q -y -o DPkg::Lock::Timeout=300 \
      gcsfuse git nfs-common python3-venv \
    && touch "$home/packages-are-installed"
}

# The images' own Python is older than 3.11; uv brings one.
install_code() {
  rm -rf "$home/code" \
    && git clone -q -c advice.detachedHead=false "$launch/code.bundle" "$home/code" \
    && { [ -x "$home/uv/bin/uv" ] \
      || { python3 -m venv "$home/uv" && "$home/uv/bin/pip" install -q uv; }; } \
    && { [ -x "$home/venv/bin/python" ] \
      || "$home/uv/bin/uv" venv -q --python "$PYTHON_VERSION" "$home/venv"; } \
    && "$home/uv/bin/uv" pip install -q --python "$home/venv/bin/python" \
      --constraint "$home/code/constraints.txt" --editable "$home/code[tpu]"
}

worker=$(retry curl -fsS -H 'Metadata-Flavor: Google' \
  http://metadata.google.internal/computeMetadata/v1/instance/attributes/agent-worker-number)
[ -e "$home/packages-are-installed" ] || retry install_packages
# Checkpoints are finished by renaming their folder, and every host must at once see what
# another wrote: hence the limit, and no cache of names.
mountpoint -q "$shared" || retry gcsfuse --implicit-dirs --rename-dir-limit=200000 \
  --metadata-cache-ttl-secs=0 --metadata-cache-negative-ttl-secs=0 "$BUCKET" "$shared"
if [ -n "$NFS" ]; then
  mkdir -p "$nfs"
  mountpoint -q "$nfs" || retry mount -t nfs "$NFS" "$nfs"
fi
retry install_code

cat > "$home/start" <<END
#!/usr/bin/env bash
# Starts a training on this host, as a service that saves when the host is shut down.
exec systemd-run --unit=alpt --collect --property=KillMode=mixed \\
  --property=TimeoutStopSec=180 "--property=WorkingDirectory=$home/code" \\
  "--setenv=HOME=$HOME" "--setenv=PATH=$home/venv/bin:$PATH" \\
  "$home/venv/bin/python" -m alpt_jax.launching.tpu_worker \\
  "$worker" "$launch" "$home/logs" -- "\$@"
END
chmod +x "$home/start"
if [ $# -gt 0 ]; then
  "$home/start" "$@"
fi
