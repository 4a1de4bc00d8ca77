#!/bin/bash
# Run the pcluster commands of a rehearsal, and nothing else. The benchmark compares `make rehearse` with this script.
# Run it in the emulated AWS, in a writable folder.
#
# usage: pcluster-alone.sh CONFIG KEY_PAIR
#   CONFIG: the rendered configuration of a cluster
set -o errexit -o nounset -o pipefail

config=$1 key_pair=$2 name=alone-$$
printf '%s\n' "$AWS_DEFAULT_REGION" "$key_pair" slurm ubuntu2404 t3.xlarge 1 '' '' t3.large '' y '' '' \
  | pcluster configure --config "$name.yml"
pcluster create-cluster --cluster-name "$name" --cluster-configuration "$config" --dryrun true || [ $? = 1 ] # pcluster exits with 1 if a dry run succeeds
pcluster create-cluster --cluster-name "$name" --cluster-configuration "$config"
pcluster delete-cluster --cluster-name "$name"
