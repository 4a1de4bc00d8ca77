#!/bin/bash
# Runs on every node, as root, after ParallelCluster configured it (OnNodeConfigured).
# All nodes: rootless Podman for the jobs of user slurm. The head node also: accounting (MariaDB, slurmdbd), Slurm's REST API
# (slurmrestd on port 8082), and /shared for user slurm. Safe to run again: what is as it should be is left alone, and a
# daemon is restarted only when it runs with something else than its files say now.
#
# usage: on_node_configured_ubuntu.sh
# exit status: 0 done; 69 a package cannot be installed; 70 a daemon does not come up; 71 MariaDB refuses its set-up;
#   73 a file cannot be written; 78 this is not a configured node of ParallelCluster
set -o errexit -o nounset -o pipefail
exec 2>&1 # what a head node writes to stderr is dropped

CFNCONFIG=/etc/parallelcluster/cfnconfig
SLURM=/opt/slurm
KEY_FILE=/var/spool/slurm.state/jwt_hs256.key # on_node_start_ubuntu.sh wrote it
PORT=8082
UNITS=/etc/systemd/system
STAMPS=/var/lib/slurm-cluster # what each daemon was started with
cfn_node_type=''              # cfnconfig sets it
PATH=$SLURM/bin:$SLURM/sbin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

log() { echo "[$(basename "$0")] $*"; }
die() {
  log "ERROR: $2"
  exit "$1"
}

put() { # FILE OWNER MODE < CONTENT: replaces the file whole, or not at all; one that is right keeps its time
  local new=$1.new
  { install -d "$(dirname "$1")" && (umask 077 && cat >"$new") && chown "$2" "$new" && chmod "$3" "$new"; } \
    || die 73 "$1 cannot be written"
  if cmp -s "$new" "$1" && [ "$(stat -c '%U:%G %a' "$new")" = "$(stat -c '%U:%G %a' "$1")" ]; then
    rm -f "$new"
  else
    mv -f "$new" "$1" || die 73 "$1 cannot be written"
  fi
}

wait_for() { # SECONDS COMMAND...
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.2
  done
}

run_with() { # UNIT FILES...: has the unit run, now and after each boot, with these files as they are now
  local unit=$1 sum
  shift
  sum=$(cat "$@" | sha256sum)
  systemctl enable --quiet "$unit"
  if systemctl is-active --quiet "$unit" && [ "$(cat "$STAMPS/$unit" 2>/dev/null)" = "$sum" ]; then
    return
  fi
  log "starting $unit"
  systemctl reset-failed "$unit" 2>/dev/null || true
  systemctl restart "$unit" || die 70 "$unit does not start: see journalctl -u $unit"
  put "$STAMPS/$unit" root:root 0644 <<<"$sum"
}

install_packages() { # PACKAGES...: those that are missing
  local missing=()
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  export DEBIAN_FRONTEND=noninteractive
  local options=(-q -y -o DPkg::Lock::Timeout=300 --no-install-recommends)
  { apt-get update -q && apt-get install "${options[@]}" "${missing[@]}"; } || die 69 "${missing[*]} cannot be installed"
}

# https://github.com/containers/podman/blob/main/docs/tutorials/rootless_tutorial.md
set_up_podman() {
  install_packages podman uidmap slirp4netns fuse-overlayfs crun
  local file
  for file in /etc/subuid /etc/subgid; do
    {
      grep -v '^slurm:' "$file" || true
      echo slurm:165536:65536
    } 2>/dev/null | put "$file" root:root 0644
  done
  # The leading - passes over a kernel that has no such switch.
  put /etc/sysctl.d/60-user-namespaces.conf root:root 0644 <<<'-kernel.unprivileged_userns_clone = 1'
  sysctl -q -p /etc/sysctl.d/60-user-namespaces.conf || true
  # /home is the same on all nodes, and Podman's files must not be: they go to this node's own disk and /run/user.
  install -d -o slurm -g slurm -m 0700 /var/lib/containers-of-slurm
  put /etc/containers/storage.conf root:root 0644 <<'CONF'
[storage]
driver = "overlay"
runroot = "/run/containers/storage"
graphroot = "/var/lib/containers/storage"
rootless_storage_path = "/var/lib/containers-of-$USER"
CONF
  loginctl enable-linger slurm
}

# https://slurm.schedmd.com/accounting.html
set_up_accounting() {
  install_packages mariadb-server
  put /etc/mysql/mariadb.conf.d/60-slurm.cnf root:root 0644 <<'CONF'
[mariadbd]
bind-address = 127.0.0.1
innodb_buffer_pool_size = 256M
innodb_lock_wait_timeout = 900
loose-innodb_snapshot_isolation = OFF
CONF
  run_with mariadb.service /etc/mysql/mariadb.conf.d/60-slurm.cnf
  wait_for 60 mariadb-admin ping || die 70 "MariaDB does not answer: see journalctl -u mariadb"
  # The user slurm of this machine is the user slurm of the database: there is no password to keep.
  mariadb <<'SQL' || die 71 "MariaDB refuses to make Slurm's database"
CREATE DATABASE IF NOT EXISTS slurm_acct_db;
CREATE USER IF NOT EXISTS slurm@localhost IDENTIFIED VIA unix_socket;
GRANT ALL ON slurm_acct_db.* TO slurm@localhost;
SQL
  install -d -o slurm -g slurm -m 0755 /var/log/slurm
  put $SLURM/etc/slurmdbd.conf slurm:slurm 0600 <<CONF
DbdHost=$(hostname -s)
SlurmUser=slurm
AuthType=auth/munge
AuthAltTypes=auth/jwt
AuthAltParameters=jwt_key=$KEY_FILE
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StorageLoc=slurm_acct_db
LogFile=/var/log/slurm/slurmdbd.log
CONF
  put $UNITS/slurmdbd.service root:root 0644 <<UNIT
[Unit]
Description=Slurm accounting
After=network-online.target munge.service mariadb.service
Wants=network-online.target mariadb.service

[Service]
ExecStart=$SLURM/sbin/slurmdbd -D -s
Restart=always
RestartSec=2

[Install]
WantedBy=multi-user.target
UNIT
  put $UNITS/slurmctld.service.d/accounting.conf root:root 0644 <<'UNIT'
[Unit]
After=slurmdbd.service
Wants=slurmdbd.service
UNIT
  systemctl daemon-reload
  run_with slurmdbd.service $SLURM/etc/slurmdbd.conf $UNITS/slurmdbd.service "$KEY_FILE"
  wait_for 120 sacctmgr -n show cluster || die 70 "slurmdbd does not answer: see /var/log/slurm/slurmdbd.log"
  local gather=linux
  grep -qi '^ *ProctrackType *= *proctrack/cgroup' $SLURM/etc/slurm*.conf && gather=cgroup
  put $SLURM/etc/slurm_accounting.conf root:root 0644 <<CONF
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=$(hostname -s)
JobAcctGatherType=jobacct_gather/$gather
CONF
  local include="include $SLURM/etc/slurm_accounting.conf" conf=$SLURM/etc/slurm.conf
  grep -qxF "$include" $conf || { cat $conf && echo "$include"; } | put $conf "$(stat -c %U:%G $conf)" "$(stat -c %a $conf)"
}

start_slurmctld() {
  local since=@$EPOCHSECONDS mismatch='CLUSTER ID MISMATCH' name=/var/spool/slurm.state/clustername
  run_with slurmctld.service $SLURM/etc/slurm.conf $SLURM/etc/slurm_accounting.conf "$KEY_FILE" \
    $UNITS/slurmctld.service.d/accounting.conf
  wait_for 60 slurmctld_answers_or_ended || true
  # Before Slurm 25.11, a slurmctld that once ran without accounting has made up an id, which slurmdbd does not know.
  if ! slurmctld_answers && journalctl -q -u slurmctld --since "$since" | grep -q "$mismatch"; then
    log "slurmctld forgets the id that it had before accounting"
    mv -f "$name" "$name.before-accounting"
    systemctl restart slurmctld.service
  fi
  wait_for 60 slurmctld_answers || die 70 "slurmctld does not answer: see journalctl -u slurmctld"
}
slurmctld_answers() { scontrol ping 2>/dev/null | grep -q ' is UP'; }
slurmctld_answers_or_ended() { slurmctld_answers || ! systemctl is-active --quiet slurmctld.service; }

# https://slurm.schedmd.com/rest.html: a user of its own, which must be neither root nor slurm
set_up_rest_api() {
  id slurmrestd >/dev/null 2>&1 || useradd --system --user-group --no-create-home --shell /usr/sbin/nologin slurmrestd
  put $UNITS/slurmrestd.service root:root 0644 <<UNIT
[Unit]
Description=Slurm REST API
After=network-online.target munge.service slurmctld.service
Wants=network-online.target

[Service]
User=slurmrestd
Group=slurmrestd
Environment=SLURM_JWT=daemon
ExecStart=$SLURM/sbin/slurmrestd -a rest_auth/jwt 0.0.0.0:$PORT
Restart=always
RestartSec=2
NoNewPrivileges=yes

[Install]
WantedBy=multi-user.target
UNIT
  systemctl daemon-reload
  run_with slurmrestd.service $UNITS/slurmrestd.service $SLURM/etc/slurm.conf $SLURM/etc/slurm_accounting.conf
  wait_for 60 bash -c "exec 3<>/dev/tcp/127.0.0.1/$PORT" || die 70 "slurmrestd does not listen: see journalctl -u slurmrestd"
}

main() {
  [ -r $CFNCONFIG ] || die 78 "$CFNCONFIG is not there: this is not a node of ParallelCluster"
  # shellcheck source=/dev/null
  source $CFNCONFIG
  exec 9>/run/on_node_configured.lock && flock 9
  set_up_podman
  if [ "$cfn_node_type" = HeadNode ]; then
    [ -r $SLURM/etc/slurm.conf ] || die 78 "$SLURM/etc/slurm.conf is not there: the head node is not configured"
    [ -s $KEY_FILE ] || die 78 "$KEY_FILE is not there: on_node_start_ubuntu.sh did not run"
    set_up_accounting
    start_slurmctld
    set_up_rest_api
    [ ! -d /shared ] || chown slurm:slurm /shared
  fi
  log "$cfn_node_type: done"
}

main "$@"
