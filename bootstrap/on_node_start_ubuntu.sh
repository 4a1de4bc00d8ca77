#!/bin/bash
# OnNodeStart script: runs as root on every node, before ParallelCluster configures the node.
# On the head node, it writes the JWT key file, which slurmctld needs at its first start. On other nodes, it
# does nothing. Safe to run again: a correct key file is kept, any other is replaced.
#
# usage: on_node_start_ubuntu.sh [KEY]
#   KEY: the ARN of the secret that holds the JWT key, or the key itself. Only the head node needs it.
# environment: TRIES: number of attempts to read the secret; PAUSE: seconds between attempts.
# exit status (CloudFormation shows nothing else of a head node; the last line of the output names the cause):
#   0   success
#   64  the argument is missing
#   65  the key is too short
#   73  the key file cannot be written
#   74  an unexpected error; the output names the line of the script
#   77  the secret cannot be read
#   78  this machine is not a ParallelCluster node
set -o errexit -o errtrace -o nounset -o pipefail
exec 2>&1 # ParallelCluster discards the standard error of a head node's scripts
trap 'die 74 "line $LINENO: $BASH_COMMAND"' ERR

# ParallelCluster documents this file as unsupported: a new version may change it.
CFNCONFIG=/etc/parallelcluster/cfnconfig
KEY_FILE=/var/spool/slurm.state/jwt_hs256.key # config.template.yml passes this path to slurmctld
TRIES=${TRIES:-30}                            # a new IAM role needs some time to take effect
PAUSE=${PAUSE:-5}

log() { echo "[$(basename "$0")] $*"; }
die() {
  log "ERROR: $2"
  exit "$1"
}

main() {
  [ -r $CFNCONFIG ] || die 78 "$CFNCONFIG does not exist: this is not a ParallelCluster node"
  local node_type
  # shellcheck source=/dev/null disable=SC2154
  node_type=$(source $CFNCONFIG && echo "$cfn_node_type") || die 78 "$CFNCONFIG does not set cfn_node_type"
  if [ "$node_type" != HeadNode ]; then
    log "nothing to do on this node type: $node_type"
    return
  fi
  [ -n "${1:-}" ] || die 64 "the argument is missing: pass the JWT key, or the ARN of its secret"
  local key=$1
  case $key in
    arn:*)
      key=$(read_secret "$1") \
        || die 77 "cannot read the secret $1 (tried $TRIES times): see the aws error above"
      ;;
  esac
  [ ${#key} -ge 32 ] || die 65 "the key has ${#key} characters: use a key of at least 32"
  write_key "$key" \
    || die 73 "cannot write $KEY_FILE: free disk space is $(df -h --output=avail /var/spool | tail -n 1)"
  log "the key is in $KEY_FILE"
}

read_secret() { # ARN: prints only the secret; the errors of aws go to the log
  local try secret region
  region=$(cut -d : -f 4 <<<"$1")
  for ((try = 1; try <= TRIES; try++)); do
    if secret=$(/usr/local/bin/aws secretsmanager get-secret-value --region "$region" --secret-id "$1" \
      --query SecretString --output text); then
      printf %s "$secret"
      return
    fi
    [ "$try" = "$TRIES" ] || sleep "$PAUSE"
  done
  return 1
}

# Write the key without a newline, because Slurm uses the whole file as the key. Write it to a new file, owned
# by slurm from the start, and then move that, so that a full disk or a kill cannot leave half a key.
# The commands are joined by &&, because errexit has no effect on the left of ||.
write_key() { # KEY
  local new=$KEY_FILE.new
  install -d -o slurm -g slurm -m 0700 "$(dirname $KEY_FILE)" \
    && install -o slurm -g slurm -m 0600 /dev/null $new \
    && printf %s "$1" >$new \
    && if cmp -s $new $KEY_FILE && [ "$(stat -c %U:%a $KEY_FILE)" = slurm:600 ]; then
      rm $new
    else
      mv $new $KEY_FILE
    fi \
    && return
  rm -f $new
  return 1
}

main "$@"
