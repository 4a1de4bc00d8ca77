#!/bin/bash
# Runs on every node, as root, before ParallelCluster configures it (OnNodeStart).
# On the head node it writes the JWT key, which slurmctld needs from its first start on; on other nodes it does nothing.
#
# usage: on_node_start_ubuntu.sh [KEY]
#   KEY: the ARN of the secret that holds the key, or the key itself; for the head node alone.
# exit status: 0 done; 64 the argument is missing; 65 the key is too short; 69 the secret cannot be read;
#   73 the key cannot be written; 78 this is not a node of ParallelCluster
set -o errexit -o nounset -o pipefail
exec 2>&1 # what a head node writes to stderr is dropped

CFNCONFIG=/etc/parallelcluster/cfnconfig
KEY_FILE=/var/spool/slurm.state/jwt_hs256.key
TRIES=${TRIES:-30} # of reading the secret: IAM takes a while to let a new role in
PAUSE=${PAUSE:-5}  # seconds between them
AWS=${AWS:-/usr/local/bin/aws}
cfn_node_type='' cfn_region='' # cfnconfig sets them

log() { echo "[$(basename "$0")] $*"; }
die() {
  log "ERROR: $2"
  exit "$1"
}

read_secret() { # ARN: prints the key, and nothing else
  local command=(secretsmanager get-secret-value --region "$cfn_region" --secret-id "$1")
  command+=(--query SecretString --output text)
  local try answer
  for ((try = 1; ; try++)); do
    { answer=$("$AWS" "${command[@]}" 2>&1 >&3) && return; } 3>&1
    [ "$try" -lt "$TRIES" ] || break
    sleep "$PAUSE"
  done
  log "$answer" >&2
  return 1
}

main() {
  [ -r "$CFNCONFIG" ] || die 78 "$CFNCONFIG is not there: this is not a node of ParallelCluster"
  # shellcheck source=/dev/null
  source "$CFNCONFIG"
  if [ "$cfn_node_type" != HeadNode ]; then
    log "$cfn_node_type: nothing to do"
    return
  fi
  [ -n "${1:-}" ] || die 64 "the argument with the key, or the ARN of its secret, is missing"
  local key=$1
  case $key in
    arn:*) key=$(read_secret "$1") || die 69 "the secret $1 cannot be read: see the line above" ;;
  esac
  [ "${#key}" -ge 32 ] || die 65 "the key has ${#key} characters, and Slurm asks for 32 or more"
  write_key "$key" || die 73 "$KEY_FILE cannot be written"
  log "the JWT key is in $KEY_FILE"
}

write_key() { # KEY: to a new file first, so that a full disk or a kill never leaves half a key; the whole file is the key
  install -d -o slurm -g slurm -m 0700 "$(dirname "$KEY_FILE")" || return
  local new=$KEY_FILE.new
  (umask 077 && printf %s "$1" >"$new") || return
  chown slurm:slurm "$new" && mv -f "$new" "$KEY_FILE"
}

main "$@"
