#!/bin/bash
# The user data of the UQLE machine (Ubuntu 24.04): cloud-init runs it once, as root, at the first boot.
# It installs Docker with compose, and mounts the cluster's file system, now and at each boot.
# What it says is on the console and in /var/log/cloud-init-output.log. Safe to run again.
# By hand: put the two values in, then give the file to the EC2 launch wizard as user data.
#
# environment: WAIT, the seconds that the packages may take to come, and then the mount; PAUSE, those between two attempts.
# exit status: 0 done; 69 a package cannot be installed; 73 a file cannot be written; 75 the file system is not mounted
set -o errexit -o nounset -o pipefail
exec 2>&1

FILE_SYSTEM='<FILE_SYSTEM>.efs.eu-west-2.amazonaws.com' # fs-....efs.<region>.amazonaws.com
MOUNT_POINT='/shared'
# https://docs.aws.amazon.com/efs/latest/ug/mounting-fs-nfs-mount-settings.html
OPTIONS=nfsvers=4.1,rsize=1048576,wsize=1048576,hard,timeo=600,retrans=2,noresvport,_netdev
# A boot goes on without the share; Docker waits for the attempt, because a container started before it would never see the share.
OPTIONS+=,nofail,x-systemd.before=docker.service
WAIT=${WAIT:-600}
PAUSE=${PAUSE:-10}

log() { echo "[uqle_instance] $*"; }
die() {
  log "ERROR: $2"
  exit "$1"
}

retry() { # COMMAND...: until it succeeds, but no longer than WAIT
  local end=$((SECONDS + WAIT))
  until "$@"; do
    ((SECONDS + PAUSE < end)) || return 1
    sleep "$PAUSE"
  done
}

install_packages() {
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q && apt-get install -q -y -o DPkg::Lock::Timeout=300 nfs-common docker.io docker-compose-v2
}

is_mounted() { # findmnt reads a list, so that a server that is away does not hold it up
  findmnt --mountpoint "$MOUNT_POINT" >/dev/null
}

# While the share is not mounted, nothing can be written in its place, not even by root: a container's files would be lost in it.
make_mount_point() {
  is_mounted || { mkdir -p "$MOUNT_POINT" && chattr +i "$MOUNT_POINT"; }
}

write_fstab() { # as a new file, so that a kill never leaves half of it
  local line="$FILE_SYSTEM:/ $MOUNT_POINT nfs4 $OPTIONS 0 0"
  grep -qxF "$line" /etc/fstab && return
  { grep -vF " $MOUNT_POINT nfs4 " /etc/fstab || true; } >/etc/fstab.new \
    && echo "$line" >>/etc/fstab.new && mv /etc/fstab.new /etc/fstab && systemctl daemon-reload
}

mount_share() {
  is_mounted || timeout --kill-after=5 "$((WAIT < 60 ? WAIT : 60))" mount "$MOUNT_POINT"
}

main() {
  make_mount_point || die 73 "$MOUNT_POINT cannot be made, or not be protected"
  write_fstab || die 73 "/etc/fstab cannot be written"
  retry install_packages || die 69 "nfs-common and Docker cannot be installed, tried for $WAIT s: see what apt-get says above"
  usermod --append --groups docker ubuntu
  retry mount_share || die 75 "$FILE_SYSTEM is not mounted at $MOUNT_POINT, tried for $WAIT s: see what mount says above"
  log "$FILE_SYSTEM is mounted at $MOUNT_POINT, and Docker is installed"
}

main "$@"
