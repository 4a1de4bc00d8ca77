#!/bin/bash
# Runs on every node, as root, before ParallelCluster configures it (OnNodeStart).
# On the head node it writes the key of the REST API's tokens, which slurmctld needs from its first start on; on other nodes
# it does nothing. Safe to run again: a key that is as it should be is left alone, another one is replaced.
#
# usage: on_node_start_ubuntu.sh [KEY]
#   KEY: the ARN of the secret that holds the key, or the key itself; for the head node alone.
# environment: TRIES and PAUSE, how often the secret is asked for, and the seconds between.
# exit status, by cause, as CloudFormation shows nothing else of a head node; the last line of the output names the cause:
#   0 done              64 the argument is missing          65 the key is too short
#   77 the secret cannot be read          73 the key cannot be written          78 this is not a node of ParallelCluster
set -o errexit -o nounset -o pipefail
exec 2>&1 # what a head node writes to stderr is dropped

CFNCONFIG=/etc/parallelcluster/cfnconfig
KEY_FILE=/var/spool/slurm.state/jwt_hs256.key # config.template.yml names it to slurmctld
TRIES=${TRIES:-30}                            # a new role takes a while to be let in
PAUSE=${PAUSE:-5}
cfn_node_type='' cfn_region='' # cfnconfig sets them

log() { echo "[$(basename "$0")] $*"; }
die() {
  log "ERROR: $2"
  exit "$1"
}

main() {
  [ -r $CFNCONFIG ] || die 78 "$CFNCONFIG is not there: this is not a node of ParallelCluster"
  # shellcheck source=/dev/null
  source $CFNCONFIG
  if [ "$cfn_node_type" != HeadNode ]; then
    log "${cfn_node_type:-a node without a type}: nothing to do"
    return
  fi
  [ -n "${1:-}" ] || die 64 "the argument is missing: the key, or the ARN of its secret"
  local key=$1
  case $key in
    arn:*) key=$(read_secret "$1") || die 77 "the secret $1 cannot be read, tried $TRIES times: see what aws says above" ;;
  esac
  [ ${#key} -ge 32 ] || die 65 "the key has ${#key} characters, and must have 32 or more"
  write_key "$key" || die 73 "$KEY_FILE cannot be written: $(df -h --output=avail /var/spool | tail -n 1) are free there"
  log "the key is in $KEY_FILE"
}

read_secret() { # ARN: prints the secret, and nothing else; what aws complains of goes to the log
  local try secret
  for ((try = 1; try <= TRIES; try++)); do
    if secret=$(/usr/local/bin/aws secretsmanager get-secret-value --region "$cfn_region" --secret-id "$1" \
      --query SecretString --output text); then
      printf %s "$secret"
      return
    fi
    [ "$try" = "$TRIES" ] || sleep "$PAUSE"
  done
  return 1
}

# The whole file is the key: no newline. It is made as a new file, slurm's from the start, so that a full disk or a kill never
# leaves half a key in its place; && because errexit does not hold within an || list.
write_key() { # KEY
  local new=$KEY_FILE.new
  install -d -o slurm -g slurm -m 0700 "$(dirname $KEY_FILE)" \
    && install -o slurm -g slurm -m 0600 /dev/null $new \
    && printf %s "$1" >$new \
    && if cmp -s $new $KEY_FILE && [ "$(stat -c %U:%a $KEY_FILE)" = slurm:600 ]; then rm $new; else mv $new $KEY_FILE; fi \
    && return
  rm -f $new
  return 1
}

main "$@"
