#!/bin/bash
# Runs on every node, as root, after ParallelCluster configured it (OnNodeConfigured).
# All nodes: rootless Podman for the jobs of user slurm. The head node also: accounting (MariaDB, slurmdbd), Slurm's REST API
# (slurmrestd, port 8082), and /shared for user slurm. Safe to run again, also after it was killed: files are replaced whole,
# and a daemon is started again only when one of its files is newer than it.
#
# usage: on_node_configured_ubuntu.sh
# exit status, by cause, as CloudFormation shows nothing else of a head node; the last line of the output names the cause:
#   0 done                               69 a package cannot be installed      70 a daemon does not come up
#   71 MariaDB refuses Slurm's database  73 the disk is full, or read-only     78 this is not a configured node of ParallelCluster
#   1 or another: what nobody foresaw; the line of the script is named
set -o errexit -o errtrace -o nounset -o pipefail
exec 2>&1 # what a head node writes to stderr is dropped
trap 'log "ERROR: line $LINENO: $BASH_COMMAND"' ERR

CFNCONFIG=/etc/parallelcluster/cfnconfig
SLURM=/opt/slurm
CONF=$SLURM/etc/slurm.conf
ACCOUNTING_CONF=$SLURM/etc/slurm_accounting.conf
SLURMDBD_CONF=$SLURM/etc/slurmdbd.conf
MARIADB_CONF=/etc/mysql/mariadb.conf.d/60-slurm.cnf
UNITS=/etc/systemd/system
STATE=/var/spool/slurm.state
KEY_FILE=$STATE/jwt_hs256.key # on_node_start_ubuntu.sh wrote it
export PATH=$SLURM/bin:/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1

log() { echo "[$(basename "$0")] $*"; }
die() { log "ERROR: $2" && exit "$1"; }
die_of() { # UNIT
  journalctl --quiet --no-pager --output cat --lines 15 --unit "$1" || true
  die 70 "$1 does not come up: see what it says above"
}

main() {
  [ -r $CFNCONFIG ] || die 78 "$CFNCONFIG is not there: this is not a node of ParallelCluster"
  # shellcheck source=/dev/null
  cfn_node_type='' && source $CFNCONFIG
  exec 9>/run/on_node_configured.lock && flock 9 # its children hold it too: an apt-get that outlives it is waited for
  if [ "$cfn_node_type" != HeadNode ]; then
    install_packages podman uidmap slirp4netns netavark
    set_up_podman
  else
    [ -r $CONF ] || die 78 "$CONF is not there: the head node is not configured"
    [ -s $KEY_FILE ] || die 78 "$KEY_FILE is not there: on_node_start_ubuntu.sh did not run"
    # MariaDB's settings come before MariaDB, so that it is started once.
    put $MARIADB_CONF root 0644 '[mariadbd]' \
      innodb_buffer_pool_size=256M innodb_lock_wait_timeout=900 loose-innodb_snapshot_isolation=OFF
    install_packages podman uidmap slirp4netns netavark mariadb-server
    set_up_podman
    set_up_accounting
    set_up_rest_api
    [ ! -d /shared ] || chown slurm:slurm /shared
  fi
  log "$cfn_node_type: done"
}

install_packages() { # PACKAGES...
  local installed && installed=$(dpkg-query --show --showformat '${db:Status-Abbrev}\n' "$@" 2>/dev/null || true)
  [ "$(grep -c '^ii' <<<"$installed" || true)" -lt $# ] || return 0
  local free && free=$(df --output=avail --block-size=1M /var | tail -n 1)
  [ "$free" -ge 1024 ] || die 73 "the disk of /var has $free MB free, and the packages need 1024"
  # An earlier run that was killed is finished first; apt-get update does not wait for another apt by itself.
  timeout 300 bash -c 'until dpkg --configure -a && apt-get update --quiet; do sleep 5; done' \
    || die 69 "$* cannot be installed: see what dpkg or apt-get says above"
  apt-get install --quiet --yes --fix-broken --no-install-recommends -o DPkg::Lock::Timeout=300 "$@" \
    || die 69 "$* cannot be installed: see what apt-get says above"
}

put() { # FILE OWNER MODE LINES...: replaces the file whole, or not at all; one that is right stays as it is
  printf '%s\n' "${@:4}" | install -D -o "$2" -g "$2" -m "$3" /dev/stdin "$1.new" || die 73 "$1 cannot be written"
  if cmp -s "$1.new" "$1" && [ "$(stat -c %U%a "$1.new" "$1" | uniq | wc -l)" = 1 ]; then rm "$1.new"; else mv "$1.new" "$1"; fi
}

put_service() { # NAME PORT UNIT-BEFORE-IT SETTINGS...: it counts as started when it listens
  put "$UNITS/$1.service" root 0644 \
    '[Unit]' "Wants=network-online.target $3" "After=network-online.target munge.service $3" \
    '[Service]' "${@:4}" Restart=always RestartSec=2 "ExecStartPost=/usr/bin/timeout 60 bash -c \\" \
    "'until (</dev/tcp/localhost/$2) 2>/dev/null; do test -d /proc/\${MAINPID} && sleep 0.1 || exit; done'" \
    '[Install]' WantedBy=multi-user.target
}

run_with() { # UNIT FILES...: has the unit run, now and after each boot, as these files say now
  systemctl is-enabled --quiet "$1" || systemctl enable --quiet "$1"
  [ "$(systemctl show --property NeedDaemonReload --value "$1")" = no ] || systemctl daemon-reload
  local started && started=$(systemctl show --timestamp=us+utc --property ExecMainStartTimestamp --value "$1")
  if ! systemctl is-active --quiet "$1" || [ -n "$(find "${@:2}" -newermt "$started")" ]; then
    log "starting $1"
    systemctl reset-failed "$1" 2>/dev/null || true
    systemctl restart "$1" || die_of "$1"
  fi
}

# https://github.com/containers/podman/blob/main/docs/tutorials/rootless_tutorial.md
set_up_podman() {
  usermod --add-subuids 165536-231071 --add-subgids 165536-231071 slurm
  put /etc/sysctl.d/60-podman.conf root 0644 '-kernel.unprivileged_userns_clone = 1' # -: where there is such a switch
  /usr/lib/systemd/systemd-sysctl /etc/sysctl.d/60-podman.conf
  # /home is the same on all nodes, and Podman's files must not be: they go to this node's disk, and to its /run/user.
  install -d -o slurm -g slurm -m 0700 /var/lib/slurm-containers
  if [ ! -e ~slurm/.local/share/containers ]; then
    install -d -o slurm -g slurm ~slurm/.local ~slurm/.local/share
    ln -s /var/lib/slurm-containers ~slurm/.local/share/containers
  fi
  # cgroupfs: a container stays in the cgroup of its job, where Slurm counts it and ends it.
  put /etc/containers/containers.conf.d/60-slurm.conf root 0644 '[engine]' 'cgroup_manager = "cgroupfs"' \
    '[network]' 'default_rootless_network_cmd = "slirp4netns"'
  loginctl enable-linger slurm
}

# https://slurm.schedmd.com/accounting.html
set_up_accounting() {
  run_with mariadb.service $MARIADB_CONF
  # The user slurm of this machine is the user slurm of the database: there is no password to keep.
  mariadb <<'SQL' || die 71 "MariaDB refuses Slurm's database: see what it says above"
CREATE DATABASE IF NOT EXISTS slurm_acct_db;
CREATE USER IF NOT EXISTS slurm@localhost IDENTIFIED VIA unix_socket;
GRANT ALL ON slurm_acct_db.* TO slurm@localhost;
SQL
  put $SLURMDBD_CONF slurm 0600 "DbdHost=$(hostname -s)" SlurmUser=slurm LogFile=/var/log/slurmdbd.log \
    AuthAltTypes=auth/jwt AuthAltParameters=jwt_key=$KEY_FILE StorageType=accounting_storage/mysql StorageUser=slurm
  put_service slurmdbd 6819 mariadb.service "ExecStart=$SLURM/sbin/slurmdbd -D"
  run_with slurmdbd.service $SLURMDBD_CONF $UNITS/slurmdbd.service $KEY_FILE
  local gather=linux
  ! grep -qi '^ *ProctrackType *= *proctrack/cgroup' $CONF || gather=cgroup
  put $ACCOUNTING_CONF root 0644 AccountingStorageType=accounting_storage/slurmdbd \
    "AccountingStorageHost=$(hostname -s)" JobAcctGatherType=jobacct_gather/$gather
  if ! grep -qx "include $ACCOUNTING_CONF" $CONF; then
    # A slurmctld that ran without accounting made up an id; before Slurm 25.11 it would end when slurmdbd gives it another.
    systemctl stop slurmctld.service
    rm -f $STATE/clustername
    put $CONF "$(stat -c %U $CONF)" "$(stat -c %a $CONF)" "$(cat $CONF)" "include $ACCOUNTING_CONF"
  fi
  put $UNITS/slurmctld.service.d/accounting.conf root 0644 '[Unit]' Wants=slurmdbd.service After=slurmdbd.service \
    '[Service]' Restart=on-failure RestartSec=2
  run_with slurmctld.service $CONF $ACCOUNTING_CONF $KEY_FILE $UNITS/slurmctld.service.d/accounting.conf
  timeout 60 bash -c 'until sacctmgr -nP show cluster format=controlhost 2>&1 | grep -q .; do sleep 0.1; done' \
    || die_of slurmctld.service
}

# https://slurm.schedmd.com/rest.html: a user of its own, neither root nor slurm, who cannot read the key
set_up_rest_api() {
  id slurmrestd >/dev/null 2>&1 || useradd --system --user-group --no-create-home --shell /usr/sbin/nologin slurmrestd
  put_service slurmrestd 8082 slurmctld.service "ExecStart=$SLURM/sbin/slurmrestd -a rest_auth/jwt 0.0.0.0:8082" \
    User=slurmrestd Environment=SLURM_JWT=daemon NoNewPrivileges=yes ProtectSystem=strict ProtectHome=yes PrivateTmp=yes
  run_with slurmrestd.service $UNITS/slurmrestd.service $CONF $ACCOUNTING_CONF
  # Another program on the port would not ask for a token.
  curl -s -o /dev/null -w '%{http_code}' http://localhost:8082/openapi/v3 | grep -qx 401 || die_of slurmrestd.service
}

main "$@"
