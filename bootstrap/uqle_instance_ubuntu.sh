#!/bin/bash
# User data of the UQLE machine (Ubuntu 24.04): cloud-init runs it once, as root, at the first boot.
# It installs Docker with Compose, and mounts the cluster's file system, now and at each boot.
# The output is on the console and in /var/log/cloud-init-output.log. Safe to run again.
# To use it by hand: fill in the two values, then paste the file into the EC2 launch wizard as user data.
#
# environment: WAIT: seconds to keep trying, first to install the packages, then to mount.
#   PAUSE: seconds between attempts.
# exit status:
#   0   success
#   69  a package cannot be installed
#   73  a file cannot be written
#   74  an unexpected error; the output names the line of the script
#   75  the file system cannot be mounted
set -o errexit -o errtrace -o nounset -o pipefail
exec 2>&1
trap 'die 74 "line $LINENO: $BASH_COMMAND"' ERR

FILE_SYSTEM='{{{ FILE_SYSTEM }}}' # fs-....efs.<region>.amazonaws.com; empty: mount nothing
MOUNT_POINT='{{{ MOUNT_POINT }}}'
# https://docs.aws.amazon.com/efs/latest/ug/mounting-fs-nfs-mount-settings.html
OPTIONS=nfsvers=4.1,rsize=1048576,wsize=1048576,hard,timeo=600,retrans=2,noresvport,_netdev
# nofail: the machine boots even if the mount fails. Docker starts after the mount attempt, because a
# container that starts before the mount never sees the share.
OPTIONS+=,nofail,x-systemd.before=docker.service
WAIT=${WAIT:-600}
PAUSE=${PAUSE:-10}

log() { echo "[uqle_instance] $*"; }
die() {
  log "ERROR: $2"
  exit "$1"
}

retry() { # COMMAND...: until it succeeds, for at most WAIT seconds
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

is_mounted() { # findmnt reads the mount table, so it does not hang when the file server is down
  findmnt --mountpoint "$MOUNT_POINT" >/dev/null
}

# The immutable flag stops everyone, even root, from writing to the folder while the share is not mounted.
# Otherwise a container could write files there, and the share would hide them later.
create_mount_point() {
  is_mounted || { mkdir -p "$MOUNT_POINT" && chattr +i "$MOUNT_POINT"; }
}

write_fstab() { # to a new file, so that a kill cannot leave half of it
  local line="$FILE_SYSTEM:/ $MOUNT_POINT nfs4 $OPTIONS 0 0"
  grep -qxF "$line" /etc/fstab && return
  { grep -vF " $MOUNT_POINT nfs4 " /etc/fstab || true; } >/etc/fstab.new \
    && echo "$line" >>/etc/fstab.new && mv /etc/fstab.new /etc/fstab && systemctl daemon-reload
}

mount_share() {
  is_mounted || timeout --kill-after=5 "$((WAIT < 60 ? WAIT : 60))" mount "$MOUNT_POINT"
}

main() {
  if [[ $FILE_SYSTEM ]]; then
    create_mount_point || die 73 "cannot create or protect $MOUNT_POINT"
    write_fstab || die 73 "cannot write /etc/fstab"
  fi
  retry install_packages \
    || die 69 "cannot install nfs-common and Docker (tried for $WAIT s): see the apt-get error above"
  usermod --append --groups docker ubuntu
  if [[ ! $FILE_SYSTEM ]]; then
    log "Docker is installed; no file system is mounted"
    return
  fi
  retry mount_share \
    || die 75 "cannot mount $FILE_SYSTEM at $MOUNT_POINT (tried for $WAIT s): see the mount error above"
  log "$FILE_SYSTEM is mounted at $MOUNT_POINT, and Docker is installed"
}

main "$@"
