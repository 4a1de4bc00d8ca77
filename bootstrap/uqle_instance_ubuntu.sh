#!/bin/bash
# The user data of the UQLE machine (Ubuntu 24.04): cloud-init runs it once, as root, at the first boot.
# It mounts the cluster's file system, now and at each boot, and installs Docker with compose.
# By hand: put the two values in, then give the file to the EC2 launch wizard as user data.
#
# exit status: 0 done; 69 a package cannot be installed; 75 the file system is not mounted
set -o errexit -o nounset -o pipefail
exec 2>&1

FILE_SYSTEM='{{{ FILE_SYSTEM }}}' # fs-....efs.<region>.amazonaws.com
MOUNT_POINT='{{{ MOUNT_POINT }}}'
# https://docs.aws.amazon.com/efs/latest/ug/mounting-fs-nfs-mount-settings.html
OPTIONS=nfsvers=4.1,rsize=1048576,wsize=1048576,hard,timeo=600,retrans=2,noresvport,_netdev
TRIES=${TRIES:-30}
PAUSE=${PAUSE:-10} # seconds

log() { echo "[uqle_instance] $*"; }
die() {
  log "ERROR: $2"
  exit "$1"
}

retry() { # COMMAND...: until it succeeds, TRIES times at most
  local try
  for ((try = 1; try <= TRIES; try++)); do
    "$@" && return
    sleep "$PAUSE"
  done
  return 1
}

install_packages() {
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q && apt-get install -q -y nfs-common docker.io docker-compose-v2
}

mount_file_system() {
  mountpoint -q "$MOUNT_POINT" || mount "$MOUNT_POINT"
}

main() {
  retry install_packages || die 69 "nfs-common and Docker cannot be installed"
  mkdir -p "$MOUNT_POINT"
  local line="$FILE_SYSTEM:/ $MOUNT_POINT nfs4 $OPTIONS 0 0"
  grep -qxF "$line" /etc/fstab || {
    {
      grep -vF " $MOUNT_POINT nfs4 " /etc/fstab || true
      echo "$line"
    } >/etc/fstab.new
    mv -f /etc/fstab.new /etc/fstab
  }
  systemctl daemon-reload
  retry mount_file_system || die 75 "$FILE_SYSTEM is not mounted at $MOUNT_POINT"
  usermod --append --groups docker ubuntu
  log "$FILE_SYSTEM is mounted at $MOUNT_POINT, and Docker is installed"
}

main "$@"
