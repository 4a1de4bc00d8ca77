#!/bin/bash
# OnNodeConfigured script: runs as root on every node, after ParallelCluster has configured the node.
# All nodes: sets up rootless Podman for the jobs of user slurm.
# Head node: also sets up accounting (MariaDB, slurmdbd) and the Slurm REST API (slurmrestd, port 8082), and
# gives a new /shared to user slurm.
# Safe to run again, also after a kill: it replaces whole files, and restarts a daemon only if one of the
# daemon's files is newer than the daemon.
#
# usage: on_node_configured_ubuntu.sh
# exit status (CloudFormation shows nothing else of a head node; the last line of the output names the cause):
#   0   success
#   69  a package cannot be installed
#   70  a daemon does not start
#   71  MariaDB refuses to create Slurm's database
#   72  accounting is already set up, by ParallelCluster or by hand
#   73  the disk is full or read-only
#   74  an unexpected error; the output names the line of the script
#   78  this machine is not a configured ParallelCluster node
set -o errexit -o errtrace -o nounset -o pipefail
exec 2>&1 # ParallelCluster discards the standard error of a head node's scripts
trap 'die 74 "line $LINENO: $BASH_COMMAND"' ERR

# ParallelCluster documents this file as unsupported: a new version may change it.
CFNCONFIG=/etc/parallelcluster/cfnconfig
SLURM=/opt/slurm
CONF=$SLURM/etc/slurm.conf
ACCOUNTING_CONF=$SLURM/etc/slurm_accounting.conf
SLURMDBD_CONF=$SLURM/etc/slurmdbd.conf
MARIADB_CONF=/etc/mysql/mariadb.conf.d/60-slurm.cnf
UNITS=/etc/systemd/system
STATE=/var/spool/slurm.state
KEY_FILE=$STATE/jwt_hs256.key # written by on_node_start_ubuntu.sh
SLURMDBD_JWT=AuthAltParameters=jwt_key=$KEY_FILE
export PATH=$SLURM/bin:/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1

log() { echo "[$(basename "$0")] $*"; }
die() { # STATUS MESSAGE
  log "ERROR: $2"
  exit "$1"
}
die_with_journal() { # UNIT
  journalctl --quiet --no-pager --output cat --lines 15 --unit "$1" || true
  die 70 "$1 does not start: see its log above"
}

main() {
  [ -r $CFNCONFIG ] || die 78 "$CFNCONFIG does not exist: this is not a ParallelCluster node"
  local node_type
  # shellcheck source=/dev/null disable=SC2154
  node_type=$(source $CFNCONFIG && echo "$cfn_node_type") || die 78 "$CFNCONFIG does not set cfn_node_type"
  # Child processes inherit the lock: a new run waits for an apt-get that a killed run left behind.
  exec 9>/run/on_node_configured.lock && flock 9
  if [ "$node_type" != HeadNode ]; then
    install_packages podman uidmap slirp4netns netavark
    set_up_podman
  else
    [ -r $CONF ] || die 78 "$CONF does not exist: ParallelCluster has not configured the head node"
    [ -s $KEY_FILE ] || die 78 "$KEY_FILE is missing or empty: run on_node_start_ubuntu.sh first"
    refuse_other_accounting
    # Write the settings before installing MariaDB, so that it starts only once.
    write_file $MARIADB_CONF root 0644 '[mariadbd]' \
      innodb_buffer_pool_size=256M innodb_lock_wait_timeout=900 loose-innodb_snapshot_isolation=OFF
    install_packages podman uidmap slirp4netns netavark mariadb-server
    set_up_podman
    set_up_accounting
    set_up_rest_api
    give_shared_to_slurm
  fi
  log "$node_type: done"
}

# With Database or ExternalSlurmdbd in the cluster's configuration, ParallelCluster sets up accounting itself.
refuse_other_accounting() {
  local file
  file=$(grep -rils --include='*.conf' --exclude="$(basename $ACCOUNTING_CONF)" \
    '^ *AccountingStorageType *= *accounting_storage/slurmdbd' $SLURM/etc | head -n 1 || true)
  [ ! -e $SLURMDBD_CONF ] || grep -qx "$SLURMDBD_JWT" $SLURMDBD_CONF || file=$SLURMDBD_CONF
  [ -z "$file" ] || die 72 "$file is not from this script: remove Database and ExternalSlurmdbd"
}

# A new file system is empty, except for lost+found, and belongs to root. An existing one keeps its owner.
give_shared_to_slurm() {
  [ -d /shared ] || return 0
  local owner && owner=$(stat -c %U:%G /shared)
  if [ "$owner" = root:root ] && [ -z "$(ls -A --ignore=lost+found /shared || true)" ]; then
    # A file system with root squash and an EFS access point refuse this.
    chown slurm:slurm /shared || log "WARNING: cannot give /shared to user slurm: see the chown error above"
  else
    log "/shared is not new and keeps its owner, $owner"
  fi
}

install_packages() { # PACKAGES...
  local installed
  installed=$(dpkg-query --show --showformat '${db:Status-Abbrev}\n' "$@" 2>/dev/null || true)
  [ "$(grep -c '^ii' <<<"$installed" || true)" -lt $# ] || return 0
  local free && free=$(df --output=avail --block-size=1M /var | tail -n 1)
  [ "$free" -ge 1024 ] || die 73 "/var has $free MB of free disk space: the packages need 1024 MB"
  # First finish the installation of a killed run. Retry, because apt-get update does not wait for apt's lock.
  timeout 300 bash -c 'until dpkg --configure -a && apt-get update --quiet; do sleep 5; done' \
    || die 69 "cannot install $*: see the dpkg or apt-get error above"
  apt-get install --quiet --yes --fix-broken --no-install-recommends -o DPkg::Lock::Timeout=300 "$@" \
    || die 69 "cannot install $*: see the apt-get error above"
}

# Replace the file completely or not at all. A file that is already correct keeps its modification time.
write_file() { # FILE OWNER MODE LINES...
  printf '%s\n' "${@:4}" | install -D -o "$2" -g "$2" -m "$3" /dev/stdin "$1.new" || die 73 "cannot write $1"
  if cmp -s "$1.new" "$1" && [ "$(stat -c %U%a "$1.new" "$1" | uniq | wc -l)" = 1 ]; then
    rm "$1.new"
  else
    mv "$1.new" "$1"
  fi
}

# ExecStartPost makes systemd report the service as started only when its port accepts connections.
write_service() { # NAME PORT DEPENDENCY SETTINGS...
  write_file "$UNITS/$1.service" root 0644 \
    '[Unit]' "Wants=network-online.target $3" "After=network-online.target munge.service $3" \
    '[Service]' "${@:4}" Restart=always RestartSec=2 "ExecStartPost=/usr/bin/timeout 60 bash -c \\" \
    "'until (</dev/tcp/localhost/$2) 2>/dev/null; do test -d /proc/\${MAINPID} && sleep 0.1 || exit; done'" \
    '[Install]' WantedBy=multi-user.target
}

# Start the unit now and at each boot. Restart it if one of the files is newer than its process.
ensure_running() { # UNIT FILES...
  systemctl is-enabled --quiet "$1" || systemctl enable --quiet "$1"
  [ "$(systemctl show --property NeedDaemonReload --value "$1")" = no ] || systemctl daemon-reload
  local started && started=$(systemctl show --timestamp=us+utc --property ExecMainStartTimestamp --value "$1")
  if ! systemctl is-active --quiet "$1" || [ -n "$(find "${@:2}" -newermt "$started")" ]; then
    log "starting $1"
    systemctl reset-failed "$1" 2>/dev/null || true
    systemctl restart "$1" || die_with_journal "$1"
  fi
}

# https://github.com/containers/podman/blob/main/docs/tutorials/rootless_tutorial.md
set_up_podman() {
  usermod --add-subuids 165536-231071 --add-subgids 165536-231071 slurm
  # The leading "-" ignores the error of a kernel without this setting.
  write_file /etc/sysctl.d/60-podman.conf root 0644 '-kernel.unprivileged_userns_clone = 1'
  /usr/lib/systemd/systemd-sysctl /etc/sysctl.d/60-podman.conf
  # All nodes share /home, but each node needs its own Podman storage: on the local disk, and in /run/user.
  install -d -o slurm -g slurm -m 0700 /var/lib/slurm-containers
  if [ ! -e ~slurm/.local/share/containers ]; then
    install -d -o slurm -g slurm ~slurm/.local ~slurm/.local/share
    ln -s /var/lib/slurm-containers ~slurm/.local/share/containers
  fi
  # With cgroupfs, a container stays in the cgroup of its job, so Slurm accounts for it and can end it.
  write_file /etc/containers/containers.conf.d/60-slurm.conf root 0644 \
    '[engine]' 'cgroup_manager = "cgroupfs"' '[network]' 'default_rootless_network_cmd = "slirp4netns"'
  loginctl enable-linger slurm
}

# https://slurm.schedmd.com/accounting.html
set_up_accounting() {
  ensure_running mariadb.service $MARIADB_CONF
  # The database user slurm is authenticated as the system user slurm, so there is no password.
  mariadb <<'SQL' || die 71 "MariaDB refuses to create Slurm's database: see the error above"
CREATE DATABASE IF NOT EXISTS slurm_acct_db;
CREATE USER IF NOT EXISTS slurm@localhost IDENTIFIED VIA unix_socket;
GRANT ALL ON slurm_acct_db.* TO slurm@localhost;
SQL
  write_file $SLURMDBD_CONF slurm 0600 \
    "DbdHost=$(hostname -s)" SlurmUser=slurm LogFile=/var/log/slurmdbd.log \
    AuthAltTypes=auth/jwt "$SLURMDBD_JWT" \
    StorageType=accounting_storage/mysql StorageUser=slurm
  write_service slurmdbd 6819 mariadb.service "ExecStart=$SLURM/sbin/slurmdbd -D"
  ensure_running slurmdbd.service $SLURMDBD_CONF $UNITS/slurmdbd.service $KEY_FILE
  local gather_type=linux
  ! grep -qi '^ *ProctrackType *= *proctrack/cgroup' $CONF || gather_type=cgroup
  write_file $ACCOUNTING_CONF root 0644 AccountingStorageType=accounting_storage/slurmdbd \
    "AccountingStorageHost=$(hostname -s)" JobAcctGatherType=jobacct_gather/$gather_type
  if ! grep -qx "include $ACCOUNTING_CONF" $CONF; then
    # A slurmctld without accounting generates a cluster id. Before Slurm 25.11, it exits when slurmdbd then
    # assigns a different one.
    systemctl stop slurmctld.service
    rm -f $STATE/clustername
    write_file $CONF "$(stat -c %U $CONF)" "$(stat -c %a $CONF)" "$(cat $CONF)" "include $ACCOUNTING_CONF"
  fi
  write_file $UNITS/slurmctld.service.d/accounting.conf root 0644 \
    '[Unit]' Wants=slurmdbd.service After=slurmdbd.service '[Service]' Restart=on-failure RestartSec=2
  ensure_running slurmctld.service $CONF $ACCOUNTING_CONF $KEY_FILE $UNITS/slurmctld.service.d/accounting.conf
  timeout 60 bash -c \
    'until sacctmgr -nP show cluster format=controlhost 2>&1 | grep -q .; do sleep 0.1; done' \
    || die_with_journal slurmctld.service
}

# https://slurm.schedmd.com/rest.html
# slurmrestd runs as its own user, neither root nor slurm, who cannot read the key. Its memory is limited to
# three times the peak that was measured under load, 174 MB, so that clients cannot exhaust the head node's.
set_up_rest_api() {
  id slurmrestd >/dev/null 2>&1 \
    || useradd --system --user-group --no-create-home --shell /usr/sbin/nologin slurmrestd
  write_service slurmrestd 8082 slurmctld.service \
    "ExecStart=$SLURM/sbin/slurmrestd -a rest_auth/jwt 0.0.0.0:8082" User=slurmrestd \
    Environment=SLURM_JWT=daemon NoNewPrivileges=yes ProtectSystem=strict ProtectHome=yes PrivateTmp=yes \
    MemoryMax=512M
  ensure_running slurmrestd.service $UNITS/slurmrestd.service $CONF $ACCOUNTING_CONF
  # slurmrestd asks for a token. Any other answer means that another program uses the port.
  curl -s -o /dev/null -w '%{http_code}' http://localhost:8082/openapi/v3 | grep -qx 401 \
    || die_with_journal slurmrestd.service
}

main "$@"
