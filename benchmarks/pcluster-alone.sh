#!/bin/bash
# The pcluster commands of a rehearsal, and nothing else: what `make rehearse` is measured against.
#
# usage: pcluster-alone.sh CONFIG KEY_PAIR, in the emulated AWS, in a folder that may be written to
#   CONFIG: the rendered configuration of a cluster
set -o errexit -o nounset -o pipefail

config=$1 key_pair=$2 name=alone-$$
printf '%s\n' "$AWS_DEFAULT_REGION" "$key_pair" slurm ubuntu2404 t3.xlarge 1 '' '' t3.large '' y '' '' \
  | pcluster configure --config "$name.yml"
pcluster create-cluster --cluster-name "$name" --cluster-configuration "$config" --dryrun true || [ $? = 1 ] # its success
pcluster create-cluster --cluster-name "$name" --cluster-configuration "$config"
pcluster delete-cluster --cluster-name "$name"
